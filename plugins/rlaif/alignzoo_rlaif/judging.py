"""What a judge is, whoever it is: a model on the shared base, an endpoint, or verdicts recorded in a file.

A judge is always shown two replies in both orders. What it says of each order is kept apart, so that it can be told how far
its word depends on the order; the verdict is the mean of the two probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from alignzoo.records import Completion, Prompt


class JudgeError(ValueError):
    """A judge that cannot be hired as asked, or that cannot do its work."""


@dataclass(frozen=True)
class Case:
    """Two replies to one prompt, to be compared."""

    prompt: Prompt
    first: Completion
    second: Completion


@dataclass(frozen=True)
class Verdict:
    """The probability that the first reply is better, as the judge says when it is shown first and when it is shown second."""

    shown_first: float
    shown_second: float
    note: str = ""
    """What the judge said besides: its reasons, or why its word could not be read."""
    unread: int = 0
    """In how many of the orders its word could not be read: that order then says one half."""

    @property
    def probability(self) -> float:
        """Position cancelled: both orders count alike."""
        return (self.shown_first + self.shown_second) / 2

    @property
    def consistent(self) -> bool:
        """Whether the same reply wins in both orders."""
        return (self.shown_first - 0.5) * (self.shown_second - 0.5) > 0

    @property
    def contradictory(self) -> bool:
        """Whether each order has another winner: it is the place that was judged."""
        return (self.shown_first - 0.5) * (self.shown_second - 0.5) < 0

    @property
    def label(self) -> float:
        """The strength of a comparison made of this: a tie where the orders contradict each other."""
        return 0.5 if self.contradictory else self.probability


@runtime_checkable
class Judge(Protocol):
    """Compares and rates replies by a question that it is asked."""

    def compare(self, cases: Sequence[Case], question: str) -> list[Verdict]:
        """One verdict for each case, each from both orders. `question` says what better means (a principle)."""
        ...

    def prefer(self, cases: Sequence[Case], question: str) -> list[float]:
        """How likely the first reply of each case is the better one, in this order alone; nan where that cannot be read."""
        ...

    def rate(self, prompts: Sequence[Prompt], completions: Sequence[Completion], question: str) -> list[float]:
        """How far each reply does what the question asks for, from -1 to 1: an expected value, not a sampled one."""
        ...
