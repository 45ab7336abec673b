"""Held-out figures: the split, accuracy beside its ceiling, calibration, length. Numbers by hand."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch

from alignzoo.interfaces import LessonError
from alignzoo.lab.statistics import ceiling_of_agreement
from alignzoo.records import Comparison, Completion, Prompt, Provenance
from alignzoo_reward_model.held_out import (
    ENOUGH,
    Tried,
    agreement,
    by_strength,
    calibration_error,
    ceiling,
    correlation,
    figures,
    parted,
    rightness,
)


def pair(prompt: str = "why", chosen: str = "yes", rejected: str = "no", by: str = "", strength: float = 1.0) -> Comparison:
    who = Provenance("here", by)
    return Comparison(Prompt.ask(prompt), Completion(chosen), Completion(rejected), strength, who)


def turned(one: Comparison, by: str) -> Comparison:
    return replace(one, chosen=one.rejected, rejected=one.chosen, provenance=Provenance("here", by))


MANY = [pair(f"prompt {n % 40}", f"yes {n}") for n in range(200)]


def test_no_prompt_is_on_both_sides_and_nothing_is_lost() -> None:
    learned, held = parted(MANY, lambda one: one.prompt, 0.25)
    asked = [{one.prompt.id for one in side} for side in (learned, held)]
    assert not asked[0] & asked[1]
    assert [len(side) for side in asked] == [30, 10]
    assert len(learned) + len(held) == 200


def test_a_share_is_one_of_prompts_however_often_each_is_judged() -> None:
    held = parted([*MANY, *[MANY[3]] * 400], lambda one: one.prompt, 0.25)[1]
    assert len({one.prompt.id for one in held}) == 10


def test_the_split_goes_by_the_prompts_alone() -> None:
    shuffled = random.Random(3).sample(MANY, len(MANY))
    again = [replace(one, chosen=Completion("other")) for one in shuffled]
    held = [{one.prompt.id for one in parted(rows, lambda r: r.prompt, 0.25)[1]} for rows in (MANY, shuffled, again)]
    assert held[0] == held[1] == held[2]


def test_nothing_is_held_out_where_nothing_is_asked_for() -> None:
    assert parted(MANY, lambda one: one.prompt, 0.0) == (MANY, [])


def test_a_share_too_small_still_holds_out_one_prompt() -> None:
    assert len({one.prompt.id for one in parted(MANY, lambda one: one.prompt, 0.001)[1]}) == 1


@pytest.mark.parametrize(("rows", "share"), [([pair()], 0.1), (MANY, 0.999)])
def test_a_split_that_leaves_nothing_to_learn_from_is_refused(rows: list[Comparison], share: float) -> None:
    with pytest.raises(LessonError, match="leaves none to learn from; collect feedback on more prompts, or set held_out = 0"):
        parted(rows, lambda one: one.prompt, share)


def test_rightness_by_hand() -> None:
    assert rightness([2.0, -1.0, 0.0], [1.0, 1.0, 1.0]) == [1.0, 0.0, 0.5]
    assert rightness([2.0, -1.0, 0.0], [0.75, 0.75, 0.75]) == [0.75, 0.25, 0.5]
    assert rightness([0.0], [1.0], tied=0.0) == [0.0]


@pytest.mark.parametrize(("agreed", "best"), [(0.726, 0.836), (0.634, 0.759), (1.0, 1.0), (0.5, 0.5), (0.4, 0.5)])
def test_the_ceiling_that_agreement_implies(agreed: float, best: float) -> None:
    assert ceiling_of_agreement(agreed) == pytest.approx(best, abs=1e-3)


def test_the_ceiling_is_what_a_perfect_judge_of_flipped_labels_reaches() -> None:
    """A fifth of the labels is flipped: two annotators agree on 0.68, and the truth agrees with one on 0.8."""
    dice = random.Random(0)
    truth = [pair(f"p{n}", by="a") for n in range(4000)]
    said = [
        turned(one, by) if dice.random() < 0.2 else replace(one, provenance=Provenance("here", by))
        for one in truth
        for by in "ab"
    ]
    agreed, pairs = agreement(said)
    right = sum(one.chosen.text == "yes" for one in said) / len(said)
    assert pairs == 4000
    assert agreed == pytest.approx(0.68, abs=0.02)
    assert ceiling_of_agreement(agreed) == pytest.approx(right, abs=0.02)


def test_agreement_by_hand() -> None:
    """Two of three pairs of annotators disagree on the first; the second is judged by one person twice, the third is a tie."""
    said = [pair(by="a"), pair(by="b"), turned(pair(), "c"), pair("how", by="a"), turned(pair("how"), "a")]
    tied = [pair("what", by="a", strength=0.5), pair("what", by="b", strength=0.5)]
    assert agreement([*said, *tied]) == (pytest.approx(1 / 3), 1)
    assert agreement([pair(), pair()]) == (0.0, 0)
    assert agreement([pair(), turned(pair(), "a")]) == (0.0, 0)  # who has no name may be anybody, also a


def test_the_ceiling_comes_from_annotators_else_from_strengths_else_it_is_unknown() -> None:
    both = [pair(f"why {number}", by=by) for number in range(ENOUGH) for by in "ab"]
    agreed = {"agreement": 1.0, "agreement_pairs": float(ENOUGH)}
    assert ceiling(both, [0.7]) == {"ceiling_known": 1.0, "ceiling": 1.0, **agreed}
    split = [turned(one, "b") if n % 8 == 1 else one for n, one in enumerate(both)]  # one pair of four
    assert ceiling(split, [1.0])["ceiling"] == pytest.approx((1 + math.sqrt(2 * 0.75 - 1)) / 2)
    few = {"agreement": 1.0, "agreement_pairs": ENOUGH - 1.0}  # told, but not believed
    assert ceiling(both[2:], [0.7]) == {"ceiling_known": 1.0, "ceiling": 0.7, **few}
    assert ceiling(both[2:], [1.0]) == {"ceiling_known": 0.0, **few}
    assert ceiling([], [0.7, 0.1, 1.0]) == {"ceiling_known": 1.0, "ceiling": pytest.approx((0.7 + 0.9 + 1.0) / 3)}
    assert ceiling([pair(by="a")], [1.0, 0.5]) == {"ceiling_known": 0.0}


def test_calibration_by_hand() -> None:
    """Sure to 0.8 and right three times in four; sure to 0.95 and wrong."""
    four, one = math.log(0.8 / 0.2), math.log(0.95 / 0.05)
    assert calibration_error([four, four, four, -four], [1.0] * 4) == pytest.approx(0.05)
    assert calibration_error([four, four, four, -four, -one], [1.0] * 5) == pytest.approx((4 * 0.05 + 0.95) / 5)
    assert calibration_error([math.log(1.5)] * 2, [1.0] * 2) == pytest.approx(0.4)  # sure to 0.6 only, and always right
    near = [math.log(0.52 / 0.48), -math.log(0.58 / 0.42)]  # in two bins of a twentieth: the errors do not cancel
    assert calibration_error(near, [1.0, 1.0]) == pytest.approx((0.48 + 0.58) / 2)
    assert calibration_error([-100.0], [1.0]) == pytest.approx(1.0)  # as sure as can be, and wrong
    assert calibration_error([math.log(3)] * 2, [0.75] * 2) == pytest.approx(0.0, abs=1e-9)


def test_correlation_by_hand() -> None:
    assert correlation([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) == pytest.approx(1.0)
    assert correlation([1.0, 2.0, 3.0], [1.0, 0.0, 1.0]) == pytest.approx(0.0)
    assert correlation([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 4.0, 3.0]) == pytest.approx(0.6)
    assert correlation([1.0, 1.0], [3.0, 4.0]) == 0.0


def test_accuracy_by_strength_by_hand() -> None:
    told = by_strength([1.0, -1.0, 0.0, 2.0, -3.0], [0.55, 0.6, 0.9, 1.0, 0.05])
    assert told == {"held_out_accuracy_to_60": 0.5, "held_out_accuracy_to_90": 0.5, "held_out_accuracy_to_100": 1.0}
    assert by_strength([1.0, 2.0], [1.0, 1.0]) == {}


def tried(pairs: list[Comparison], margins: list[float]) -> Tried:
    scores = torch.tensor([[m, 0.0] for m in margins])
    return Tried(pairs, scores, torch.tensor([[float(n), 1.0] for n in range(len(pairs))]))


def test_figures_by_hand() -> None:
    """Two prompts, one of them with three pairs: (1 + 1/2 + 0)/3 and 1. The tie has no right side."""
    pairs = [pair("a"), pair("a"), pair("a"), pair("b"), pair("c", strength=0.5)]
    told = figures(tried(pairs, [2.0, 0.0, -1.0, 3.0, 5.0]), [])
    assert told["held_out_accuracy"] == pytest.approx(0.75)
    assert told["held_out_accuracy_strict"] == pytest.approx(0.5)
    assert told["held_out_accuracy_low"] == pytest.approx(0.5)
    assert told["held_out_accuracy_high"] == pytest.approx(1.0)
    assert told["held_out_pairs"] == 5
    plain = [math.log1p(math.exp(-m)) for m in (2.0, 0.0, -1.0, 3.0)]
    assert told["held_out_log_loss"] == pytest.approx((sum(plain) + 2.5 + math.log1p(math.exp(-5))) / 5)
    assert told["ceiling_known"] == 0.0


def test_without_ties_there_is_no_strict_figure() -> None:
    assert "held_out_accuracy_strict" not in figures(tried([pair("a"), pair("b")], [1.0, -1.0]), [])


def test_only_ties_give_no_accuracy_and_nothing_that_is_not_finite() -> None:
    told = figures(tried([pair("a", strength=0.5), pair("b", strength=0.5)], [1.0, 1.0]), [])
    assert set(told) == {"held_out_pairs", "held_out_log_loss", "held_out_length_correlation"}
    assert all(map(math.isfinite, told.values()))
