"""Whose choices contestants follow: tables by hand, without runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from finished import in_hand
from scipy import stats

from alignzoo.lab.compare.comparison import compare
from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.page import page
from alignzoo.lab.compare.significance import SHARE, holm, spread_of, spread_of_some
from alignzoo.lab.compare.whose import Whose, whose
from alignzoo.lab.compare.words import AGREES, asked_of, markdown, opinions, served

NO = math.nan
Leads = Mapping[str, tuple[str, float | None]]
"""By the name of a choice its group and by how much the policy leads. "p1 x" is of the prompt p1."""


def told(leads: Leads, **learned: int) -> dict[str, Any]:
    """What a run has to tell."""
    rows = [
        {"choice": name, "prompt": name.split()[0], "group": group, "strength": 1.0, "lead": lead}
        for name, (group, lead) in leads.items()
    ]
    return {"learned": learned, "opinions": tuple(rows)}


def contestant(name: str, *seeds: dict[str, Any]) -> Entrant:
    score = np.zeros((3, 1))
    return Entrant(name, tuple(in_hand(seed, score, **own) for seed, own in enumerate(seeds)))


def found(*entrants: Entrant) -> Whose:
    seen = whose(entrants)
    assert seen is not None
    return seen


# The spread of what is not whole ------------------------------------------------------------------------------------------


def test_seeds_that_share_no_prompt_are_drawn_apart() -> None:
    """The prompts' chance is in the seeds' means already: 1/2 and 1."""
    spread = spread_of_some(np.array([[1.0, 0.0, NO, NO], [NO, NO, 1.0, 1.0]]))
    assert (spread.mean, spread.seeds, spread.prompts) == (0.75, 2, 4)
    assert spread.error == pytest.approx(math.sqrt(np.var([0.5, 1.0], ddof=1) / 2))


def test_what_prompts_add_is_seen_where_seeds_share_them() -> None:
    """Seeds' means 1/2 and 1/2; the shared prompts are 1 and 0 under both. In them e = ± ½ / (2 · 4)."""
    spread = spread_of_some(np.array([[1.0, 0.0, 1.0, 0.0, NO, NO], [1.0, 0.0, NO, NO, 1.0, 0.0]]))
    assert spread.between_seeds == 0
    assert spread.error**2 == pytest.approx(2 / 1 * 2 * 2 * (1 / 16) ** 2)


def test_a_seed_that_has_none_of_the_prompts_is_none() -> None:
    spread = spread_of_some(np.array([[1.0, 0.0], [NO, NO], [1.0, 1.0]]))
    assert (spread.mean, spread.seeds) == (0.75, 2)


def test_where_all_seeds_have_all_prompts_it_is_the_form_for_tables() -> None:
    table = np.random.default_rng(0).standard_normal((5, 40)) + np.arange(40) / 10
    some, whole = spread_of_some(table), spread_of(table)
    assert some.mean == pytest.approx(whole.mean)
    assert some.between_seeds == pytest.approx(whole.between_seeds)
    assert some.between_prompts / some.prompts == pytest.approx(whole.between_prompts / whole.prompts * 39 / 40)


def test_its_intervals_cover() -> None:
    """200 draws of 5 seeds that have some four in ten of 60 prompts each."""
    dice, hits = np.random.default_rng(1), 0
    for _ in range(200):
        chance = 0.6 + dice.normal(0, 0.05, (5, 1)) + dice.normal(0, 0.15, (1, 60))
        table = (dice.random((5, 60)) < chance).astype(float)
        table[dice.random((5, 60)) > 0.4] = NO
        own = spread_of_some(table).interval(SHARE)
        hits += own.low <= 0.6 <= own.high
    assert stats.binomtest(hits, 200, 0.95).pvalue > 0.01


# Groups -------------------------------------------------------------------------------------------------------------------


def test_a_group_agrees_as_often_as_the_policy_leads_its_way() -> None:
    one = contestant(
        "one",
        told({"p0 a": ("old", 0.5), "p0 b": ("old", -0.5), "p1 a": ("old", 2.0), "p1 b": ("young", -1.0)}, old=7, young=1),
        told({"p0 a": ("old", 0.0), "p2 a": ("young", -0.1)}, old=9),
    )
    seen = found(one)
    assert seen.choices == {"old": 2.0, "young": 1.0}
    (own,) = seen.opinions
    # old: under the first seed p0 is 1/2 and p1 is 1; under the second p0 is level
    assert own.agrees["old"].mean == pytest.approx((0.75 + 0.5) / 2)
    assert own.agrees["young"].mean == 0
    assert own.learned == {"old": 8.0, "young": 0.5}


def test_a_weak_choice_agrees_weakly() -> None:
    rows = told({"p0 a": ("old", 1.0), "p1 a": ("old", -1.0)})
    for row in rows["opinions"]:
        row["strength"] = 0.7
    assert found(contestant("one", rows)).opinions[0].agrees["old"].mean == pytest.approx((0.7 + 0.3) / 2)


def test_only_what_all_were_asked_about_counts() -> None:
    one = contestant("one", told({"p0 a": ("old", 1.0), "p1 a": ("old", -1.0)}))
    two = contestant("two", told({"p0 a": ("old", 1.0), "p2 a": ("old", 1.0)}))
    seen = found(one, two)
    assert [own.agrees["old"].mean for own in seen.opinions] == [1.0, 1.0]
    assert not seen.alike
    assert "not all were asked about the same choices" in served(seen)[0]
    assert found(one, one).alike


