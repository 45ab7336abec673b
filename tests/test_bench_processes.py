"""Real processes: a bench killed in the middle, two that share what is left, and an entry whose process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from bench_ground import BAD, DPO, ground

from alignzoo.lab.bench.work import folder_at


def start(file: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "alignzoo", "bench", str(file), "--out", str(out), "--jobs", "1"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=file.parent
    )


def test_killed_continued_by_two_and_nothing_done_twice(tmp_path: Path) -> None:
    file = ground(tmp_path, "deadly", DPO + BAD.replace("SORT", "killed"), seeds="[3, 1]")
    out = tmp_path / "out"
    first = start(file, out)
    while not (out / "runs" / "dpo" / "3" / "start").exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    both = [start(file, out) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [1, 1], said  # something failed, and both say so
    standings = {one.name: one for one in folder_at(out).standings()}
    assert [cell.state for cell in standings["dpo"].cells] == ["done", "done"], said
    for cell in standings["bad"].cells:
        assert cell.reason == "its process was killed (signal 9), most likely because memory ran out"
    trained = Counter(line for _, told in said for line in told.splitlines() if ": judge " in line)
    assert set(trained.values()) == {1}, said
    assert len(trained) == 2
    assert all("* bad/1: its process was killed" in told for told, _ in said)
    assert not list((out / "claims").glob("*-[0-9]"))
