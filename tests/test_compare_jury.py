"""Whom the jury likes better: pairs by hand, without runs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from finished import finished, in_hand
from scipy import stats

from alignzoo.cli import main
from alignzoo.lab import store
from alignzoo.lab.compare.comparison import compare
from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.jury import Liking, likings
from alignzoo.lab.compare.page import page
from alignzoo.lab.compare.significance import holm, spread_of
from alignzoo.lab.compare.words import liked, markdown

RISING = [0.1, 0.2, 0.3, 0.4, 0.5]
"""Of these five the mean is 0.3 and the variance 0.025, so t = 0.3 / √(0.025 / 5) = 3 √2 on 4 degrees of freedom."""
BY_PROMPT = np.array([[0.0], [0.3], [0.1]])


def preferred(name: str, by_juror: dict[str, list[float]], seeds: int = 5, **rows: Any) -> Entrant:
    """A contestant whose answers each juror prefers so often under each seed, more at some prompts than at others."""
    jury = [{"use": "length", "name": juror, **rows} for juror in by_juror]
    runs = []
    for seed in range(seeds):
        run = in_hand(seed, np.full((3, 1), 0.5), settings={"judge": {"use": "gold"}, "jury": jury})
        heard = {f"value: preferred by {juror}": told[seed] + BY_PROMPT for juror, told in by_juror.items()}
        even = {figure: np.full((3, 1), 0.5) for figure in heard}
        runs.append(replace(run, policy={**run.policy, **heard}, start={**run.start, **even}))
    return Entrant(name, tuple(runs))


def changed(one: Entrant, **settings: Any) -> Entrant:
    return replace(one, runs=tuple(replace(run, settings={**run.settings, **settings}) for run in one.runs))


NOUGHT = [0.0] * 5


# By hand ------------------------------------------------------------------------------------------------------------------


def test_a_difference_is_students_over_seeds_where_prompts_are_common_to_both() -> None:
    (one,) = likings([preferred("a", {"old": RISING}), preferred("b", {"old": NOUGHT})])
    assert (one.juror, one.first, one.second, one.seeds) == ("old", "a", "b", 5)
    assert one.difference.mean == pytest.approx(0.3)
    assert one.chance == pytest.approx(2 * stats.t.sf(3 * np.sqrt(2), 4))
    assert one.chance == pytest.approx(stats.ttest_rel(RISING, NOUGHT).pvalue) == pytest.approx(0.0132, abs=1e-4)
    half = stats.t.ppf(0.975, 4) * np.sqrt(0.005)
    assert [one.difference.low, one.difference.high] == pytest.approx([0.3 - half, 0.3 + half])
    assert (one.verdict, one.adjusted) == ("first", one.chance)
    assert one.told() == "old likes a better than b"
    (other,) = likings([preferred("b", {"old": NOUGHT}), preferred("a", {"old": RISING})])
    assert other.told() == "old likes a better than b"


def test_all_pairs_of_all_jurors_are_one_family() -> None:
    """The young's t is 2 √2, p = 0.047: alone that is enough, beside a juror who tells nothing it is not."""
    lower, alike = [value - 0.1 for value in RISING], [0.1, -0.1, 0.1, -0.1, 0.05]
    young, mute = ({name: (told, NOUGHT)} for name, told in (("young", lower), ("mute", alike)))

    def heard(**jury: tuple[list[float], list[float]]) -> dict[str, Liking]:
        a, b = (preferred(name, {juror: told[at] for juror, told in jury.items()}) for at, name in enumerate("ab"))
        return {one.juror: one for one in likings([a, b])}

    alone, beside = heard(**young)["young"], heard(**young, **mute)
    assert alone.chance == pytest.approx(2 * stats.t.sf(2 * np.sqrt(2), 4)) == pytest.approx(0.0474, abs=1e-4)
    assert alone.verdict == "first"
    assert beside["young"].adjusted == pytest.approx(2 * alone.chance)
    assert beside["young"].verdict == "not separable"
    # at a level of 0.025 six seeds do not do, 3.16 · 0.158 / √6 = 0.204 > 0.2, and seven do, 2.97 · 0.158 / √7 = 0.177
    assert beside["young"].seeds_needed == 7
    assert beside["young"].told().endswith("about 7 seeds would separate them if the difference stays")
    found = [*beside.values()]
    assert [one.adjusted for one in found] == holm([one.chance for one in found])