def test_nothing_in_common_is_told_and_is_no_error() -> None:
    seen = found(contestant("one", told({"p0 a": ("old", 1.0)})), contestant("two", told({"p0 b": ("old", 1.0)})))
    assert (seen.choices, seen.apart, seen.alike) == ({}, (), False)
    assert asked_of(seen) == AGREES
    assert opinions(seen)[0] == ("contestant", "judgements learned from")


def test_who_gives_no_log_probabilities_is_asked_and_answers_nothing() -> None:
    mute = contestant("mute", told({"p0 a": ("old", None), "p1 a": ("old", None)}, old=3))
    seen = found(contestant("one", told({"p0 a": ("old", 1.0), "p1 a": ("old", 1.0)})), mute)
    assert seen.alike
    assert seen.opinions[1].agrees == {}
    assert seen.apart == ()
    assert opinions(seen)[1][1] == ["mute", "3 old", "no log-probabilities"]


def test_without_choices_it_is_told_who_was_learned_from_and_how_to_ask() -> None:
    mixed, old = contestant("mixed", told({}, old=5, young=3)), contestant("old", told({}, old=8), told({}, old=6))
    seen = found(mixed, old, contestant("gold", {}))
    assert (seen.choices, seen.apart, seen.alike) == ({}, (), True)
    assert opinions(seen)[1] == [["mixed", "5 old, 3 young"], ["old", "7 old"]]
    text = markdown(compare("two", [mixed, old]))
    assert "write held = 0.2 under [whose]" in text
    assert "write held = 0.2" in page(compare("two", [mixed, old]))
    assert whose([contestant("one group", told({}, old=5))]) is None
    assert whose([contestant("one group and others", told({}, **{"old": 5, "": 9}))]) is None


def test_who_learned_from_nobody_is_not_asked_and_takes_nothing_from_the_others() -> None:
    gold = contestant("gold", {}, {})
    one = contestant("one", told({"p0 a": ("old", 1.0)}), told({"p0 a": ("old", 1.0)}))
    seen = found(one, gold)
    assert [own.name for own in seen.opinions] == ["one"]
    assert seen.alike
    assert whose([gold]) is None


# Apart --------------------------------------------------------------------------------------------------------------------


def split(name: str, old: float, young: float, seeds: int = 5) -> Entrant:
    """Agrees with the old where `old` > 0, with the young where `young` > 0; but for one prompt, which is another each time."""
    runs = []
    for seed in range(seeds):
        rows: dict[str, tuple[str, float | None]] = {}
        for place in range(12):
            turn = -1 if place == seed else 1
            rows[f"p{place} old"] = ("old", old * turn)
            rows[f"p{place} young"] = ("young", young * turn)
        runs.append(told(rows))
    return contestant(name, *runs)


def test_the_same_lesson_of_two_groups_is_told_apart_group_by_group() -> None:
    seen = found(split("of the old", 1.0, 1.0), split("of the young", 1.0, -1.0))
    by_group = {one.group: one for one in seen.apart}
    assert by_group["young"].difference.mean == pytest.approx(11 / 12 - 1 / 12)
    assert by_group["young"].separable
    assert not by_group["old"].separable
    assert served(seen)[0] == "with old nobody agrees more often than another for certain"
    assert served(seen)[1].startswith("with young agrees of the old more often than of the young by 0.833 [")


def test_fewer_than_five_seeds_separate_nothing() -> None:
    seen = found(split("a", 1.0, 1.0, seeds=4), split("b", 1.0, -1.0, seeds=4))
    assert not any(one.separable for one in seen.apart)


def test_a_run_that_failed_takes_its_seed_from_its_own_pairs_alone() -> None:
    whole, lame = split("whole", 1.0, 1.0, seeds=6), split("lame", 1.0, -1.0, seeds=6)
    seen = found(whole, Entrant("lame", lame.runs[:5]), split("third", -1.0, 1.0, seeds=6))
    seeds = {(one.first, one.second): one.seeds for one in seen.apart if one.group == "young"}
    assert seeds == {("whole", "lame"): 5, ("whole", "third"): 6, ("lame", "third"): 5}
    assert seen.alike
    assert seen.choices == {"old": 12.0, "young": 12.0}


def test_the_one_behind_is_named_behind_whoever_came_first() -> None:
    seen = found(split("b", 1.0, -1.0), split("a", 1.0, 1.0))
    assert served(seen)[1].startswith("with young agrees a more often than b by 0.833 [")


def test_p_values_of_all_groups_are_one_family() -> None:
    dice = np.random.default_rng(0)

    def drawn(name: str, bias: float) -> Entrant:
        groups = [(f"p{place} {group}", group) for place in range(12) for group in ("old", "young")]
        return contestant(name, *(told({key: (group, bias + dice.normal()) for key, group in groups}) for _ in range(5)))

    seen = found(drawn("a", 0.3), drawn("b", 0.0), drawn("c", -0.8))
    assert len(seen.apart) == 6
    assert sum(0.001 < one.chance < 0.5 for one in seen.apart) >= 2
    assert [one.adjusted for one in seen.apart] == holm([one.chance for one in seen.apart])


def test_every_report_has_it() -> None:
    whole = compare("two", [split("a", 1.0, 1.0), split("b", 1.0, -1.0)])
    assert "## Whose choices" in markdown(whole)
    assert 'id="whose"' in page(whole)
    row = json.loads(json.dumps(whole.row()))
    assert row["whose"]["opinions"][0]["agrees"]["young"]["mean"] == pytest.approx(11 / 12, abs=1e-5)
    none = compare("one", [contestant("a", {}, {})])
    assert "Whose choices" not in markdown(none)
    assert 'id="whose"' not in page(none)
