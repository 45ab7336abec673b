"""Progress on a terminal, or plain lines where there is none."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from alignzoo.interfaces import Metrics
from alignzoo.lab.listener import UPDATES, Listener
from alignzoo.learning.ledger import Ledger

_TOLD = ("loss", "accuracy", "margin", "reward", "score", "weight_up", "weight_down", "watch_kl", "watch_chosen")


def telling() -> Listener:
    """A listener that shows stages as headings, and within them a bar or, without a terminal, a line now and then."""
    console = Console(stderr=True, highlight=False)
    teller = _Bars(console) if sys.stderr.isatty() else _Lines(console)
    return Listener(stage=teller.stage, update=teller.update, progress=teller.progress, line=teller.line)


class Pace:
    """Guesses what is left from what was done since it began to look."""

    def __init__(self) -> None:
        self.began, self.first = time.monotonic(), -1

    def left(self, done: int, whole: int) -> str:
        """ ", about 3 min left"; empty while nothing is known."""
        if self.first < 0:
            self.began, self.first = time.monotonic(), done
        if done <= self.first or done >= whole:
            return ""
        seconds = (time.monotonic() - self.began) / (done - self.first) * (whole - done)
        return f", about {seconds / 60:.0f} min left" if seconds >= 90 else f", about {seconds:.0f} s left"


class _Lines:
    """For logs and pipes: one line per tenth update, none for the rest."""

    def __init__(self, console: Console) -> None:
        self.console, self.pace, self.left = console, Pace(), ""

    def stage(self, name: str, what: str) -> None:
        self.console.print(f"[bold]{name}[/bold] {escape(what)}")
        self.pace, self.left = Pace(), ""

    def line(self, line: str) -> None:
        self.console.print(f"  {line}", markup=False)

    def update(self, update: int, metrics: Metrics, ledger: Ledger) -> None:
        if update == 1 or update % 10 == 0:
            self.line(f"update {update}{self.left}: {told_of(metrics)}")

    def progress(self, name: str, done: int, total: int) -> None:
        if name == UPDATES:
            self.left = f" of {total}{self.pace.left(done, total)}"


class _Bars:
    """For a terminal: one live bar per stage."""

    def __init__(self, console: Console) -> None:
        self.console, self.told = console, ""
        self.bar: Progress | None = None
        self.pace = Pace()

    def stage(self, name: str, what: str) -> None:
        self._close()
        self.console.print(f"[bold]{name}[/bold] {escape(what)}")

    def line(self, line: str) -> None:
        self._close()
        self.console.print(f"  {line}", markup=False)

    def update(self, update: int, metrics: Metrics, ledger: Ledger) -> None:
        self.told = told_of(metrics)
        self._show(UPDATES, update, None)

    def progress(self, name: str, done: int, total: int) -> None:
        self._show(name, done, total)
        if done >= total and name != UPDATES:  # how many updates there will be is a guess
            self._close()

    def _show(self, name: str, done: int, total: int | None) -> None:
        """Without a total it stays what it was."""
        if self.bar is None or self.bar.tasks[0].description != name:
            self._close()
            columns = (
                TextColumn("  {task.description}", markup=False),
                BarColumn(24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            self.bar, self.pace = (
                Progress(*columns, TextColumn("{task.fields[told]}", markup=False), console=self.console, transient=True),
                Pace(),
            )
            self.bar.add_task(name, total=None, told="")
            self.bar.start()
        left = self.pace.left(done, total).removeprefix(", ") if total else ""
        told = "  ".join(part for part in (self.told if name == UPDATES else "", left) if part)
        self.bar.update(self.bar.tasks[0].id, completed=done, total=total, told=told)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def told_of(metrics: Metrics) -> str:
    return "  ".join(f"{name.removeprefix('watch_')} {metrics[name]:.3f}" for name in _TOLD if name in metrics)
