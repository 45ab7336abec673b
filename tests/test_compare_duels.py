"""Two contestants at a time, and all on one scale, by hand: tables of scores, without runs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from finished import finished, in_hand
from scipy import stats

from alignzoo.lab.compare.backing import Asked, Said
from alignzoo.lab.compare.comparison import Note, compare
from alignzoo.lab.compare.duels import Entrant, duels, shared_seeds, won
from alignzoo.lab.compare.page import page
from alignzoo.lab.compare.played import played
from alignzoo.lab.compare.ranking import influences, ranking, strengths
from alignzoo.lab.compare.significance import SHARE, Spread, over_seeds, seeds_to_separate, spread_of
from alignzoo.lab.compare.together import entrants_of
from alignzoo.lab.compare.words import markdown


def contestant(name: str, by_seed: list[float], prompts: int = 4, **more: object) -> Entrant:
    """Every prompt has the same score, another under each seed, so only seeds matter."""
    runs = tuple(in_hand(seed, np.full((prompts, 1), value), **more) for seed, value in enumerate(by_seed))  # type: ignore[arg-type]
    return Entrant(name, runs)


# Seeds and pairs ----------------------------------------------------------------------------------------------------------


def test_runs_are_paired_by_their_seed_whatever_their_order() -> None:
    """What a seed does to both cancels: no seed differs by anything but 0.3."""
    hard = [0.0, 5.0, 1.0, 9.0, 2.0]
    ours, theirs = contestant("a", [seed + 0.3 for seed in hard]), contestant("b", hard)
    for order in list(permutations(range(5)))[:7]:
        [duel] = duels([ours, replace(theirs, runs=tuple(theirs.runs[place] for place in order))])
        assert (duel.difference.low, duel.difference.high) == pytest.approx((0.3, 0.3))
        assert duel.verdict == "first"


def test_only_seeds_that_both_have_are_compared() -> None:
    ours = Entrant("a", tuple(in_hand(seed, np.full((3, 1), float(seed))) for seed in range(6)))
    theirs = Entrant("b", tuple(in_hand(seed, np.full((3, 1), seed - 1.0)) for seed in range(1, 8)))
    assert shared_seeds((ours, theirs)) == [1, 2, 3, 4, 5]
    [duel] = duels([ours, theirs])
    assert (duel.seeds, duel.difference.mean) == (5, 1.0)


def test_an_answer_is_compared_with_the_answer_of_its_number() -> None:
    """Of two answers and one, the first ones: 1 against 2, 5 against 5; the second, 9, has nobody."""
    ours = Entrant("a", (in_hand(0, [[1.0, 9.0], [5.0, 9.0]]),))
    theirs = Entrant("b", (in_hand(0, [[2.0], [5.0]]),))
    assert won(ours, [theirs], [0]).tolist() == [[[0.0, 0.5]]]
    assert won(theirs, [ours], [0]).tolist() == [[[1.0, 0.5]]]


def test_a_prompts_figure_is_the_mean_of_its_answers() -> None:
    entrant = Entrant("a", (in_hand(0, [[1.0, 3.0], [2.0, 8.0]]), in_hand(1, [[0.0, 0.0], [1.0, 1.0]])))
    assert entrant.table("score").tolist() == [[2.0, 5.0], [0.0, 1.0]]
    assert entrant.table("score", [1]).tolist() == [[0.0, 1.0]]
    assert entrant.figure("score").mean == 2.0


def test_ends_that_not_all_runs_know_are_no_ends() -> None:
    told = {"bounds": {"score": SHARE}}
    runs = [in_hand(seed, [[1.0], [0.9 + 0.1 * seed]], **told) for seed in range(2)]
    assert Entrant("a", tuple(runs)).figure("score").high <= 1.0
    assert Entrant("a", (runs[0], replace(runs[1], bounds={}))).figure("score").high > 1.0


def test_a_task_is_closed_where_all_runs_say_so() -> None:
    runs = tuple(in_hand(seed, [[0.0], [1.0]], closed="all") for seed in range(2))
    assert Entrant("a", runs).closed
    assert not Entrant("a", (runs[0], replace(runs[1], closed=""))).closed


# Verdicts -----------------------------------------------------------------------------------------------------------------


def nearly(p: float) -> list[float]:
    """Differences of five seeds whose t-test has this p."""
    noise = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    return list(noise + stats.t.isf(p / 2, 4) * noise.std(ddof=1) / math.sqrt(5))


def test_a_verdict_is_held_to_one_family() -> None:
    """p = 0.04 for itself is 0.12 among three: no verdict, and the seeds that are needed are those for a third of 5 %."""
    alone = duels([contestant("a", nearly(0.04)), contestant("b", [0.0] * 5)])
    assert [(duel.verdict, round(duel.chance, 6), round(duel.adjusted, 6)) for duel in alone] == [("first", 0.04, 0.04)]
    noisy = contestant("c", [9.0, -9.0, 4.0, -4.0, 0.5])
    first, *others = duels([contestant("a", nearly(0.04)), contestant("b", [0.0] * 5), noisy])
    assert (first.chance, first.adjusted, first.verdict) == (pytest.approx(0.04), pytest.approx(0.12), "not separable")
    assert all(duel.verdict == "not separable" for duel in others)
    spread = spread_of(np.tile(np.array(nearly(0.04))[:, None], 4))
    needed = seeds_to_separate(spread, 0.05 / 3)
    assert needed != seeds_to_separate(spread, 0.05)
    assert first.seeds_needed == needed
    assert first.why == f"about {needed} seeds would separate them if the difference stays"


def test_who_is_better_is_named_from_both_sides() -> None:
    high, low = contestant("high", nearly(0.001)), contestant("low", [0.0] * 5)
    [one], [other] = duels([high, low]), duels([low, high])
    assert (one.verdict, other.verdict) == ("first", "second")
    assert one.told() == other.told() == "high is better than low"
    assert one.difference.mean == -other.difference.mean
    assert (one.wins.mean, other.wins.mean) == (1.0, 0.0)


def test_who_has_always_won_may_lose_at_another_prompt() -> None:
    """Twenty prompts of which all were won, under every seed alike: Wilson's interval of twenty trials."""
    [duel] = duels([contestant("a", [1.0] * 5, prompts=20), contestant("b", [0.0] * 5, prompts=20)])
    assert (duel.wins.low, duel.wins.high) == (pytest.approx(20 / (20 + 1.959964**2), abs=1e-5), 1.0)
    assert duel.wins_at_equal_length == duel.wins


