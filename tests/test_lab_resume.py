"""Kill -9 at any moment, call the same command again, and the adapter is the one of a run that was never interrupted.

Real processes and real kills: the model is the toy, 4-bit as users run it; the feedback is the playground's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alignzoo.testing import toy_folder

RUN = """
name = "toy"
checkpoint_every = {every}
[task]
use = "playground"
[model]
path = "{model}"
[model.lora]
rank = 4
[feedback]
use = "playground"
count = 160
answers = 2
[optimizer]
use = "dpo"
batch_size = 8
epochs = 2
[optimizer.descent]
lr = 1e-3
schedule = "cosine"
[watch]
every = 7
prompts = 4
tokens = 8
[answer]
prompts = 8
[answer.manner]
max_tokens = 8
"""
UPDATES = 40


def start(run: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "alignzoo", "train", str(run), "--out", str(out)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(run: Path, out: Path) -> str:
    process = start(run, out)
    said, complaints = process.communicate(timeout=600)
    assert process.returncode == 0, complaints
    return said + complaints


def stop_when(happened: Callable[[], bool], run: Path, out: Path, number: signal.Signals) -> tuple[int, str]:
    """Run until something has happened, then send the signal; the exit code and what was said."""
    process = start(run, out)
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.0005)
    process.send_signal(number)
    said = process.communicate(timeout=600)
    return process.returncode, "".join(said)


def rows(out: Path) -> int:
    updates = out / "train" / "updates.jsonl"
    return len(updates.read_text().splitlines()) if updates.exists() else 0


def adapter(out: Path) -> bytes:
    return (out / "train" / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    file = folder / "toy.toml"
    file.write_text(RUN.format(model=toy_folder(folder / "model"), every=5))
    return file


@pytest.fixture(scope="module")
def uninterrupted(run_file: Path) -> Path:
    out = run_file.parent / "whole"
    finish(run_file, out)
    assert rows(out) == UPDATES
    return out


@pytest.mark.parametrize("moment", [2, 17, 38])
def test_killed_after_some_updates(run_file: Path, uninterrupted: Path, tmp_path: Path, moment: int) -> None:
    out = tmp_path / "killed"
    code, _ = stop_when(lambda: rows(out) >= moment, run_file, out, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (out / "train" / "summary.json").exists()
    finish(run_file, out)
    assert adapter(out) == adapter(uninterrupted)
    assert [json.loads(line)["update"] for line in (out / "train" / "updates.jsonl").read_text().splitlines()] == list(
        range(1, UPDATES + 1)
    )


def test_killed_while_a_checkpoint_is_written(run_file: Path, uninterrupted: Path, tmp_path: Path) -> None:
    for attempt in range(8):
        out = tmp_path / f"killed{attempt}"
        half = out / "train" / "checkpoint" / "00000020.part"
        code, _ = stop_when(half.exists, run_file, out, signal.SIGKILL)
        assert code == -signal.SIGKILL
        if half.exists():
            break
    else:
        pytest.fail("the checkpoint was whole before the kill in every attempt")
    finish(run_file, out)
    assert adapter(out) == adapter(uninterrupted)


def test_interrupted_by_the_user(run_file: Path, uninterrupted: Path, tmp_path: Path) -> None:
    """Ctrl-C: the update is finished, the checkpoint written, and the way on is said."""
    out = tmp_path / "interrupted"
    code, said = stop_when(lambda: rows(out) >= 12, run_file, out, signal.SIGINT)
    assert code == 130
    assert f"go on with: alignzoo train {out}" in said
    done = rows(out)
    assert [int(place.name) for place in (out / "train" / "checkpoint").iterdir()] == [done]
    assert f"going on after update {done}" in finish(run_file, out)
    assert adapter(out) == adapter(uninterrupted)


def test_a_changed_setting_is_refused(run_file: Path, uninterrupted: Path) -> None:
    other = run_file.with_name("other.toml")
    other.write_text(run_file.read_text().replace("lr = 1e-3", "lr = 2e-3"))
    process = start(other, uninterrupted)
    _, complaints = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "optimizer.descent.lr: 0.001 there, 0.002 now" in complaints
