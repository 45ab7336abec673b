"""What a terminal, and a log, are told while runs go: how far each is, how long it will take, and its figures."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from alignzoo.cli import bench_progress, progress
from alignzoo.cli.progress import Pace
from alignzoo.lab.bench.outcome import Cell, Outcome
from alignzoo.lab.bench.work import passing
from alignzoo.lab.listener import UPDATES
from alignzoo.learning.ledger import Ledger

CELL = Cell("dpo", 3)
LEDGER = Ledger()
At = Callable[[float], None]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """The clock on the wall, set by hand."""
    now = [0.0]
    for place in ("cli.progress", "cli.bench_progress", "lab.bench.work"):
        monkeypatch.setattr(f"alignzoo.{place}.time.monotonic", lambda: now[0])

    def set_to(seconds: float) -> None:
        now[0] = seconds

    return set_to


def test_what_is_left_is_guessed_from_what_was_done_since_one_looks(at: At) -> None:
    pace = Pace()
    at(100)
    assert pace.left(10, 40) == ""
    at(110)
    assert pace.left(15, 40) == ", about 50 s left"
    at(120)
    assert pace.left(15, 115) == ", about 7 min left"
    assert pace.left(40, 40) == pace.left(9, 40) == ""


def written(console: Console) -> list[str]:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


def test_a_log_of_a_bench_says_now_and_then_how_far_each_training_is(at: At) -> None:
    lines = bench_progress._Lines(Console(file=io.StringIO(), width=40))
    lines.began(CELL)
    lines.said(CELL, "stage", ("train", "optimizer:dpo/dpo"))
    for second in range(0, 71, 10):
        at(second)
        lines.said(CELL, "update", (second, {"loss": 0.5, "unheard": 1.0}))
        lines.said(CELL, "progress", (UPDATES, second, 100))
    lines.said(CELL, "progress", ("policy", 1, 2))
    lines.ended(CELL, Outcome("failed", f"it said: a\nb\x1b[31m {'long ' * 20}"))
    assert written(lines.console) == [
        "dpo/3: begun",
        "dpo/3: train optimizer:dpo/dpo",
        "dpo/3: update 30 of 100, about 80 s left  loss 0.500",
        "dpo/3: update 60 of 100, about 50 s left  loss 0.500",
        f"dpo/3: FAILED: it said: a b\\u001b[31m {'long ' * 20}, 70 s",
    ]


def test_what_a_run_of_a_bench_says_in_words_is_shown_once() -> None:
    shown = Progress(console=Console(file=io.StringIO(), width=200))
    for made in (bench_progress._Lines(Console(file=io.StringIO())), bench_progress._Bars(shown.console, shown)):
        for cell, line in ((CELL, "no tracker\nis there"), (Cell("ppo", 0), "no tracker\nis there"), (CELL, "another")):
            made.began(cell)
            made.said(cell, "line", (line,))
        told = [line for line in written(made.console) if not line.endswith("begun")]
        assert told == ["dpo/3: no tracker is there", "dpo/3: another"]


def test_a_log_of_a_bench_tells_once_what_its_runs_say_alike(at: At) -> None:
    """A run's own words are those in which another entry would differ, or another run goes wrong."""
    lines = bench_progress._Lines(Console(file=io.StringIO()))
    for cell in (Cell("dpo", 0), Cell("dpo", 1), Cell("ppo", 0)):
        lines.began(cell)
        lines.said(cell, "stage", ("load", "a model"))
        lines.said(cell, "line", (f"{48 + cell.number} records → runs/{cell}/feedback.jsonl",))
        lines.said(cell, "line", (f"taken from runs/.stages/{cell.number}a7b",))
        lines.said(cell, "stage", ("train", cell.entry))
        if cell == Cell("dpo", 1):
            lines.said(cell, "line", ("warning: the chosen replies fell by 3.1 nats",))
    lines.ended(cell, Outcome("done", value=0.5))
    assert written(lines.console) == [
        "dpo/0: begun",
        "dpo/0: load a model",
        "dpo/0: 48 records → runs/dpo/0/feedback.jsonl",
        "dpo/0: taken from runs/.stages/0a7b",
        "dpo/0: train dpo",
        "dpo/1: begun",
        "dpo/1: warning: the chosen replies fell by 3.1 nats",
        "ppo/0: begun",
        "ppo/0: 48 records → runs/ppo/0/feedback.jsonl",
        "ppo/0: train ppo",
        "ppo/0: reward 0.500, 0 s",
    ]


