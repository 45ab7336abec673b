"""Intervals that cover, tests that claim no more than they may, and one scale for all."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from alignzoo.lab.compare.duels import at_equal_length
from alignzoo.lab.compare.ranking import strengths
from alignzoo.lab.compare.significance import SHARE, Spread, holm, seeds_to_separate, spread_of


def bench(dice: np.random.Generator, seeds: int, prompts: int, by_seed: float, by_prompt: float, rest: float) -> np.ndarray:
    """Figures around 0 with these deviations."""
    ours = by_seed * dice.standard_normal((seeds, 1)) + by_prompt * dice.standard_normal((1, prompts))
    return ours + rest * dice.standard_normal((seeds, prompts))


# By hand ------------------------------------------------------------------------------------------------------------------


def test_the_parts_of_a_variance_by_hand() -> None:
    # Seeds' means 2 and 4, prompts' means 1, 3, 5, and nothing else: y = seed + prompt − 3.
    spread = spread_of(np.array([[0.0, 2.0, 4.0], [2.0, 4.0, 6.0]]))
    assert spread.mean == 3.0
    assert spread.between_seeds == 2.0  # of 2 and 4
    assert spread.between_prompts == 4.0  # of 1, 3 and 5
    assert spread.error == pytest.approx(math.sqrt(2 / 2 + 4 / 3))
    # (7/3)² / (1²/1 + (8/6)²/2): mean squares 6 of seeds, 8 of prompts, 0 of the rest, over six cells
    assert spread.freedom == pytest.approx((7 / 3) ** 2 / (1 + (8 / 6) ** 2 / 2))
    half = stats.t.ppf(0.975, spread.freedom) * spread.error
    assert (spread.interval().low, spread.interval().high) == pytest.approx((3 - half, 3 + half))


def test_what_is_left_over_is_no_difference_between_prompts() -> None:
    # All prompts have the same mean; what there is, is left over. It stays in the variance of the seeds' means alone.
    spread = spread_of(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    assert (spread.between_prompts, spread.between_seeds, spread.error) == (0.0, 0.0, 0.0)
    assert spread.rest_square == 4.0


@pytest.mark.parametrize("table", [np.array([[1.0, 2.0, 3.0]]), np.array([[1.0], [2.0]])])
def test_one_seed_or_one_prompt_has_no_interval_and_proves_nothing(table: np.ndarray) -> None:
    spread = spread_of(table)
    assert math.isnan(spread.interval().low)
    assert spread.chance() == 1.0


def test_a_difference_without_any_spread_is_certain_and_none_is_none() -> None:
    assert spread_of(np.full((5, 4), 0.25)).chance() == 0.0
    assert spread_of(np.zeros((5, 4))).chance() == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_seeds_that_would_separate() -> None:
    alike = Spread(0.1, 5, 100, between_seeds=0.04, between_prompts=0.0, prompts_square=0.0, rest_square=0.0)
    needed = seeds_to_separate(alike, 0.05)
    assert needed is not None

    def told_apart(count: int) -> bool:
        return stats.t.ppf(0.975, count - 1) * math.sqrt(0.04 / count) <= 0.1

    assert told_apart(needed)
    assert not told_apart(needed - 1)
    prompts_only = Spread(0.1, 5, 4, between_seeds=0.0, between_prompts=1.0, prompts_square=5.0, rest_square=0.0)
    assert seeds_to_separate(prompts_only, 0.05) is None
    assert seeds_to_separate(Spread(0.0, 5, 4, 1.0, 0.0, 0.0, 0.0), 0.05) is None


def test_an_interval_within_bounds_by_hand() -> None:
    # The table above, said to lie between 0 and 6: a share of one half, as uncertain as that of 27/7 trials.
    spread = spread_of(np.array([[0.0, 2.0, 4.0], [2.0, 4.0, 6.0]]))
    found, z = spread.interval((0.0, 6.0)), stats.t.ppf(0.975, spread.freedom) ** 2 / (0.25 / ((2 / 2 + 4 / 3) / 36))
    half = 6 * math.sqrt(z) * math.sqrt(0.25 + z / 4) / (1 + z)
    assert (found.mean, found.low, found.high) == pytest.approx((3.0, 3 - half, 3 + half))
    assert spread.interval().low < 0 < found.low  # Student's reaches beyond


@pytest.mark.parametrize(
    ("told", "low", "high"), [(1.0, 60 / (60 + 1.959964**2), 1.0), (0.0, 0.0, 1 - 60 / (60 + 1.959964**2))]
)
def test_where_all_are_at_an_end_every_prompt_is_one_trial(told: float, low: float, high: float) -> None:
    found = spread_of(np.full((5, 60), told)).interval(SHARE)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)
    same = spread_of(np.full((5, 60), 0.25)).interval(SHARE)  # in the middle nothing is left to doubt
    assert (same.low, same.high) == (0.25, 0.25)


def test_a_count_is_cut_off_where_it_ends() -> None:
    spread = spread_of(np.array([[0.0, 2.0, 4.0], [2.0, 4.0, 6.0]]))
    found, free = spread.interval((0.0, math.inf)), spread.interval()
    assert (found.low, found.high) == (0.0, free.high)
    assert free.low < 0


def test_in_a_closed_task_only_seeds_vary() -> None:
    spread = spread_of(np.array([[0.0, 2.0, 4.0], [2.0, 4.0, 6.0]]), closed=True)
    assert (spread.between_prompts, spread.error, spread.freedom) == (0.0, 1.0, 1.0)  # √(2 / 2), and one seed more than one


# By simulation ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        (5, 60, 0.05, 0.2, 0.2),
        (5, 200, 0.0, 0.3, 0.2),
        (5, 100, 0.1, 0.0, 0.1),
        (5, 100, 0.0, 0.0, 0.2),
        (8, 50, 0.03, 0.2, 0.2),
    ],
    ids=["all three", "no seeds", "no prompts", "rest alone", "eight seeds"],
)
def test_95_percent_intervals_cover_in_95_of_100_benches(parts: tuple[int, int, float, float, float]) -> None:
    dice = np.random.default_rng(7)
    intervals = [spread_of(bench(dice, *parts)).interval() for _ in range(1000)]
    covered = sum(found.low <= 0 <= found.high for found in intervals) / 1000
    assert 0.93 <= covered <= 0.97 + 0.01  # two points, and what a thousand benches themselves leave open


@pytest.mark.parametrize("kind", ["each prompt its own", "by prompt and chance", "by seed", "graded"])
@pytest.mark.parametrize("prompts", [60, 200])
def test_near_the_end_of_a_scale_intervals_cover_and_stay_on_it(kind: str, prompts: int) -> None:
    dice = np.random.default_rng(1)
    cases = [near_one(dice, kind, prompts) for _ in range(600)]
    found = [(spread_of(table).interval(SHARE), truth) for table, truth in cases]
    covered = sum(one.low <= truth <= one.high for one, truth in found) / len(found)
    assert 0.925 <= covered <= 0.985
    assert all(0 <= one.low <= one.mean <= one.high <= 1 for one, _ in found)


def near_one(dice: np.random.Generator, kind: str, prompts: int) -> tuple[np.ndarray, float]:
    """A bench of shares, or of grades, near 1, and its truth."""
    if kind == "each prompt its own":
        return np.repeat((dice.random((1, prompts)) < 0.98).astype(float), 5, 0), 0.98
    if kind == "by seed":
        ours = dice.choice([0.95, 0.97, 0.99], (5, 1))
        return (dice.random((5, prompts)) < ours).astype(float), 0.97
    right = dice.random((5, prompts)) < dice.beta(9, 0.3, (1, prompts))
    if kind == "graded":
        return np.where(right, 1.0, dice.random((5, prompts)) * 0.8), (9 + 0.3 * 0.4) / 9.3
    return right.astype(float), 9 / 9.3


def test_in_a_closed_task_intervals_cover_other_seeds() -> None:
    dice = np.random.default_rng(2)
    asked = dice.normal(0, 0.3, (1, 20))
    found = [spread_of(asked + bench(dice, 5, 20, 0.03, 0.0, 0.1), closed=True).interval() for _ in range(1000)]
    covered = sum(one.low <= asked.mean() <= one.high for one in found) / 1000
    assert 0.93 <= covered <= 0.97


def test_among_contestants_that_are_the_same_few_claims_are_made() -> None:
    dice = np.random.default_rng(3)
    false = 0
    for _ in range(1000):
        common = bench(dice, 5, 60, 0.05, 0.3, 0.0)
        tables = [common + bench(dice, 5, 60, 0.03, 0.0, 0.2) for _ in range(4)]
        chances = [spread_of(a - b).chance() for a, b in combinations(tables, 2)]
        false += min(holm(chances)) < 0.05
    assert false / 1000 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)


def test_what_is_really_better_is_found() -> None:
    dice = np.random.default_rng(5)
    found = sum(spread_of(0.3 + bench(dice, 5, 60, 0.1, 0.2, 0.2)).chance() < 0.05 for _ in range(300))
    assert found > 270


# Strengths and lengths ----------------------------------------------------------------------------------------------------


def test_strengths_of_two_by_hand() -> None:
    theta = strengths(np.array([[0.0, 3.0], [1.0, 0.0]]))
    assert theta[0] - theta[1] == pytest.approx(math.log(3))
    assert theta.sum() == pytest.approx(0)


def test_strengths_explain_how_often_each_won() -> None:
    wins = np.array([[0.0, 7.0, 4.0, 9.0], [3.0, 0.0, 5.0, 6.0], [6.0, 5.0, 0.0, 2.0], [1.0, 4.0, 8.0, 0.0]])
    theta = strengths(wins)
    expected = (wins + wins.T) / (1 + np.exp(theta[None] - theta[:, None]))  # the condition of the highest likelihood
    assert (expected * (1 - np.eye(4))).sum(1) == pytest.approx(wins.sum(1), abs=1e-5)
    assert strengths(wins.T) == pytest.approx(-theta)  # whoever won has lost


def test_who_wins_by_length_alone_wins_nothing_at_equal_length() -> None:
    dice = np.random.default_rng(0)
    longer = dice.normal(3.0, 2.0, (5, 200))  # longer by three words on the whole
    wins = (dice.random((5, 200)) < 1 / (1 + np.exp(-2.0 * np.tanh(longer / longer.std())))).astype(float)
    assert wins.mean() > 0.75
    fair = at_equal_length(wins, longer)
    assert fair.low < 0.5 < fair.high


def test_who_wins_at_any_length_still_does() -> None:
    dice = np.random.default_rng(0)
    wins = (dice.random((5, 200)) < 0.8).astype(float)
    assert at_equal_length(wins, dice.normal(0.0, 2.0, (5, 200))).mean == pytest.approx(wins.mean(), abs=0.02)


def test_where_all_answers_ended_alike_length_explains_nothing() -> None:
    """An undefeated one is not certain to stay so: every prompt is one trial."""
    longer = np.random.default_rng(0).normal(size=(5, 40))
    assert at_equal_length(np.ones((5, 40)), longer) == spread_of(np.ones((5, 40))).interval(SHARE)
    assert at_equal_length(np.full((5, 40), 0.5), longer).mean == 0.5


def test_a_win_rate_at_equal_length_by_hand() -> None:
    """Where all are of one length, θ alone is fitted, with its tenth of a virtual answer: Σ (w − σ(θ)) = 0.1 θ."""
    wins = np.ones((5, 4))
    wins[:, 0] = 0.0
    fair = at_equal_length(wins, np.full((5, 4), 7.0) - 7.0)
    theta = math.log(fair.mean / (1 - fair.mean))
    assert 15 - 20 * fair.mean == pytest.approx(0.1 * theta)
    # one prompt in four is lost under every seed: the influences are (w − σ) / σ(1 − σ), and their error that of the prompts
    bend = fair.mean * (1 - fair.mean) + 0.1 / 20
    error = spread_of(wins).error / bend
    half = stats.t.ppf(0.975, spread_of(wins).freedom) * error
    assert (math.log(fair.low / (1 - fair.low)), math.log(fair.high / (1 - fair.high))) == pytest.approx(
        (theta - half, theta + half)
    )


def test_length_is_counted_in_its_own_deviation_from_no_difference() -> None:
    """p = σ(θ + γ tanh(d / deviation)) with θ = 0.5, γ = 2: at d = 0 it is σ(0.5), however long words are."""
    longer = np.tile(np.linspace(-1.0, 3.0, 200), (5, 1))
    odds = 0.5 + 2.0 * np.tanh(longer / longer.std())
    for scale in (1.0, 40.0):
        fair = at_equal_length(1 / (1 + np.exp(-odds)), scale * longer)
        assert fair.mean == pytest.approx(1 / (1 + math.exp(-0.5)), abs=2e-3)


def test_where_prompts_add_nothing_the_test_is_students_on_the_means_of_seeds() -> None:
    means = np.array([0.3, 0.1, 0.25, -0.05, 0.2])
    found = spread_of(np.repeat(means[:, None], 3, 1))
    assert found.chance() == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    around = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert (found.interval().low, found.interval().high) == pytest.approx((around.low, around.high))


def test_one_more_seed_may_be_enough() -> None:
    error = math.sqrt(0.04 / 6)
    near = Spread(1.001 * stats.t.ppf(0.975, 5) * error, 5, 100, 0.04, 0.0, 0.0, 0.0)
    assert seeds_to_separate(near, 0.05) == 6
