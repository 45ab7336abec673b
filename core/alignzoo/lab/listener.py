"""What a run tells while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alignzoo.interfaces import Metrics

if TYPE_CHECKING:
    from alignzoo.learning.ledger import Ledger

Tell = Callable[[int, Metrics, "Ledger"], None]
"""Hears of an update: its number, its figures, and what has been spent."""


def say_nothing(update: int, metrics: Metrics, ledger: Ledger) -> None:
    """For those who do not listen."""


UPDATES = "updates"
"""What progress of a training is called."""


@dataclass
class Listener:
    """Who is told. Every method may do nothing."""

    stage: Callable[[str, str], None] = lambda name, what: None
    update: Tell = say_nothing
    progress: Callable[[str, int, int], None] = lambda name, done, total: None
    """How much of something is done. Of a training's updates, where it can be known how many there will be, it is a guess that
    budgets make better on the way."""
    line: Callable[[str], None] = lambda line: None
