"""Rewards in a run: held to their word, joined, and costs held down by a multiplier. By hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from alignzoo.interfaces import Reward
from alignzoo.learning.choices import Voice
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.rewards import Combined, Scored, ScoreError
from alignzoo.model.base import Base
from alignzoo.records import Completion, Prompt

ASKED = [Prompt.ask("why")] * 3
SAID = [Completion(text) for text in ("a", "bb", "cccc")]


def length(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[int]:
    return [len(reply.text) for reply in completions]


def constant(value: float) -> Reward:
    return lambda prompts, completions: [value] * len(completions)


def combined(*parts: tuple[Voice, Reward], combine: str = "sum") -> Combined:
    return Combined(parts, combine)  # type: ignore[arg-type]


def test_a_sum_is_weighted_and_clipped_before_it_is_weighted() -> None:
    both = combined((Voice("length", weight=2.0, clip=2.0), length), (Voice("one", weight=-1.0), constant(1.0)))
    assert both(ASKED, SAID) == [1.0, 3.0, 3.0]
    assert both.after_update() == {"score_length": pytest.approx(5 / 3), "score_one": 1.0}
    assert both.after_update() == {}  # nothing was heard since


@pytest.mark.parametrize(
    ("combine", "wanted"), [("sum", [5.0, 6.0, 8.0]), ("mean", [2.5, 3.0, 4.0]), ("worst", [1.0, 2.0, 4.0])]
)
def test_an_ensemble_is_judged_by(combine: str, wanted: list[float]) -> None:
    both = combined((Voice("length"), length), (Voice("four"), constant(4.0)), combine=combine)
    assert both(ASKED, SAID) == wanted


def test_doubt_is_half_the_variance_of_the_members() -> None:
    both = combined((Voice("length"), length), (Voice("four"), constant(4.0)), combine="uncertain")
    assert both(ASKED, SAID) == pytest.approx([2.5 - 0.5 * 2.25, 3.0 - 0.5 * 1.0, 4.0])


def test_one_of_weight_nought_is_heard_and_does_not_count() -> None:
    both = combined((Voice("length"), length), (Voice("watched", weight=0.0), constant(9.0)), combine="mean")
    assert both(ASKED, SAID) == [1.0, 2.0, 4.0]
    assert both.after_update()["score_watched"] == 9.0


def test_a_cost_is_held_down_by_a_multiplier_that_grows_while_it_is_too_high() -> None:
    """λ: 0, then 0.5 · (7/3 − 1) = 2/3 after one update and 4/3 after two; never below 0."""
    both = combined((Voice("one"), constant(1.0)), (Voice("length", at_most=1.0, step=0.5), length))
    assert both(ASKED, SAID) == [1.0, 1.0, 1.0]
    assert both.after_update()["multiplier_length"] == pytest.approx(2 / 3)
    assert both(ASKED, SAID) == pytest.approx([1 - 2 / 3, 1 - 4 / 3, 1 - 8 / 3])
    assert both.after_update()["multiplier_length"] == pytest.approx(4 / 3)
    again = combined((Voice("one"), constant(1.0)), (Voice("length", at_most=9.0, step=0.5), length))
    again.restore(both.state())
    assert again(ASKED, SAID)[0] == pytest.approx(1 - 4 / 3)
    assert again.after_update()["multiplier_length"] == 0.0  # the mean is 20/3 below what is borne


def test_scoring_alone_moves_no_multiplier() -> None:
    both = combined((Voice("one"), constant(1.0)), (Voice("length", at_most=1.0), length))
    assert both(ASKED, SAID) == both(ASKED, SAID)


def test_a_cost_has_no_weight_of_its_own() -> None:
    with pytest.raises(ValueError, match="leave its weight at 1"):
        Voice("length", weight=2.0, at_most=1.0)


def test_scores_are_cut_at_both_ends() -> None:
    whole = combined((Voice("wide", weight=2.0, clip=1.5), lambda p, c: [-7.0, 1.0, 9.0]))
    assert whole(ASKED, SAID) == [-3.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("reward", "complaint"),
    [
        (lambda p, c: [1.0], "sour gave 1 scores for 3 answers"),
        (lambda p, c: [1.0] * 4, "sour gave 4 scores for 3 answers"),
        (lambda p, c: [1.0, 1.0, -float("inf")], "sour gave -inf for answer 3"),
        (lambda p, c: [1.0, float("nan"), 1.0], "sour gave nan for answer 2"),
        (lambda p, c: 1 / 0, "sour raised ZeroDivisionError"),
    ],
)
def test_a_reward_is_held_to_its_word(reward: Reward, complaint: str) -> None:
    with pytest.raises(ScoreError, match=complaint):
        Scored(reward, "sour")(ASKED, SAID)


def test_scores_are_charged(base: Base) -> None:
    ledger = Ledger()
    with counting(ledger, base):
        assert Scored(length, "length")(ASKED, SAID) == [1.0, 2.0, 4.0]
        Scored(length, "length")(ASKED[:2], SAID[:2])
    assert ledger.scores == 5


def raising(count: int) -> Iterator[float]:
    yield 1.0
    raise OSError("the line is cut")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda count: None, r"gave no number for each answer \(TypeError: 'NoneType' object is not iterable\)"),
        (lambda count: ["0.5"] * count, r"gave no number for each answer \(TypeError: '0.5' is a text\)"),
        (lambda count: "1" * count, r"gave no number for each answer \(TypeError: a str is no list of scores\)"),
        (lambda count: dict.fromkeys(range(count), 1.0), r"gave .* \(TypeError: a dict is no list of scores\)"),
        (lambda count: set(range(count)), r"gave .* \(TypeError: a set is no list of scores\)"),
        (lambda count: [None] * count, r"gave no number for each answer \(TypeError: "),
        (lambda count: [1e39] * count, r"gave 1e\+39 for answer 1; a score is a finite number"),
        (raising, r"gave no number for each answer \(OSError: the line is cut\)"),
        (sys.exit, "raised SystemExit: 3"),
    ],
)
def test_a_reward_that_gives_no_numbers_is_named(given: Callable[[int], Any], words: str) -> None:
    """A function of one's own may give anything; a run does not end in a traceback, nor without a word."""
    with pytest.raises(ScoreError, match=f"mine:score {words}"):
        Scored(lambda prompts, completions: given(len(completions)), "mine:score")(ASKED, SAID)


@pytest.mark.parametrize(
    "given",
    [
        np.array([1, 0, 1]),
        np.array([1, 0, 1], dtype=np.float32),
        torch.tensor([1.0, 0.0, 1.0]),
        torch.tensor([[1], [0], [1]], dtype=torch.bfloat16),
        [True, False, True],
        (1, 0, 1),
        iter([Fraction(1), Decimal(0), np.float64(1)]),
    ],
    ids=lambda given: type(given).__name__,
)
def test_numbers_of_any_kind_are_scores(given: Any) -> None:
    assert Scored(lambda prompts, completions: given, "mine:score")(ASKED, SAID) == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("other", [1e200, -1e200])
def test_a_sum_that_is_no_number_is_told(other: float) -> None:
    """Each score is finite, and so is each weight; what they make together may be endless, or endless on both sides."""
    voices = [Voice("one", weight=1e200), Voice("two", weight=other)]
    whole = Combined([(voice, lambda asked, said: [1e200] * len(said)) for voice in voices])
    with pytest.raises(ScoreError, match="the rewards together gave"):
        whole([Prompt.ask("why")], [Completion("so")])
