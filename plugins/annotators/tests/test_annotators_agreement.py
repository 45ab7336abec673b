"""Agreement, by the worked examples of its inventors and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignzoo.lab.statistics import wilson
from alignzoo_annotators.agreement import (
    Level,
    Numbers,
    agreement,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    pairwise,
    resampled,
)

FLEISS = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ],
    float,
)
"""Fourteen people, ten items: the example that textbooks work out, κ = 0.210."""

_ = math.nan
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
)
"""Four people, twelve items, some of them missing (Krippendorff 2011, section C to E)."""


def counted(said: Numbers, values: list[float]) -> Numbers:
    """Counts of a table of annotators × items."""
    return np.array([[float((column == value).sum()) for value in values] for column in said.T])


def test_pairs_of_annotators_by_hand() -> None:
    """Of four, three agree: 3 of 6 pairs. One alone is no pair."""
    counts = np.array([[3.0, 1.0], [2.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    assert pairwise(counts).tolist() == [0.5, 1.0, 0.0]
    assert agreement(counts) == pytest.approx(0.5)


def test_a_tie_is_half_of_a_choice_where_that_is_asked_for() -> None:
    half = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.5], [0.0, 0.5, 1.0]])
    assert agreement(np.array([[1.0, 1.0, 0.0]])) == 0.0
    assert agreement(np.array([[1.0, 1.0, 0.0]]), half) == 0.5
    assert agreement(np.array([[1.0, 1.0, 1.0]]), half) == pytest.approx(1 / 3)  # ½ + ½ + 0 of three
    assert agreement(np.array([[0.0, 2.0, 0.0]]), half) == 1.0


def test_cohens_worked_example() -> None:
    """Fifty grants, two readers: both yes 20, both no 15; 0.7 agree, 0.5 by chance."""
    assert cohen_kappa(np.array([[20.0, 5.0], [10.0, 15.0]])) == pytest.approx(0.4)


def test_cohens_chance_is_by_each_readers_own_habits() -> None:
    """One always says yes: agreeing with him is chance. By the mean of both habits it would be less than chance."""
    assert cohen_kappa(np.array([[8.0, 2.0], [0.0, 0.0]])) == pytest.approx(0.0)


def test_fleisss_worked_example() -> None:
    assert fleiss_kappa(FLEISS) == pytest.approx(0.20993, abs=1e-5)


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743421), ("ordinal", 0.815388), ("interval", 0.849107), ("ratio", 0.797403)]
)
def test_krippendorffs_worked_example(level: Level, alpha: float) -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert krippendorff_alpha(counted(KRIPPENDORFF, values), values, level) == pytest.approx(alpha, abs=1e-6)


def test_what_is_missing_is_no_category() -> None:
    """People who judge nothing change no figure; items that one person judged change nothing but Fleiss's chance."""
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    counts = counted(KRIPPENDORFF, values)
    more = np.vstack([counts, np.zeros((3, 5)), np.eye(5)])
    assert krippendorff_alpha(more, values) == pytest.approx(0.743421, abs=1e-6)
    assert fleiss_kappa(np.vstack([FLEISS, np.zeros((3, 5))])) == pytest.approx(0.20993, abs=1e-5)
    assert agreement(more) == agreement(counts)


def test_fleisss_chance_counts_what_one_person_judged() -> None:
    """As irrCAC has it, in R and in Python: pa = 0.81818 of the eleven units that two or more judged, pe = 0.23872 of all
    twelve (of eleven alone kappa would be 0.762)."""
    assert fleiss_kappa(counted(KRIPPENDORFF, [1.0, 2.0, 3.0, 4.0, 5.0])) == pytest.approx(0.76117, abs=1e-5)


