"""Metrics that go elsewhere, too."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from alignzoo.cli import main
from alignzoo.lab.listener import Listener
from alignzoo.lab.trackers import TrackerError, _flat, check, started, tracking
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


def test_without_trackers_nothing_is_between() -> None:
    listener = Listener()
    with tracking(listener, started((), "run", Path("nowhere"), {})) as told:
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
    assert not (tmp_path / "out" / "runs").exists()


def test_settings_by_their_dotted_names() -> None:
    assert _flat({"a": {"b": 1, "c": {"d": "x"}}, "e": [1, 2]}) == {"a.b": 1, "a.c.d": "x", "e": "[1, 2]"}