def test_prompts_that_are_too_few_are_named_as_the_reason() -> None:
    scores = np.array([[3.0], [-2.0], [0.5]])  # the same under every seed
    ours = Entrant("a", tuple(in_hand(seed, scores) for seed in range(5)))
    theirs = Entrant("b", tuple(in_hand(seed, 0 * scores) for seed in range(5)))
    [duel] = duels([ours, theirs])
    assert duel.seeds_needed is None
    assert duel.why == "at this difference no number of seeds would separate them on so few prompts"


def test_how_many_seeds_are_needed_counts_on_from_those_there_are() -> None:
    wide = Spread(9.0, 3, 50, between_seeds=0.01, between_prompts=0.0, prompts_square=0.0, rest_square=0.0)
    assert seeds_to_separate(wide, 0.05) == 5  # fewer never separate
    assert seeds_to_separate(replace(wide, seeds=7), 0.05) == 8
    error = 0.1 * math.sqrt(200) / stats.t.ppf(0.975, 199)
    many = replace(wide, mean=0.1, seeds=5, between_seeds=error**2)
    assert 200 <= (seeds_to_separate(many, 0.05) or 0) <= 220  # counted in steps of a tenth there
    assert seeds_to_separate(replace(many, between_seeds=100 * error**2), 0.05) is None


