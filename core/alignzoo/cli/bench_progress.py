"""Progress of a bench: a bar for the whole and one for each run under way, or plain lines where there is no terminal."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from alignzoo.cli.progress import Pace, told_of
from alignzoo.lab.bench.outcome import Cell, Outcome
from alignzoo.lab.bench.work import Watcher
from alignzoo.lab.listener import UPDATES
from alignzoo.lab.strange import on_one_line


@contextmanager
def watching() -> Iterator[Watcher]:
    """A watcher that shows what it is told."""
    console = Console(stderr=True, highlight=False)
    if not sys.stderr.isatty():
        lines = _Lines(console)
        yield Watcher(lines.began, lines.said, lines.ended, lines.line, lines.whole)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[told]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as shown:
        bars = _Bars(console, shown)
        yield Watcher(bars.began, bars.said, bars.ended, bars.line, bars.whole)


_SILENCE = 30.0
"""Seconds after which a run that was not heard of says where it is."""
_FIGURES = re.compile(r"\S*\d\S*")
"""Words with a figure: counts, shares, and folders of seeds or digests."""


class _Lines:
    """For logs and pipes: a line for each beginning and end, what is news, and now and then how far a run is."""

    def __init__(self, console: Console) -> None:
        self.console, self.pace, self.news = console, Pace(), News()
        self.since: dict[Cell, float] = {}
        self.told: dict[Cell, float] = {}
        """When a run was last heard of."""
        self.trained: dict[Cell, _Training] = {}

    def line(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)

    def began(self, cell: Cell) -> None:
        self.since[cell] = time.monotonic()
        self._of(cell, "begun")

    def said(self, cell: Cell, what: str, facts: tuple[Any, ...]) -> None:
        """A stage that other runs went through before is told only of a run that was not heard of for long."""
        if what == "stage":
            self.trained.pop(cell, None)
            stage = " ".join(facts)
            if self.news.first(stage) or self._silent(cell):
                self._of(cell, stage)
        elif what == "line" and self.news.of(cell, facts[0]):
            self._of(cell, on_one_line(facts[0]))
        elif (training := heard(self.trained, cell, what, facts)) and self._silent(cell):
            self._of(cell, str(training))

    def ended(self, cell: Cell, outcome: Outcome | None) -> None:
        self._of(cell, f"{_how(outcome)}, {time.monotonic() - self.since.pop(cell):.0f} s")

    def whole(self, ended: int, cells: int) -> None:
        self.line(f"{ended} of {cells}{self.pace.left(ended, cells)}")

    def _of(self, cell: Cell, line: str) -> None:
        self.told[cell] = time.monotonic()
        self.line(f"{cell}: {line}")

    def _silent(self, cell: Cell) -> bool:
        return time.monotonic() - self.told[cell] >= _SILENCE


class _Bars:
    """For a terminal."""

    def __init__(self, console: Console, shown: Progress) -> None:
        self.console, self.shown, self.pace, self.news = console, shown, Pace(), News()
        self.trained: dict[Cell, _Training] = {}
        self.all = shown.add_task("bench", total=None, told="")
        self.bars: dict[Cell, TaskID] = {}

    def line(self, line: str) -> None:
        self.console.print(line, markup=False)

    def began(self, cell: Cell) -> None:
        self.bars[cell] = self.shown.add_task(str(cell), total=None, told="")

    def said(self, cell: Cell, what: str, facts: tuple[Any, ...]) -> None:
        bar = self.bars[cell]
        if what == "stage":
            self.trained.pop(cell, None)
            self.shown.update(bar, completed=0, told=" ".join(facts))
            next(task for task in self.shown.tasks if task.id == bar).total = None  # to `update` None means "as it was"
        elif what == "line" and self.news.of(cell, facts[0]):
            self.line(f"{cell}: {on_one_line(facts[0])}")
        elif training := heard(self.trained, cell, what, facts):
            self.shown.update(bar, completed=training.done, total=training.whole or None, told=str(training))
        elif what == "progress":
            self.shown.update(bar, completed=facts[1], total=facts[2] or None, told=facts[0])

    def ended(self, cell: Cell, outcome: Outcome | None) -> None:
        self.shown.remove_task(self.bars.pop(cell))
        self.line(f"{cell}: {_how(outcome)}")

    def whole(self, ended: int, cells: int) -> None:
        told = f"{ended} of {cells}{self.pace.left(ended, cells)}"
        self.shown.update(self.all, completed=ended, total=cells, told=told)


@dataclass
class _Training:
    """How far a training is."""

    done: int = 0
    whole: int = 0
    """How many updates there will be; 0 where nobody knows."""
    figures: str = ""
    left: str = ""
    pace: Pace = field(default_factory=Pace)

    def __str__(self) -> str:
        of = f" of {self.whole}" if self.whole else ""
        return f"update {self.done}{of}{self.left}  {self.figures}"


class News:
    """What the runs of a bench have said so far: most of it is what another run has said already."""

    def __init__(self) -> None:
        self.before: set[tuple[str, ...]] = set()

    def first(self, *words: str) -> bool:
        """Whether nobody has said this before."""
        known = words in self.before
        self.before.add(words)
        return not known

    def of(self, cell: Cell, line: str) -> bool:
        """Whether a sentence is new, and more than what another run of the same entry said with other figures and paths. It is
        in the log of its run, and what is to be minded is in the report."""
        alike = self.first(cell.entry, _FIGURES.sub("#", line))
        return self.first(line) and alike


def heard(trained: dict[Cell, _Training], cell: Cell, what: str, facts: tuple[Any, ...]) -> _Training | None:
    """The training of a cell after a word about its updates; None where the word is about something else."""
    if what == "update":
        training = trained.setdefault(cell, _Training())
        training.done, training.figures = facts[0], told_of(facts[1])
        return training
    if what == "progress" and facts[0] == UPDATES:
        training = trained.setdefault(cell, _Training())
        training.whole, training.left = facts[2], training.pace.left(facts[1], facts[2])
        return training
    return None


def _how(outcome: Outcome | None) -> str:
    if outcome is None:
        return "another process has it"
    return f"reward {outcome.value:.3f}" if outcome.value is not None else f"FAILED: {on_one_line(outcome.reason)}"