def test_prompts_are_drawn_too_unless_there_are_no_others() -> None:
    a, b = preferred("a", {"old": RISING}), preferred("b", {"old": NOUGHT})
    uneven = [replace(run, policy={**run.policy, "value: preferred by old": 2 * BY_PROMPT}) for run in b.runs]
    open_, closed = (Entrant("b", tuple(replace(run, closed=why) for run in uneven)) for why in ("", "all there are"))
    (drawn,) = likings([a, open_])
    (given,) = likings([Entrant("a", tuple(replace(run, closed="all there are") for run in a.runs)), closed])
    assert drawn.chance == spread_of(np.array(RISING)[:, None] - BY_PROMPT.T).chance()
    assert given.chance < drawn.chance


def test_what_the_judge_says_is_the_same_with_a_jury_and_without() -> None:
    def scored(jury: dict[str, list[float]]) -> list[Entrant]:
        ours, theirs = preferred("a", jury), preferred("b", jury)
        better = tuple(
            replace(run, policy={**run.policy, "score": run.policy["score"] + RISING[run.seed]}) for run in ours.runs
        )
        return [replace(ours, runs=better), theirs]

    alone, heard = (compare("two", scored(jury)).duels for jury in ({}, {f"juror {n}": NOUGHT for n in range(9)}))
    assert alone == heard
    assert alone[0].verdict == "first"


def test_fewer_than_five_seeds_separate_nothing() -> None:
    (one,) = likings([preferred("a", {"old": [0.5] * 4}, 4), preferred("b", {"old": NOUGHT}, 4)])
    assert one.verdict == "not separable"
    assert "4 seeds in common; fewer than 5 separate nothing" in one.told()


# What cannot be compared --------------------------------------------------------------------------------------------------

OTHER = {"lora": {"rank": 2}}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda one: changed(one, jury=[{"use": "length", "name": "old", "free": 3}]), "not the same old heard them"),
        (lambda one: Entrant("b", tuple(replace(run, seed=run.seed + 5) for run in one.runs)), "they have no seed in common"),
        (
            lambda one: Entrant(
                "b", tuple(replace(run, start={**run.start, "words": np.full((3, 1), 7.0)}) for run in one.runs)
            ),
            "their answers are preferred to those of another start",
        ),
    ],
)
def test_what_was_not_heard_alike_is_not_tested_and_costs_the_others_nothing(change: Any, why: str) -> None:
    a, b = preferred("a", {"old": RISING}), preferred("b", {"old": NOUGHT})
    c = preferred("c", {"old": NOUGHT})
    found = {one.first + one.second: one for one in likings([a, change(b), c])}
    assert found["ab"].told() == f"a and b are not separable: {why}"
    assert found["ab"].seeds == 0
    assert found["ac"].adjusted == found["ac"].chance  # a family of one
    assert f"| old | a and b are not separable: {why} | – | – |" in markdown(compare("three", [a, change(b), c]))


def test_seeds_are_counted_for_a_family_of_those_that_are_tested() -> None:
    near, nought = preferred("a", {"old": [0.2, -0.1, 0.2, 0.0, 0.2]}), preferred("c", {"old": NOUGHT})
    elsewhere = changed(preferred("b", {"old": NOUGHT}), jury=[])
    (one,) = (one for one in likings([near, elsewhere, nought]) if one.seeds)
    # 0.1 of a deviation of 0.1414: t = 2.23 · 0.1414 / √11 = 0.095 does at eleven seeds, 2.26 · 0.1414 / √10 = 0.101 not at ten
    assert one.seeds_needed == 11


