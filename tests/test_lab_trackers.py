"""Metrics that go elsewhere, too."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from alignzoo.cli import main
from alignzoo.lab.listener import Listener
from alignzoo.lab.trackers import Ascending, TrackerError, _flat, _made, check, started, tracking
from alignzoo.learning.ledger import Ledger


@dataclass
class Notebook:
    """A tracker that keeps what it is told."""

    rows: list[tuple[dict[str, Any], int | None]] = field(default_factory=list)
    finished: bool = False

    def log(self, values: dict[str, Any], step: int | None) -> None:
        self.rows.append((values, step))

    def finish(self) -> None:
        self.finished = True


def test_updates_are_passed_on_under_their_stage_and_the_listener_still_hears() -> None:
    book, heard = Notebook(), []
    listener = Listener(
        stage=lambda name, what: heard.append(name), update=lambda number, metrics, ledger: heard.append(str(number))
    )
    with tracking(listener, [book]) as told:
        told.stage("start", "sft")
        told.stage("load", "a model")  # in the middle of the start
        told.update(1, {"loss": 0.5}, Ledger(labels=8))
        told.stage("train", "dpo")
        told.update(1, {"loss": 0.7}, Ledger(labels=3))
        assert not book.finished
    assert heard == ["start", "load", "1", "train", "1"]
    assert (book.rows[0][0]["start/update"], book.rows[1][0]["train/update"]) == (1, 1)
    assert [step for _, step in book.rows] == [1, 1]
    assert book.rows[0][0]["start/loss"] == 0.5
    assert book.rows[0][0]["start/spent/labels"] == 8
    assert book.rows[1][0]["train/loss"] == 0.7
    assert book.finished


def test_trackers_are_finished_when_a_run_fails() -> None:
    book = Notebook()
    with pytest.raises(ValueError, match="no"), tracking(Listener(), [book]):
        raise ValueError("no")
    assert book.finished


def test_a_tracker_that_wants_rising_steps_counts_for_itself() -> None:
    """wandb drops what comes at a lower step than the last, and every stage begins at 1."""
    book = Notebook()
    with tracking(Listener(), [Ascending(book)]) as told:
        told.update(1, {"loss": 0.5}, Ledger())
    assert [(row["train/update"], step) for row, step in book.rows] == [(1, None)]
    assert book.finished


@dataclass
class Broken(Notebook):
    """Its network goes away, now or when it is to end."""

    at: str = "log"

    def log(self, values: dict[str, Any], step: int | None) -> None:
        super().log(values, step)
        if self.at == "log":
            raise ConnectionError("nobody\nthere")

    def finish(self) -> None:
        super().finish()
        raise ConnectionError("still nobody")


@pytest.mark.parametrize("at", ["log", "finish"])
def test_no_training_dies_of_a_tracker_and_the_others_are_told_on(at: str) -> None:
    broken, book, lines = Broken(at=at), Notebook(), []
    with tracking(Listener(line=lines.append), [broken, book]) as told:
        told.update(1, {"loss": 0.5}, Ledger())
        told.update(2, {"loss": 0.4}, Ledger())
    assert len(book.rows) == 2
    assert (len(broken.rows), broken.finished) == ((1, False) if at == "log" else (2, True))
    why = "nobody there" if at == "log" else "still nobody"
    assert lines == [f"Broken fails and is told no more: ConnectionError: {why}"]


def test_the_runs_of_a_bench_are_runs_of_one_project(tmp_path: Path) -> None:
    """accelerate's own trackers, not begun: their libraries are not needed for that."""
    for name in ("wandb", "trackio"):
        made = _made(name, "our bench: 1/2", "dpo/0", tmp_path)
        assert (made.run_name, made.init_kwargs) == ("our-bench-1-2", {"name": "dpo/0"})
    made = _made("mlflow", "our bench: 1/2", "dpo/0", tmp_path)
    assert (made.experiment_name, made.run_name) == ("our-bench-1-2", "dpo/0")
    made = _made("tensorboard", "our bench", "dpo/0", tmp_path)
    assert (made.run_name, made.logging_dir_param) == ("dpo/0", str(tmp_path))


def test_trackers_are_begun_and_told_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Begun(Notebook):
        told: list[Any] = field(default_factory=list)

        def start(self) -> None:
            self.told.append("begun")

        def store_init_configuration(self, settings: dict[str, Any]) -> None:
            self.told.append(settings)

    made = {"wandb": Begun(), "trackio": Begun()}
    monkeypatch.setattr("alignzoo.lab.trackers.check", lambda names: None)
    monkeypatch.setattr("alignzoo.lab.trackers._made", lambda name, *others: made[name])
    told = started(["wandb", "trackio"], "bench", "dpo/0", tmp_path, {"a": {"lr": 0.5}})
    assert told == [Ascending(made["wandb"]), made["trackio"]]
    assert [one.told for one in made.values()] == [["begun", {"a.lr": 0.5}]] * 2


def test_a_tracker_that_cannot_begin_is_told_of_and_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Away(Notebook):
        at: str = "start"

        def start(self) -> None:
            if self.at == "start":
                raise PermissionError("log in\nfirst")

        def store_init_configuration(self, settings: dict[str, Any]) -> None:
            if self.at == "settings":
                raise ConnectionError("nobody there")

    made = {"wandb": Away(), "trackio": Away(at="settings"), "mlflow": Away(at="")}
    monkeypatch.setattr("alignzoo.lab.trackers.check", lambda names: None)
    monkeypatch.setattr("alignzoo.lab.trackers._made", lambda name, *others: made[name])
    lines: list[str] = []
    assert started([*made], "bench", "dpo/0", tmp_path, {}, lines.append) == [made["mlflow"]]
    assert lines == [
        "the tracker 'wandb' cannot begin and is told nothing: PermissionError: log in first",
        "the tracker 'trackio' cannot begin and is told nothing: ConnectionError: nobody there",
    ]


def test_without_trackers_nothing_is_between() -> None:
    listener = Listener()
    with tracking(listener, started((), "bench", "run", Path("nowhere"), {})) as told:
        assert told is listener


def test_what_cannot_be_had_is_told_before_anything_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TrackerError, match="no tracker named 'tensorbord'; did you mean 'tensorboard'"):
        check(["tensorbord"])
    if find_spec("aim") is None:
        with pytest.raises(TrackerError, match="needs its own library, which is not installed: pip install aim"):
            check(["aim"])
    file = Path(__file__).parent.parent / "benchmarks" / "quick.toml"
    assert main(["bench", str(file), "--out", str(tmp_path / "out"), "--track", "tensorbord"]) == 2
    assert "did you mean 'tensorboard'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_settings_by_their_dotted_names() -> None:
    assert _flat({"a": {"b": 1, "c": {"d": "x"}}, "e": [1, 2]}) == {"a.b": 1, "a.c.d": "x", "e": "[1, 2]"}