# Intervals ----------------------------------------------------------------------------------------------------------------


def test_degrees_of_freedom_with_something_left_over_by_hand() -> None:
    """Seeds' means 1 and 3, prompts' means 0, 3 and 3; rest ±1 of the first two prompts."""
    spread = spread_of(np.array([[0.0, 1.0, 2.0], [0.0, 5.0, 4.0]]) + np.array([[0.0], [0.0]]))
    assert (spread.mean, spread.between_seeds) == (2.0, 2.0)
    assert spread.rest_square == pytest.approx(2.0)  # (1 + 1 + 0) · 2 over (2 − 1)(3 − 1)
    assert spread.prompts_square == pytest.approx(6.0)  # 2 · var(0, 3, 3)
    assert spread.between_prompts == pytest.approx(2.0)  # (6 − 2) / 2
    whole = 2 / 2 + 2 / 3
    assert spread.freedom == pytest.approx(whole**2 / (1**2 / 1 + (6 / 6) ** 2 / 2 + (2 / 6) ** 2 / 2))


def test_degrees_of_freedom_are_one_at_least() -> None:
    """Seeds' means are the same; prompts' are ½, 2 and 3/2. What is left over is taken out of what prompts differ by: mean
    squares 7/6 and ½ over six cells, (1/9)² / ((7/36)²/2 + (1/12)²/2) = 0.55."""
    spread = spread_of(np.array([[1.0, 2.0, 1.0], [0.0, 2.0, 2.0]]))
    assert spread.error == pytest.approx(1 / 3)
    assert spread.freedom == 1.0
    assert spread.interval().high == pytest.approx(4 / 3 + 12.7062 / 3, abs=1e-3)


def test_one_end_alone_cuts_there_alone() -> None:
    spread = spread_of(np.array([[0.0, 2.0, 4.0], [2.0, 4.0, 6.0]]))
    free, cut = spread.interval(), spread.interval((-math.inf, 6.0))
    assert (cut.low, cut.high) == (free.low, 6.0)


def test_what_is_known_once_for_each_seed() -> None:
    found = over_seeds([0.2, 0.4, 0.6], (0.0, 0.7))
    half = 4.302653 * 0.2 / math.sqrt(3)
    assert (found.mean, found.low, found.high) == (pytest.approx(0.4), pytest.approx(max(0.0, 0.4 - half)), 0.7)
    assert math.isnan(over_seeds([0.2], SHARE).low)


# On one scale -------------------------------------------------------------------------------------------------------------


def test_the_rating_of_two_and_its_interval_by_hand() -> None:
    """The difference of two is the logit of the win rate; each has half of it, and of what moves it."""
    dice = np.random.default_rng(4)
    ours = Entrant("a", tuple(in_hand(seed, dice.normal(0.4, 1, (30, 1))) for seed in range(5)))
    theirs = Entrant("b", tuple(in_hand(seed, dice.normal(0.0, 1, (30, 1))) for seed in range(5)))
    [wins] = won(ours, [theirs], range(5))
    ranks = {rank.name: rank.rating for rank in ranking([ours, theirs])}
    share = (150 * wins.mean() + 0.1) / 150.2
    points = 400 / math.log(10) / 2
    assert ranks["a"].mean == pytest.approx(1000 + points * math.log(share / (1 - share)))
    spread = spread_of(wins)
    half = stats.t.ppf(0.975, spread.freedom) * spread.error * points / (share * (1 - share))
    assert (ranks["a"].low, ranks["a"].high) == pytest.approx((ranks["a"].mean - half, ranks["a"].mean + half))
    assert (ranks["b"].low, ranks["b"].high) == pytest.approx((2000 - ranks["a"].high, 2000 - ranks["a"].low))


