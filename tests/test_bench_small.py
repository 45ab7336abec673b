"""The bench's parts that need no model: claims, proposals of tuning, what serving costs, intervals over seeds."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from alignzoo.lab.bench.report import _said
from alignzoo.lab.bench.serving import break_even, each
from alignzoo.lab.bench.tuning import Space, Trial, best, proposed
from alignzoo.lab.claims import SILENT, claim, claimed, holder
from alignzoo.lab.compare.duels import Entrant

# Claims -------------------------------------------------------------------------------------------------------------------


def test_a_claim_is_one_persons(tmp_path: Path) -> None:
    path = tmp_path / "piece"
    assert holder(path) is None
    mine = claim(path)
    assert mine is not None
    assert (holder(path) or {})["pid"] == os.getpid()
    assert claim(path) is None
    assert claim(tmp_path / "other") is not None
    mine.release()
    assert holder(path) is None
    assert claim(path) is not None


def write(path: Path, **changes: object) -> None:
    row = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(row))


def test_a_claim_of_a_process_that_is_gone_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "piece"
    code = (
        f"import os; from pathlib import Path; from alignzoo.lab.claims import claim; claim(Path({str(path)!r})); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert path.exists()
    assert holder(path) is None
    assert claim(path) is not None


def test_a_later_process_of_the_same_number_is_another(tmp_path: Path) -> None:
    path = tmp_path / "piece"
    assert claim(path) is not None
    write(path, born="1")
    assert holder(path) is None


def test_another_machines_claim_is_stale_when_it_falls_silent(tmp_path: Path) -> None:
    path = tmp_path / "piece"
    assert claim(path) is not None
    write(path, host=platform.node() + "-other")
    assert claim(path) is None
    long_ago = time.time() - SILENT - 1
    os.utime(path, (long_ago, long_ago))
    assert claim(path) is not None


def test_a_damaged_claim_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "piece").write_text('{"host": ')
    assert claim(tmp_path / "piece") is not None


def test_who_comes_second_waits_and_says_so(tmp_path: Path) -> None:
    first = claim(tmp_path / "piece")
    assert first is not None
    said: list[str] = []
    order: list[str] = []

    def second() -> None:
        with claimed(tmp_path / "piece", said.append):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    while not said:
        time.sleep(0.01)
    order.append("first")
    first.release()
    thread.join()
    assert order == ["first", "second"]
    assert len(said) == 1
    assert holder(tmp_path / "piece") is None


def test_a_claim_is_given_back_when_its_work_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), claimed(tmp_path / "piece"):
        raise ValueError("no")
    assert holder(tmp_path / "piece") is None


def test_a_holder_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignzoo.lab.claims.BEAT", 0.01)
    with claimed(tmp_path / "piece"):
        os.utime(tmp_path / "piece", (0, 0))
        while (tmp_path / "piece").stat().st_mtime == 0:
            time.sleep(0.01)


# Tuning -------------------------------------------------------------------------------------------------------------------

SPACE = {"optimizer.descent.lr": Space(1e-4, 1e-2, log=True), "n": Space(2, 9, whole=True), "loss": Space(choices=("a", "b"))}


def tuned(trials: int, seed: int = 0) -> list[Trial]:
    past: list[Trial] = []
    for _ in range(trials):
        changes = proposed(SPACE, past, seed)
        lr = changes.get("optimizer.descent.lr", 1e-2)
        past.append(Trial(changes, None if len(past) == 2 else -abs(math.log10(lr) + 3)))
    return past


def test_trials_begin_as_written_and_stay_in_their_ranges() -> None:
    pytest.importorskip("optuna")
    first, *rest = tuned(6)
    assert first.changes == {}
    for trial in rest:
        assert 1e-4 <= trial.changes["optimizer.descent.lr"] <= 1e-2
        assert 2 <= trial.changes["n"] <= 9
        assert isinstance(trial.changes["n"], int)
        assert trial.changes["loss"] in ("a", "b")
    assert len({trial.changes["optimizer.descent.lr"] for trial in rest}) == 5


def test_proposals_follow_from_the_seed_and_earlier_trials_alone() -> None:
    """So a tuning that was interrupted goes on as if it had not been."""
    pytest.importorskip("optuna")
    whole = tuned(16)
    for number in (1, 4, 15):
        assert proposed(SPACE, whole[:number], 0) == whole[number].changes
    assert tuned(3, seed=1)[1].changes != whole[1].changes


def test_the_best_trial_is_the_earliest_of_the_highest() -> None:
    trials = [Trial({}, 0.5), Trial({"a": 1}, 0.7), Trial({"a": 2}, 0.7), Trial({"a": 3}, None), Trial({"a": 4}, -2.0)]
    assert best(trials) == trials[1]
    assert best([Trial({}, -0.5), Trial({"a": 1}, -0.2)]) == Trial({"a": 1}, -0.2)
    assert best([Trial({}, None)]) is None


# What answers cost --------------------------------------------------------------------------------------------------------


def test_the_cost_of_one_answer() -> None:
    row = {"answers": 4, "flops": 80.0, "seconds": 2.0, "read": 10, "written": 30, "scores": 64}
    assert each(row) == {"flops": 20.0, "seconds": 0.5, "tokens": 10.0, "scores": 16.0}


def test_the_break_even_by_hand() -> None:
    """One trains for 1,000 and answers for 2; another trains for 100 and answers for 11: after 100 answers 1,200 each."""
    assert break_even(1000, 2, 100, 11) == 100
    assert break_even(100, 11, 1000, 2) == 100
    assert 1000 + 100 * 2 == 100 + 100 * 11
    assert break_even(1000, 11, 100, 2) is None  # dearer in both
    assert break_even(1000, 2, 100, 2) is None
    assert break_even(100, 2, 100, 11) == 0


def test_what_a_filter_says_of_its_labels_is_in_the_report() -> None:
    """Of the first seed of each entry that has finished one; who was told the same shares a line."""
    runs = [SimpleNamespace(tally={"said": ["150 labels, together 150"]}), SimpleNamespace(tally={"said": ["149 labels"]})]
    told = [("people", tuple(runs)), ("none", ()), ("silent", (SimpleNamespace(tally={}),)), ("model", tuple(runs[:1]))]
    entrants = [Entrant(name, own) for name, own in told]  # type: ignore[arg-type]
    (note,) = _said(entrants)
    assert note.lines == ("people, model: 150 labels, together 150",)
    assert list(_said(entrants[1:3])) == []
