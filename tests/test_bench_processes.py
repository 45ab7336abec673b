"""Real processes: a bench killed in the middle, two that share what is left, and an entry whose process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench_ground import BAD, DPO, ground

from alignzoo.lab.bench.head_to_head import HeadToHead
from alignzoo.lab.bench.work import Watcher
from alignzoo.lab.claims import holder


def start(file: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "alignzoo", "bench", str(file), "--out", str(out), "--jobs", "1"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=file.parent
    )


def test_killed_continued_by_two_and_nothing_done_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the two is this process; both have their runs in processes of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    file = ground(tmp_path, "deadly", DPO + BAD.replace("SORT", "killed"), seeds="[3, 1]")
    out = tmp_path / "out"
    first = start(file, out)
    while not (out / "runs" / "dpo" / "3" / "start").exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    other = start(file, out)
    judged: list[str] = []
    watcher = Watcher(said=lambda cell, what, facts: judged.append(str(cell)) if facts[:1] == ("judge",) else None)
    bench = HeadToHead.open(file, out, watcher=watcher)
    bench.run(jobs=1)
    said, told = other.communicate(timeout=300)
    assert other.returncode == 1, told  # something failed, and it says so
    standings = {one.name: one for one in bench.standings()}
    assert [cell.state for cell in standings["dpo"].cells] == ["done", "done"], told
    for cell in standings["bad"].cells:
        assert cell.reason == "its process was killed (signal 9), most likely because memory ran out"
    judged += [line.partition(":")[0] for line in told.splitlines() if ": judge " in line]
    assert "dpo/1" in judged, told
    assert len(judged) == len(set(judged)), told  # the first one's worker may have come to its end before it noticed
    assert "* bad/1: its process was killed" in said
    assert all(holder(path) is None for path in (out / "claims").glob("*-[0-9]"))  # what is left there is stale
