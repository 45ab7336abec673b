"""What is told of all contestants together, and the way that each of them took: by hand, without runs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from finished import in_hand
from scipy import stats

from alignzoo.lab.compare.comparison import Comparison, compare
from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.frontier import Point, fitted, frontier
from alignzoo.lab.compare.gao import fit
from alignzoo.lab.compare.page import page
from alignzoo.lab.compare.significance import COST, SHARE, spread_of
from alignzoo.lab.compare.words import limits, markdown, strengths
from alignzoo.lab.statistics import Estimate


def contestant(name: str, by_seed: list[float], prompts: int = 4, **more: Any) -> Entrant:
    return Entrant(name, tuple(in_hand(seed, np.full((prompts, 1), value), **more) for seed, value in enumerate(by_seed)))


def cautions(*entrants: Entrant) -> str:
    return " / ".join(compare("some", entrants).cautions)


# The sentence -------------------------------------------------------------------------------------------------------------


def test_one_seed_is_not_said_to_be_above_nothing_for_certain() -> None:
    found = compare("one", [contestant("a", [0.5])])
    assert found.answer() == "a has the highest reward, 0.500 (one seed, no interval); the start has 0.000."
    told = compare("one", [contestant("a", [0.5, 0.6])]).answer()
    assert told.endswith("; the start has 0.000 [0.000, 0.000].")


def test_no_number_of_seeds_is_promised_where_one_of_the_open_ones_would_never_be_told() -> None:
    """b is near under some seeds; c differs by prompt alone."""
    best = contestant("a", [1.0, 1.1, 0.9, 1.05, 0.95], prompts=3)
    near = contestant("b", [0.9, 1.2, 0.7, 1.2, 0.8], prompts=3)
    apart = np.array([[2.0], [-4.0], [1.0]])
    runs = [replace(run, policy={**run.policy, "score": run.policy["score"] + apart}) for run in best.runs]
    by_prompt = Entrant("c", tuple(runs))
    found = compare("three", [best, near, by_prompt])
    needed = {duel.second: duel.seeds_needed for duel in found.duels if duel.first == "a"}
    assert needed["c"] is None
    assert needed["b"] is not None
    assert found.answer().endswith("; not separable from b and c."), found.answer()


# What everybody has -------------------------------------------------------------------------------------------------------


def test_only_values_that_every_run_has_are_compared() -> None:
    def valued(entrant: Entrant, *names: str) -> Entrant:
        more = {f"value: {name}": np.ones((4, 1)) for name in names}
        runs = [replace(run, policy={**run.policy, **more}, start={**run.start, **more}) for run in entrant.runs]
        return replace(entrant, runs=tuple(runs))

    found = compare("two", [valued(contestant("a", [1.0] * 5), "kind", "brief"), valued(contestant("b", [0.0] * 5), "brief")])
    assert [list(line.values) for line in found.lines] == [["brief"]] * 2


def test_a_gain_in_a_closed_task_is_for_other_seeds_alone() -> None:
    """What was gained depends on the prompt and on nothing else."""
    runs = [in_hand(seed, [[0.0], [1.0], [2.0]], closed="all") for seed in range(5)]
    [line] = compare("one", [Entrant("a", tuple(runs))]).lines
    assert (line.gain.low, line.gain.high) == pytest.approx((1.0, 1.0))
    [line] = compare("one", [Entrant("a", tuple(replace(run, closed="") for run in runs))]).lines
    assert line.gain.low < 0.0


def test_what_was_spent_is_the_benchs_word_or_the_mean_of_the_runs() -> None:
    runs = [
        replace(run, spent={"read": 10.0 * seed, "written": 2.0}) for seed, run in enumerate(contestant("a", [1.0] * 3).runs)
    ]
    [line] = compare("one", [Entrant("a", tuple(runs))]).lines
    half = stats.t.ppf(0.975, 2) * 10 / math.sqrt(3)
    assert line.spent["read"] == Estimate(10.0, 0.0, pytest.approx(10 + half)), "of 0, 10, 20; never below 0"
    assert line.spent["written"] == Estimate(2.0, 2.0, 2.0)
    assert line.spent["tokens"] == Estimate(12.0, 0.0, pytest.approx(12 + half)), "a sum under each seed"
    told = {"tokens": Estimate(99.0, 98.0, 100.0)}
    [line] = compare("one", [Entrant("a", tuple(runs), spent=told)]).lines
    assert line.spent == told


# Cautions -----------------------------------------------------------------------------------------------------------------


def test_few_seeds_few_prompts_and_failures_are_cautions() -> None:
    five, four = contestant("five", [0.0] * 5, prompts=30), contestant("four", [0.0] * 4, prompts=30)
    assert cautions(five) == ""
    assert cautions(five, four) == "fewer than 5 seeds: four (4)"
    assert cautions(contestant("five", [0.0] * 5, prompts=29)) == "29 test prompts are few; 100 or more tell small differences"
    assert cautions(replace(five, failures=("seed 5: gone", "seed 6: gone"))) == (
        "five: 2 of its runs failed; those that did not may be the lucky ones"
    )


def test_starts_may_differ_from_seed_to_seed_and_not_within_one() -> None:
    runs = [in_hand(seed, np.zeros((30, 1)), start=float(seed)) for seed in range(5)]
    assert cautions(Entrant("a", tuple(runs)), Entrant("b", tuple(runs))) == ""
    other = [*runs[:4], in_hand(4, np.zeros((30, 1)), start=3.0)]
    said = "they did not begin with the same start: its answers were scored otherwise"
    assert cautions(Entrant("a", tuple(runs)), Entrant("b", tuple(other))) == said
    big = {**other[4].settings, "model": {"path": "big", "quantize": "nf4"}}
    other[4] = replace(other[4], settings=big)
    named = f"{said} (their bases are big, nf4 and not told, as it is)"
    assert cautions(Entrant("a", tuple(runs)), Entrant("b", tuple(other))) == named


def test_other_versions_and_other_bytes_are_named() -> None:
    def made(seed: int, torch: str, digest: str) -> Any:
        run = in_hand(seed, np.zeros((30, 1)))
        return replace(
            run, settings={**run.settings, "made_with": {"torch": torch, "python": "3.11", "plugins": {"o:dpo/dpo": digest}}}
        )

    same = [made(seed, "2.5", "sha256:0") for seed in range(5)]
    assert cautions(Entrant("a", tuple(same))) == ""
    other = [*same[:4], made(4, "2.6", "sha256:1")]
    assert cautions(Entrant("a", tuple(other))) == "not all were made with the same o:dpo/dpo and torch"


def test_what_a_run_was_trained_on_is_told_once_for_each_kind_of_machine() -> None:
    told = {"processor": "A CPU", "cores": 2, "threads": 1, "accelerators": [], "system": "Linux x86_64"}
    runs = contestant("a", [0.0] * 3).runs
    known = (
        replace(runs[0], machine=told),
        replace(runs[1], machine={**told, "accelerators": ["A GPU"], "threads": 4}),
        runs[2],
    )
    [made] = compare("one", [Entrant("a", known)]).made
    assert made.machines == ("A CPU, 2 cores, 1 thread, Linux x86_64", "A GPU, A CPU, 2 cores, 4 threads, Linux x86_64", "")
    [made] = compare("one", [Entrant("a", known[:1] * 1)]).made
    assert made.seeds == (0,)


# Ways ---------------------------------------------------------------------------------------------------------------------


def point(update: int, kl: float | None = 0.0, **more: Any) -> dict[str, Any]:
    return {"update": update, "kl": kl, "gold": 0.5, "labels": 0.0, "flops": 0.0, "seconds": 0.0, **more}


def way(*seeds: list[dict[str, Any]], **more: Any) -> list[Point]:
    runs = tuple(in_hand(seed, [[0.0], [1.0]], way=tuple(points), **more) for seed, points in enumerate(seeds))
    return list(frontier(Entrant("a", runs)))


def test_the_band_of_a_way_is_for_other_seeds_and_other_prompts() -> None:
    each = [[0.2, 0.4, 0.9], [0.1, 0.5, 0.6], [0.3, 0.6, 0.9]]
    [found] = way(*([point(0, gold=float(np.mean(gold)), each={"gold": gold})] for gold in each))
    assert (found.gold.low, found.gold.high) == (
        spread_of(np.array(each)).interval().low,
        spread_of(np.array(each)).interval().high,
    )
    half = stats.t.ppf(0.975, 2) * np.std(np.mean(each, axis=1), ddof=1) / math.sqrt(3)
    assert found.gold.high - found.gold.mean > half  # that would be for other seeds alone
    [within] = way(*([point(0, gold=0.5, each={"gold": gold})] for gold in each), bounds={"score": SHARE})
    assert (within.gold.low, within.gold.high) == (
        spread_of(np.array(each)).interval(SHARE).low,
        spread_of(np.array(each)).interval(SHARE).high,
    )
    [closed] = way(*([point(0, gold=0.5, each={"gold": gold})] for gold in each), closed="all")
    assert closed.gold.high - closed.gold.mean == pytest.approx(half)


def test_a_proxy_is_one_where_every_seed_has_it() -> None:
    first, second = way([point(0, proxy=1.0), point(1, proxy=2.0)], [point(0, proxy=3.0), point(1, proxy=None)])
    assert (first.proxy and first.proxy.mean, second.proxy) == (2.0, None)
    each = [[1.0, 3.0], [2.0, 8.0]]
    [found] = way(
        *([point(0, proxy=float(np.mean(own)), kl=0.1, each={"proxy": own, "kl": own})] for own in each),
        bounds={"score": SHARE},
    )
    around = spread_of(np.array(each)).interval()
    assert found.proxy == around, "for other seeds and other prompts, and not within what gold lies between"
    assert (found.kl.mean, found.kl.low, found.kl.high) == (around.mean, max(0.0, around.low), around.high)
    [alone] = way([point(0, 0.3, proxy=1.0)])
    assert math.isnan(alone.kl.low), "of one seed nothing is known"


def test_strengths_of_one_update_are_points_of_their_own() -> None:
    found = way([point(0), point(0, 0.2, strength=2, gold=0.7), point(0, 0.6, strength=4, gold=0.9)])
    assert [(one.n, one.kl.mean, one.gold.mean) for one in found] == [(0, 0.0, 0.5), (2, 0.2, 0.7), (4, 0.6, 0.9)]


def test_the_best_of_so_many_has_its_kl_by_formula_and_by_estimate() -> None:
    row = point(0, 0.64, strength=4, gold=0.9, proxy=2.0)
    each = [[0.4, 0.6], [0.5, 0.7]]
    found = way(*([row | {"kl_estimated": float(np.mean(own)), "each": {"kl_estimated": own}}] for own in each))
    assert found[0].kl_estimated == spread_of(np.array(each)).interval(COST)
    both = replace(found_of((0.0, 0.0)), ways={"a": (point_of(0.0), found[0]), "b": ()})
    head, [told] = strengths(both)
    assert dict(zip(head, told, strict=True)) == {
        "contestant": "a",
        "n": "4",
        "KL by formula": "0.64",
        "KL estimated": "0.55 [0.00, 1.24]",
        "proxy": "2.000 [2.000, 2.000]",
        "reward": "0.900 [0.900, 0.900]",
    }
    assert "0.55 [0.00, 1.24]" in markdown(both)
    assert "0.55 [0.00, 1.24]" in page(both)
    older = way([row], [row | {"kl_estimated": 0.5}])
    assert older[0].kl_estimated is None, "a trail of before that was kept"
    assert "estimated" not in markdown(found_of((0.0, 0.0)))


def point_of(kl: float) -> Point:
    return points((kl, 0.5))[0]


def points(*pairs: tuple[float, float], n: int = 0) -> list[Point]:
    return [Point(i, n, Estimate(kl, kl, kl), Estimate(gold, 0, 1), None, 0, 0, 0) for i, (kl, gold) in enumerate(pairs)]


def test_a_law_is_fitted_from_the_start_on_and_not_too_near_to_it() -> None:
    """R = 1 + d (1 − ½ log d); the point at d = 0.05 is wrong, and too near to count."""
    curve = [(d * d, 1 + d * (1 - 0.5 * math.log(d))) for d in (0.5, 1.0, 2.0, 3.0)]
    found = fitted(points((0.0, 1.0), (0.0025, 9.0), *curve))
    assert found is not None
    assert (found.alpha, found.beta, found.points) == (pytest.approx(1.0), pytest.approx(0.5), 4)
    assert fitted(points(*curve)) is None  # nothing is known of the start


def test_errors_and_what_is_left_over_by_hand() -> None:
    """Best-of-n with d = 1, 2, 3 and R = 1, 2, 4: least squares in (d, −d²), three points and two coefficients."""
    found = fit("best-of-n", [1.0, 4.0, 9.0], [1.0, 2.0, 4.0], start=0.0)
    design = np.array([[1.0, -1.0], [2.0, -4.0], [3.0, -9.0]])
    normal = design.T @ design  # [[14, −36], [−36, 98]], of determinant 76
    alpha, beta = np.linalg.inv(normal) @ design.T @ np.array([1.0, 2.0, 4.0])
    left = np.array([1.0, 2.0, 4.0]) - design @ np.array([alpha, beta])
    assert (found.alpha, found.beta) == pytest.approx((alpha, beta))
    assert found.coefficients == (
        (found.alpha, pytest.approx(math.sqrt(98 / 76 * float(left @ left) / 1))),
        (found.beta, pytest.approx(math.sqrt(14 / 76 * float(left @ left) / 1))),
    )
    assert found.residual == pytest.approx(math.sqrt(float(left @ left) / 3))


def found_of(*pairs: tuple[float, float]) -> Comparison:
    points = tuple(point(update, kl, gold=gold) for update, (kl, gold) in enumerate(pairs))
    return compare("one", [Entrant("a", (in_hand(0, [[0.0], [1.0]], way=points),))])


def test_a_peak_is_told_where_it_was_seen_and_nowhere_else() -> None:
    def law(alpha: float, beta: float, far: float) -> list[str]:
        curve = [(d * d, d * (alpha - beta * math.log(d))) for d in np.linspace(0.3, far, 6)]
        _, [row] = limits(found_of((0.0, 0.0), *curve))
        return list(row)

    name, kind, alpha, _, peak = law(1.0, 0.5, 4.0)
    assert (name, kind, alpha.split(" ± ")[0], peak) == ("a", "rl", "1", "7.39 nats")
    assert law(1.0, 0.5, 2.0)[4] == "nowhere: it still rises where the points end, at 4 nats"
    assert law(1.0, -0.5, 2.0)[4] == "nowhere: it still rises where the points end, at 4 nats"


def test_what_has_no_interval_is_said_on_the_page_and_in_markdown() -> None:
    found = found_of((0.0, 0.0), *((d * d, d * (1 - 0.5 * math.log(d))) for d in (0.5, 1.0, 2.0, 3.0)))
    assert "has no interval of its own" in " ".join(markdown(found).split())
    assert "has no interval of its own" in " ".join(page(found).split())
    plain = found_of((0.0, 0.0))
    assert "no interval of its own" not in markdown(plain) + page(plain)
