"""The curve of best-of-n against brute force over all subsets, and by hand."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb, log
from random import Random

import numpy as np
import pytest

from alignzoo_best_of_n.curve import (
    CurveError,
    by_prompt,
    curve,
    divergence,
    doublings,
    estimated,
    predicted_win_rate,
    ranked,
    weights,
)


def brute(proxy: list[float], gold: list[float], n: int) -> float:
    """Mean over all subsets of n of the gold of the one with the highest proxy; ties share."""
    found = []
    for subset in combinations(range(len(proxy)), n):
        top = max(proxy[i] for i in subset)
        found.append(np.mean([gold[i] for i in subset if proxy[i] == top]))
    return float(np.mean(found))


def test_the_weights_by_hand() -> None:
    """N = 4, n = 2: of the 6 pairs, the k-th lowest is the better one of 0, 1, 2, 3."""
    assert weights(2, 4) == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6])
    assert weights(1, 4) == pytest.approx([1 / 4] * 4)
    assert weights(4, 4) == pytest.approx([0, 0, 0, 1])
    assert weights(1, 1) == pytest.approx([1])


@pytest.mark.parametrize("n", [1, 2, 17, 512, 1000, 1024])
def test_the_weights_are_exact_for_many_answers(n: int) -> None:
    exact = [float(Fraction(comb(k - 1, n - 1), comb(1024, n))) for k in range(1, 1025)]
    assert weights(n, 1024) == pytest.approx(exact, rel=1e-12, abs=1e-300)
    assert weights(n, 1024).sum() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_the_estimate_is_the_mean_over_all_subsets(ties: bool) -> None:
    dice = Random(0)
    for _ in range(20):
        proxy = [float(dice.randrange(3)) if ties else dice.random() for _ in range(7)]
        gold = [dice.random() for _ in range(7)]
        for n in range(1, 8):
            assert by_prompt([proxy], [gold], n) == pytest.approx([brute(proxy, gold, n)])


def test_gold_is_that_of_the_answer_with_the_best_proxy_not_the_best_gold() -> None:
    assert by_prompt([[1, 2, 3]], [[30, 20, 10]], 3) == [10]
    assert by_prompt([[1, 2, 3]], [[30, 20, 10]], 2) == pytest.approx([(20 + 10 + 10) / 3])


def test_best_of_one_is_the_mean_and_best_of_all_the_best() -> None:
    proxy, gold = [[3.0, 1.0, 2.0], [0.0, 5.0, 0.5]], [[1.0, 2.0, 6.0], [0.0, 1.0, 2.0]]
    one, _, most = curve(proxy, gold)
    assert (one.n, most.n) == (1, 3)
    assert one.gold.mean == pytest.approx((3 + 1) / 2)
    assert most.gold.mean == pytest.approx((1 + 1) / 2)
    assert most.proxy.mean == pytest.approx((3 + 5) / 2)


def test_prompts_are_not_pooled() -> None:
    """Two prompts of different levels: best-of-2 of each, then their mean; pooled, the level alone would decide."""
    points = curve([[0, 1], [10, 11]], [[0, 1], [10, 11]], [2])
    assert points[0].gold.mean == pytest.approx((1 + 11) / 2)


def test_ties_share_their_gold() -> None:
    assert ranked([2, 1, 2], [0, 7, 1]).tolist() == [7, 0.5, 0.5]
    assert by_prompt([[5, 5, 5]], [[1, 2, 6]], 2) == pytest.approx([3])


def test_what_is_known_without_samples() -> None:
    assert [divergence(n) for n in (1, 2, 64, 512)] == pytest.approx([0, 0.1931, 3.1745, 5.2403], abs=1e-4)
    assert [round(divergence(n), 1) for n in (64, 128, 256, 512)] == [3.2, 3.9, 4.5, 5.2]  # Stiennon et al. 2020, table 10
    assert divergence(60_000) == pytest.approx(10, abs=0.01)
    assert [predicted_win_rate(n) for n in (1, 3)] == [0.5, 0.75]
    [point] = curve([[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]], [3])
    assert (point.kl, point.win_rate) == (divergence(3), 0.75)


def test_the_interval_is_over_prompts() -> None:
    dice = np.random.default_rng(0)
    levels = dice.normal(size=200)
    table = [[level] * 4 for level in levels]
    [point] = curve(table, table, [2])
    wanted = 1.96 * levels.std() / 200**0.5
    assert point.gold.high - point.gold.low == pytest.approx(2 * wanted, rel=0.1)
    assert point.gold.low < point.gold.mean < point.gold.high
    [other] = curve(table, table, [2], seed=1)
    assert other.gold.mean == point.gold.mean
    assert other.gold.low != point.gold.low


def test_doublings() -> None:
    assert doublings(1) == [1]
    assert doublings(8) == [1, 2, 4, 8]
    assert doublings(10) == [1, 2, 4, 8, 10]


@pytest.mark.parametrize(
    ("proxy", "gold", "said"),
    [
        ([], [], "at least one prompt"),
        ([[]], [[]], "at least one scored answer"),
        ([[1.0, 2.0]], [[1.0]], "the same answers"),
        ([[1.0, float("nan")]], [[1.0, 2.0]], "not a finite number"),
        ([[1.0, 2.0]], [[1.0, float("inf")]], "not a finite number"),
    ],
)
def test_scores_without_a_curve_are_refused(proxy: list[list[float]], gold: list[list[float]], said: str) -> None:
    with pytest.raises(CurveError, match=said):
        curve(proxy, gold)


@pytest.mark.parametrize("n", [0, 4])
def test_n_beyond_the_answers_is_refused(n: int) -> None:
    with pytest.raises(CurveError, match="between 1 and 3"):
        by_prompt([[1, 2, 3]], [[1, 2, 3]], n)
    with pytest.raises(CurveError, match="got n = 0"):
        divergence(0)


def test_a_curve_goes_as_far_as_the_prompt_with_the_fewest_answers() -> None:
    points = curve([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]], [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    assert [point.n for point in points] == [1, 2, 3]
    assert points[2].gold.mean == pytest.approx((3 + 5.25) / 2)  # the best of three of six is 3 · 7/4 on average


# The KL by estimate -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 65_536])
def test_where_no_two_scores_are_equal_the_estimate_is_the_formula_and_where_all_are_nothing(n: int) -> None:
    assert estimated([0.3, -2.0, 5.0, 0.1], n) == pytest.approx(divergence(n))
    assert estimated([1.0] * 5, n) == pytest.approx(0.0, abs=1e-12)


def test_an_estimate_by_hand() -> None:
    """Two of three score alike: best of two is one of them in 4 of 9 cases, who were 2 of 3, and above them it is 2u over u."""
    above = (log(2) - 1 / 2) - (4 / 9 * log(4 / 3) - 2 / 9)  # ∫ 2u log 2u from 2/3 to 1
    assert estimated([1.0, 1.0, 2.0], 2) == pytest.approx(4 / 9 * log(4 / 9 / (2 / 3)) + above)


@pytest.mark.parametrize("n", [2, 5, 40, 2000])
def test_of_answers_that_are_many_each_the_estimate_is_the_kl_of_their_scores(n: int) -> None:
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    upto = np.cumsum(shares)
    chosen = upto**n - (upto - shares) ** n
    kl = sum(p * log(p / q) for p, q in zip(chosen, shares, strict=True) if p > 1e-300)
    scores = [level for level, share in enumerate(shares) for _ in range(round(share * 1000))]
    assert estimated(scores, n) == pytest.approx(kl)
    assert estimated(scores, n) < divergence(n)