def test_a_run_of_a_bench_that_was_silent_for_long_tells_its_stage_though_others_had_it(at: At) -> None:
    lines = bench_progress._Lines(Console(file=io.StringIO()))
    for number, second in ((0, 0), (1, 29), (2, 31)):
        at(0)
        lines.began(Cell("dpo", number))
        at(second)
        lines.said(Cell("dpo", number), "stage", ("answer", "9 prompts"))
    assert written(lines.console) == [
        "dpo/0: begun",
        "dpo/0: answer 9 prompts",
        "dpo/1: begun",
        "dpo/2: begun",
        "dpo/2: answer 9 prompts",
    ]


def test_a_bar_of_a_bench_says_how_far_its_training_is_and_how_long_it_will_take(at: At) -> None:
    shown = Progress(TextColumn("{task.fields[told]}"), console=Console(file=io.StringIO()))
    bars = bench_progress._Bars(shown.console, shown)
    bars.began(CELL)
    (bar,) = (task for task in shown.tasks if task.description == "dpo/3")
    bars.said(CELL, "stage", ("start", "sft on demonstrations"))
    assert (bar.fields["told"], bar.total) == ("start sft on demonstrations", None)
    bars.said(CELL, "update", (1, {"loss": 0.25}))
    assert (bar.fields["told"], bar.total) == ("update 1  loss 0.250", None)
    bars.said(CELL, "progress", (UPDATES, 1, 5))
    at(10)
    bars.said(CELL, "update", (3, {"loss": 0.2}))
    bars.said(CELL, "progress", (UPDATES, 3, 5))
    assert (bar.fields["told"], bar.completed, bar.total) == ("update 3 of 5, about 10 s left  loss 0.200", 3, 5)
    bars.said(CELL, "stage", ("answer", "6 prompts"))
    assert (bar.fields["told"], bar.completed, bar.total) == ("answer 6 prompts", 0, None)
    bars.said(CELL, "progress", ("policy", 2, 6))
    assert (bar.fields["told"], bar.completed, bar.total) == ("policy", 2, 6)
    bars.said(CELL, "update", (1, {}))
    bars.said(CELL, "update", (4, {}))
    bars.said(CELL, "progress", (UPDATES, 4, 9))
    assert bar.fields["told"] == "update 4 of 9  ", "another stage has another pace"


def test_a_workers_words_about_updates_are_few_and_come_together(at: At) -> None:
    told: list[Any] = []
    listener = passing(lambda what, facts: told.append((what, *facts)))
    for number, second in enumerate((1.0, 1.1, 1.3), start=1):
        at(second)
        listener.update(number, {}, LEDGER)
        listener.progress(UPDATES, number, 9)
        listener.progress("policy", number, 3)
    assert told == [
        ("update", 1, {}),
        ("progress", UPDATES, 1, 9),
        ("progress", "policy", 1, 3),
        ("progress", "policy", 2, 3),
        ("update", 3, {}),
        ("progress", UPDATES, 3, 9),
        ("progress", "policy", 3, 3),
    ]


def test_the_log_of_a_run_says_of_how_many_an_update_is_and_how_long_the_rest_takes(at: At) -> None:
    lines = progress._Lines(Console(file=io.StringIO()))
    for name, whole in (("start", 40), ("train", 0)):
        lines.stage(name, "x")
        for update in range(1, 21):
            at(update)
            lines.update(update, {"loss": 1.0}, LEDGER)
            if whole:
                lines.progress(UPDATES, update, whole)
    assert written(lines.console) == [
        "start x",
        "  update 1: loss 1.000",
        "  update 10 of 40, about 31 s left: loss 1.000",
        "  update 20 of 40, about 21 s left: loss 1.000",
        "train x",
        "  update 1: loss 1.000",
        "  update 10: loss 1.000",
        "  update 20: loss 1.000",
    ]


def test_the_bar_of_a_run_keeps_its_figures_and_says_how_long_the_rest_takes(at: At) -> None:
    bars = progress._Bars(Console(file=io.StringIO()))
    for update in (1, 2):
        at(10 * update)
        bars.update(update, {"loss": 1.0}, LEDGER)
        bars.progress(UPDATES, update, 2 + update)
    assert bars.bar is not None
    (task,) = bars.bar.tasks
    assert (task.completed, task.total, task.fields["told"]) == (2, 4, "loss 1.000  about 20 s left")
    bars.progress(UPDATES, 4, 4)
    assert bars.bar is not None, "how many there will be is a guess"
    bars.progress("policy", 6, 6)
    assert bars.bar is None


@pytest.mark.parametrize("terminal", [False, True])
def test_a_folder_in_brackets_is_no_style(terminal: bool) -> None:
    """A closing tag ended a run as its model was loaded."""
    heard = (progress._Bars if terminal else progress._Lines)(
        Console(file=io.StringIO(), force_terminal=terminal, color_system=None, width=60)
    )
    heard.stage("load", "data/[/x]/model")
    heard.progress("start [/x]", 1, 3)
    heard.progress("start [/x]", 3, 3)
    assert "data/[/x]/model" in "".join(written(heard.console))