def test_an_influence_is_how_far_a_strength_moves() -> None:
    """Of four contestants, as differences of `strengths` tell it when one seed's wins at one prompt are given more weight."""
    dice = np.random.default_rng(2)
    tables = np.full((4, 4, 3, 5), 0.5)
    for a in range(4):
        for b in range(a):
            tables[a, b] = dice.integers(0, 2, (3, 5))
            tables[b, a] = 1 - tables[a, b]
    rates = tables.mean((2, 3))
    theta, apart = strengths(rates), 1 - np.eye(4)
    moved = influences((tables * apart[:, :, None, None]).sum(1), theta)
    more = 1e-5
    for seed, prompt in ((0, 0), (2, 3)):
        weighed = strengths((1 - more) * rates + more * tables[:, :, seed, prompt])
        assert (weighed - theta) / more == pytest.approx(moved[:, seed, prompt], abs=2e-3)
    assert moved.sum((1, 2)) == pytest.approx(0, abs=1e-6)


def test_who_has_always_won_or_never_has_no_interval_of_his_rating() -> None:
    dice = np.random.default_rng(1)
    between = [Entrant(name, tuple(in_hand(s, dice.normal(0, 1, (9, 1))) for s in range(5))) for name in ("b", "c")]
    best, *others, worst = ranking([contestant("a", [99.0] * 5, 9), *between, contestant("d", [-99.0] * 5, 9)])
    assert (best.name, worst.name) == ("a", "d")
    assert math.isnan(best.rating.low)
    assert math.isnan(worst.rating.high)
    assert math.isfinite(best.rating.mean)
    assert all(one.rating.low < one.rating.mean < one.rating.high for one in others)


def test_one_seed_has_ratings_without_intervals() -> None:
    ours, theirs = (Entrant(name, (in_hand(0, scores),)) for name, scores in (("a", [[1.0], [0.0]]), ("b", [[0.0], [1.0]])))
    assert [(rank.rating.mean, math.isnan(rank.rating.low)) for rank in ranking([ours, theirs])] == [(1000.0, True)] * 2


# The whole ----------------------------------------------------------------------------------------------------------------


def test_the_sentence_names_the_most_seeds_that_any_of_the_open_ones_needs() -> None:
    open_to = nearly(0.04)[2] - nearly(0.4)[2]
    entrants = [contestant("a", nearly(0.04)), contestant("b", [0.0] * 5), contestant("c", [open_to] * 5)]
    found = compare("three", entrants)
    needed = [duel.seeds_needed for duel in found.duels if "a" in (duel.first, duel.second) and duel.verdict == "not separable"]
    assert len(set(needed)) == 2
    assert f"(with {max(count for count in needed if count)} seeds in all it would be" in found.answer()


def test_a_gain_is_over_the_start_of_the_same_seed_and_prompt() -> None:
    """Seeds' starts differ by far more than what was gained: 0.5 everywhere."""
    runs = tuple(
        in_hand(seed, np.array([[1.0], [4.0]]) * seed + 0.5, start=np.array([[1.0], [4.0]]) * seed) for seed in range(5)
    )
    [line] = compare("one", [Entrant("a", runs)]).lines
    assert (line.gain.low, line.gain.mean, line.gain.high) == pytest.approx((0.5, 0.5, 0.5))
    assert line.gains
    assert line.gain_chance == 0.0


def test_nobody_above_the_start_for_certain_is_said_first() -> None:
    found = compare("one", [contestant("a", [0.5, -0.5, 0.2, -0.1, 0.0])])
    assert found.answer().startswith("Nobody is above the start for certain; a has the highest reward, 0.020 [")


STRANGE = "\rc\r\nu\u202eltr\u2028\x85\x1b[31m\x0b![u](https://evil/u)"
"""Line ends of several kinds, writing from right to left, a colour for a terminal, a picture for whoever shows Markdown."""


