"""Progress on a terminal, or plain lines where there is none."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from alignzoo.interfaces import Metrics
from alignzoo.lab.listener import Listener
from alignzoo.learning.ledger import Ledger

_TOLD = ("loss", "accuracy", "margin", "reward", "score", "weight_up", "weight_down", "watch_kl", "watch_chosen")


def telling() -> Listener:
    """A listener that shows stages as headings, and within them a bar or, without a terminal, a line now and then."""
    console = Console(stderr=True, highlight=False)
    teller = _Bars(console) if sys.stderr.isatty() else _Lines(console)
    return Listener(stage=teller.stage, update=teller.update, progress=teller.progress, line=teller.line)


class _Lines:
    """For logs and pipes: one line per tenth update, none for the rest."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def stage(self, name: str, what: str) -> None:
        self.console.print(f"[bold]{name}[/bold] {what}")

    def line(self, line: str) -> None:
        self.console.print(f"  {line}", markup=False)

    def update(self, update: int, metrics: Metrics, ledger: Ledger) -> None:
        if update == 1 or update % 10 == 0:
            self.line(f"update {update}: {told_of(metrics)}")

    def progress(self, name: str, done: int, total: int) -> None:
        pass


class _Bars:
    """For a terminal: one live bar per stage."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar: Progress | None = None
        self.task = None

    def stage(self, name: str, what: str) -> None:
        self._close()
        self.console.print(f"[bold]{name}[/bold] {what}")

    def line(self, line: str) -> None:
        self._close()
        self.console.print(f"  {line}", markup=False)

    def update(self, update: int, metrics: Metrics, ledger: Ledger) -> None:
        self._show("updates", update, 0, told_of(metrics))

    def progress(self, name: str, done: int, total: int) -> None:
        self._show(name, done, total, "")

    def _show(self, name: str, done: int, total: int, told: str) -> None:
        if self.bar is None or self.bar.tasks[0].description != name:
            self._close()
            columns = (TextColumn("  {task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
            self.bar = Progress(*columns, TextColumn("{task.fields[told]}"), console=self.console, transient=True)
            self.bar.add_task(name, total=total or None, told=told)
            self.bar.start()
        self.bar.update(self.bar.tasks[0].id, completed=done, told=told)
        if total and done >= total:
            self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def told_of(metrics: Metrics) -> str:
    return "  ".join(f"{name.removeprefix('watch_')} {metrics[name]:.3f}" for name in _TOLD if name in metrics)