def test_a_juror_that_is_trained_owes_itself_to_the_model_and_the_start_and_any_other_does_not() -> None:
    for more, heard in (({}, True), ({"feedback": {"use": "playground"}}, False)):
        a, b = preferred("a", {"old": RISING}, **more), preferred("b", {"old": NOUGHT}, **more)
        assert [one.seeds > 0 for one in likings([a, changed(b, model=OTHER)])] == [heard]
        assert [one.seeds > 0 for one in likings([changed(a, start=OTHER), b])] == [heard]
        assert [one.seeds > 0 for one in likings([a, b])] == [True]


def test_who_did_not_hear_all_is_left_out_and_that_is_told() -> None:
    found = compare("two", [preferred("a", {"old": RISING, "young": RISING}), preferred("b", {"old": NOUGHT})])
    assert {one.juror for one in found.jury} == {"old"}
    assert "not all were heard by young: what is preferred by who did not hear all is left out" in found.cautions
    found = compare("two", [preferred("a", {"old": RISING}), preferred("b", {})])
    assert found.jury == ()
    assert "not all were heard by old: what is preferred by who did not hear all is left out" in found.cautions


# Reports ------------------------------------------------------------------------------------------------------------------


def test_every_report_has_it() -> None:
    jury = {"old": [0.3, 0.32, 0.28, 0.31, 0.29], "young": NOUGHT}
    whole = compare("three", [preferred("a", jury), preferred("b", {"old": NOUGHT, "young": NOUGHT}), preferred("c", jury)])
    assert liked(whole.jury) == [
        "old likes a better than b; c better than b",
        "young likes nobody better than another for certain",
    ]
    assert "## Whom the jury likes better" in markdown(whole)
    assert "| old | old likes a better than b | 0.300 [0.280, 0.320] | " in markdown(whole)
    assert "old likes a better than b; c better than b" in page(whole)
    assert 'id="jury"' in page(whole)
    first = json.loads(json.dumps(whole.row()))["jury"][0]
    assert (first["juror"], first["verdict"], first["difference"]["mean"]) == ("old", "first", pytest.approx(0.3))
    none = compare("two", [preferred("a", {}), preferred("b", {})])
    assert "jury" not in markdown(none)
    assert 'id="jury"' not in page(none)


def test_a_bar_in_its_name_ends_no_cell() -> None:
    told = markdown(compare("two", [preferred("a", {"a|b": RISING}), preferred("b", {"a|b": NOUGHT})]))
    assert "| contestant | preferred by a\\|b |\n|---|---|" in told


def test_the_command_tells_it(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Of folders: a is preferred in all answers, b in none but one."""
    roots = []
    for name, share in (("a", 1.0), ("b", 0.0)):
        for seed in range(5):
            root = tmp_path / f"{name}{seed}"
            jury = {"jury": {"use": "reward:length/length", "name": "short"}}
            finished(
                root,
                lambda who, place, number: float(place),
                name=name,
                optimizer=f"optimizer:x/{name}",
                seed=seed,
                changes=jury,
            )
            files, figure = store.Folder(root), "preferred by short"
            rows = store.read_rows(files.scores)
            for place, row in enumerate(rows):
                row["values"] = {figure: 0.5 if row["who"] == "start" else 0.5 if place % 12 == seed else share}
            store.write_rows(files.scores, rows)
            roots.append(str(root))
    assert main(["compare", *roots]) == 0
    assert "short likes a better than b" in capsys.readouterr().out
    assert main(["compare", "--json", *roots]) == 0
    (told,) = json.loads(capsys.readouterr().out)["jury"]
    assert (told["juror"], told["verdict"], told["seeds"]) == ("short", "first", 5)