def test_hostile_names_are_only_words_in_a_page_and_in_markdown(tmp_path: Path) -> None:
    name = f"<img src=x onerror=alert(1)> & </script><script>alert(2)</script> | a\nb{STRANGE}"
    runs = [
        finished(tmp_path / f"{who}{seed}", lambda who, prompt, number: float(who == "policy"), seed=seed, name=called,
                 optimizer=f"o:{who}/{who}", text=lambda who, prompt, number: name, warnings=[name])
        for who, called in (("a", name), ("b", "b"))
        for seed in range(5)
    ]  # fmt: skip
    entrants = entrants_of([played(root) for root in runs])
    found = compare(name, entrants, [Note(name, (name,), (name,), ((name,),))])
    asked = (Asked(name, (Said(name, name, 0.5),)),)
    whole = page(replace(found, command=f"alignzoo compare {name}", asked=asked))
    assert "<img" not in whole
    assert whole.count("<script>") == whole.count("</script>") == 1  # our own
    assert "&lt;img src=x onerror=alert(1)&gt; &amp; &lt;/script&gt;" in whole
    text = markdown(found)
    assert not re.search(r"<[a-z/]", text)
    tables = [len(re.findall(r"(?<!\\)\|", row)) for row in text.splitlines() if row.startswith("|")]
    assert min(tables) == 2  # the note has one column, whatever is written in it
    assert sum(row.startswith("| &lt;img src") for row in text.splitlines()) == 7
    assert text.splitlines() == text.split("\n")[:-1], "no line ends where Markdown would end one and we do not"
    for report in (whole, text):
        assert not set("\r\u202e\u2028\x85\x1b\x0b") & set(report)
        assert "\\u202e" in report
        assert "\\u001b[31m" in report
    assert "![" not in text


# Many at once -------------------------------------------------------------------------------------------------------------


def test_whoever_meets_many_at_once_fares_as_with_each_alone() -> None:
    """Others have other seeds, several answers, and lengths that are no whole numbers; one always wins."""
    dice = np.random.default_rng(11)

    def one(name: str, seeds: Sequence[int], n: int = 1, up: float = 0.0) -> Entrant:
        runs = [in_hand(s, dice.integers(0, 3, (7, n)) + up, words=dice.integers(1, 40, (7, n))) for s in seeds]
        return Entrant(name, tuple(runs))

    everybody = [
        one("z", range(6), n=3),
        one("a", range(6)),
        one("b", range(6)),
        one("c", range(2, 8)),
        one("d", range(6), n=3),
        one("e", [20, 21]),
        one("f", range(6), up=9.0),
        one("g", [0]),
    ]
    together = {(duel.first, duel.second): duel for duel in duels(everybody)}
    assert list(together) == [(first.name, second.name) for first, second in combinations(everybody, 2)]
    for first, second in combinations(everybody, 2):
        [alone] = duels([first, second])
        told = together[first.name, second.name]
        assert (told.seeds, told.why == "they have no seed in common") == (alone.seeds, alone.seeds == 0)
        for name in ("difference", "wins", "wins_at_equal_length"):
            ours, theirs = getattr(told, name), getattr(alone, name)
            figures = [(one.mean, one.low, one.high) for one in (ours, theirs)]
            assert figures[0] == pytest.approx(figures[1], abs=1e-7, nan_ok=True), (told.first, told.second, name)
        assert told.chance == pytest.approx(alone.chance)


def test_plain_data_has_figures_of_six_digits_and_settings_as_they_are() -> None:
    runs = [
        replace(run, settings={**run.settings, "optimizer": {"use": "o:x/x", "lr": 1.23456789e-4, "most": math.inf}})
        for run in (in_hand(seed, [[1.23456789], [2.0]]) for seed in range(5))
    ]
    row = compare("one", [Entrant("x", tuple(runs), tuned={"optimizer.lr": 1.23456789e-4})]).row()
    assert row["lines"][0]["reward"]["mean"] == 1.61728
    assert row["lines"][0]["tuned"] == {"optimizer.lr": 1.23456789e-4}
    assert row["made"][0]["settings"]["optimizer"] == {"use": "o:x/x", "lr": 1.23456789e-4, "most": "inf"}
    assert json.loads(json.dumps(row, allow_nan=False)) == row