@pytest.mark.parametrize("agreed", [0.5, 0.726, 0.9])
def test_balanced_choices_have_twice_the_agreement_less_one(agreed: float) -> None:
    """κ = 2A − 1: 72.6 % of agreement is a kappa of 0.45. Both ways round, as choices are laid out."""
    both, split = round(1000 * agreed), 1000 - round(1000 * agreed)
    counts = np.array([[2.0, 0.0]] * both + [[1.0, 1.0]] * split)
    mirrored = np.vstack([counts, counts[:, ::-1]])
    assert agreement(mirrored) == pytest.approx(agreed)
    assert fleiss_kappa(mirrored) == pytest.approx(2 * agreed - 1)
    assert cohen_kappa(np.array([[both, split], [split, both]], float)) == pytest.approx(2 * agreed - 1)


def test_nothing_over_nothing_is_no_figure() -> None:
    same = np.array([[2.0, 0.0], [3.0, 0.0]])
    assert agreement(same) == 1.0
    assert fleiss_kappa(same) is None
    assert krippendorff_alpha(same, [0.0, 1.0]) is None
    assert cohen_kappa(np.array([[5.0, 0.0], [0.0, 0.0]])) is None
    alone = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert agreement(alone) is None
    assert fleiss_kappa(alone) is None
    assert krippendorff_alpha(alone, [0.0, 1.0]) is None
    assert cohen_kappa(np.zeros((2, 2))) is None
    assert wilson(0, 0) is None


def test_alpha_of_scores_that_are_far_apart() -> None:
    """Off by one on a scale of five is little disagreement by order, and whole disagreement by name."""
    counts = np.zeros((4, 5))
    for item in range(4):
        counts[item, item] = counts[item, item + 1] = 1.0
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    by_name, by_order = krippendorff_alpha(counts, values), krippendorff_alpha(counts, values, "ordinal")
    assert by_name is not None
    assert by_order is not None
    assert by_name < 0 < 0.6 < by_order


@given(st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=4), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_figures_are_within_their_bounds_or_none(rows: list[list[int]]) -> None:
    counts = np.array(rows, float)
    agreed = agreement(counts)
    assert agreed is None or 0 <= agreed <= 1
    for figure in (fleiss_kappa(counts), krippendorff_alpha(counts, [1.0, 2.0, 3.0, 4.0], "ordinal")):
        assert figure is None or (math.isfinite(figure) and figure <= 1 + 1e-9)


# Intervals ------------------------------------------------------------------------------------------------------------


def test_wilsons_interval_by_hand() -> None:
    """8 of 10: (0.8 + 0.19207) / 1.38415 ± 1.96 / 1.38415 · √(0.016 + 0.0096)."""
    found = wilson(8, 10)
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((0.8, 0.49016, 0.94331), abs=1e-5)


def test_wilsons_interval_has_a_width_at_both_ends() -> None:
    none, every = wilson(0, 20), wilson(20, 20)
    assert none is not None
    assert every is not None
    assert (none.low, every.high) == (0.0, 1.0)
    assert none.high == pytest.approx(0.16113, abs=1e-5)
    assert every.low == pytest.approx(1 - none.high)


def test_items_of_one_prompt_are_drawn_together() -> None:
    """A hundred items of two prompts, one of which all agree on: the share is 0, ½ or 1, never in between."""
    counts = np.array([[2.0, 0.0]] * 50 + [[1.0, 1.0]] * 50)
    together = resampled(agreement, counts, np.repeat([0, 1], 50), 200)
    apart = resampled(agreement, counts, np.arange(100), 200)
    assert together is not None
    assert apart is not None
    assert (together.mean, together.low, together.high) == (0.5, 0.0, 1.0)
    assert 0.35 < apart.low < 0.45 < 0.55 < apart.high < 0.65
    assert resampled(agreement, counts[:0], np.arange(0), 10) is None
    assert together == resampled(agreement, counts, np.repeat([0, 1], 50), 200)


def test_draws_without_an_answer_are_left_out() -> None:
    """Kappa has none in the draws where all say the same."""
    counts = np.array([[2.0, 0.0], [0.0, 2.0]])
    found = resampled(fleiss_kappa, counts, np.arange(2), 50)
    assert found is not None
    assert (found.mean, found.low, found.high) == (1.0, 1.0, 1.0)
