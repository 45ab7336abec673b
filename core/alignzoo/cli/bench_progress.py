"""Progress of a bench: a bar for the whole and one for each run under way, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from alignzoo.cli.progress import told_of
from alignzoo.lab.bench.outcome import Cell, Outcome
from alignzoo.lab.bench.work import Watcher
from alignzoo.lab.strange import on_one_line


@contextmanager
def watching() -> Iterator[Watcher]:
    """A watcher that shows what it is told."""
    console = Console(stderr=True, highlight=False)
    if not sys.stderr.isatty():
        lines = _Lines(console)
        yield Watcher(lines.began, lines.said, lines.ended, lines.line, lines.whole)
        return
    columns = (TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=console, transient=True) as shown:
        bars = _Bars(console, shown)
        yield Watcher(bars.began, bars.said, bars.ended, bars.line, bars.whole)


class _Lines:
    """For logs and pipes: a line for each beginning and end."""

    def __init__(self, console: Console) -> None:
        self.console, self.clock = console, _Clock()
        self.since: dict[Cell, float] = {}

    def line(self, line: str) -> None:
        self.console.print(line, markup=False)

    def began(self, cell: Cell) -> None:
        self.since[cell] = time.monotonic()
        self.line(f"{cell}: begun")

    def said(self, cell: Cell, what: str, facts: tuple[Any, ...]) -> None:
        if what == "stage":
            self.line(f"{cell}: {' '.join(facts)}")

    def ended(self, cell: Cell, outcome: Outcome | None) -> None:
        self.line(f"{cell}: {_how(outcome)}, {time.monotonic() - self.since.pop(cell):.0f} s")

    def whole(self, ended: int, cells: int) -> None:
        self.line(f"{ended} of {cells}{self.clock.left(ended, cells)}")


class _Bars:
    """For a terminal."""

    def __init__(self, console: Console, shown: Progress) -> None:
        self.console, self.shown, self.clock = console, shown, _Clock()
        self.all = shown.add_task("bench", total=None, told="")
        self.bars: dict[Cell, TaskID] = {}

    def line(self, line: str) -> None:
        self.console.print(line, markup=False)

    def began(self, cell: Cell) -> None:
        self.bars[cell] = self.shown.add_task(str(cell), total=None, told="")

    def said(self, cell: Cell, what: str, facts: tuple[Any, ...]) -> None:
        bar = self.bars[cell]
        if what == "stage":
            self.shown.update(bar, total=None, completed=0, told=" ".join(facts))
        elif what == "update":
            self.shown.update(bar, completed=facts[0], told=f"update {facts[0]}  {told_of(facts[1])}")
        elif what == "progress":
            self.shown.update(bar, completed=facts[1], total=facts[2] or None, told=facts[0])

    def ended(self, cell: Cell, outcome: Outcome | None) -> None:
        self.shown.remove_task(self.bars.pop(cell))
        self.line(f"{cell}: {_how(outcome)}")

    def whole(self, ended: int, cells: int) -> None:
        told = f"{ended} of {cells}{self.clock.left(ended, cells)}"
        self.shown.update(self.all, completed=ended, total=cells, told=told)


class _Clock:
    """Guesses what is left from what was done since we began to look."""

    def __init__(self) -> None:
        self.began, self.first = time.monotonic(), -1

    def left(self, ended: int, cells: int) -> str:
        if self.first < 0:
            self.began, self.first = time.monotonic(), ended
        if ended <= self.first or ended >= cells:
            return ""
        seconds = (time.monotonic() - self.began) / (ended - self.first) * (cells - ended)
        return f", about {seconds / 60:.0f} min left" if seconds >= 90 else f", about {seconds:.0f} s left"


def _how(outcome: Outcome | None) -> str:
    if outcome is None:
        return "another process has it"
    return f"reward {outcome.value:.3f}" if outcome.value is not None else f"FAILED: {on_one_line(outcome.reason)}"
