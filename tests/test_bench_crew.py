"""Workers: what each looks at before it begins, and how one that has ended is told from one that left its cell to others."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tomli_w

from alignzoo.lab import store
from alignzoo.lab.bench.benchfile import drawn
from alignzoo.lab.bench.crew import Crew, Hand, _say, worker
from alignzoo.lab.bench.folder import BenchFolder
from alignzoo.lab.bench.outcome import Cell, Outcome
from alignzoo.lab.bench.work import DiskFull, Watcher
from alignzoo.lab.claims import claim, holder
from alignzoo.seam.discovery import discover

CELL = Cell("x", 0)
TABLE = {"name": "b", "seeds": [0], "optimizer": {"use": "best-of-n"}, "entry": [{"name": "x"}]}


@pytest.fixture
def files(tmp_path: Path) -> BenchFolder:
    """A bench with one cell, in a folder."""
    store.write_text(tmp_path / "bench.toml", tomli_w.dumps(TABLE))
    return BenchFolder(drawn(TABLE, discover(), "bench.toml")[0], tmp_path)


Lived = Callable[[Callable[[], Any]], tuple[list[Any], int]]


@pytest.fixture
def lived(files: BenchFolder, monkeypatch: pytest.MonkeyPatch) -> Lived:
    """A worker's life in this process, with another hand at the work: what it tells, and how often the work was done."""

    def live(work: Callable[[], Any]) -> tuple[list[Any], int]:
        done: list[Any] = []
        monkeypatch.setattr("alignzoo.lab.bench.crew.os.setsid", lambda: None)
        for name in ("_log_to", "_leave_with"):
            monkeypatch.setattr(f"alignzoo.lab.bench.crew.{name}", lambda what: None)
        monkeypatch.setattr("alignzoo.lab.bench.crew.carry_out", lambda *given: (done.append(given), work()))
        here, there = multiprocessing.Pipe(duplex=False)
        worker(str(files.root), CELL, (), there)
        there.close()
        return list(heard(here)), len(done)

    return live


def heard(pipe: Connection) -> list[Any]:
    told = []
    while True:
        try:
            told.append(pipe.recv())
        except EOFError:
            return told


def test_a_worker_does_what_nobody_has_done_or_claimed(files: BenchFolder, lived: Lived) -> None:
    assert lived(lambda: None) == ([], 1)
    assert holder(files.claim(CELL)) is None, "its claim is given back"


def test_what_was_done_between_the_look_and_the_claim_is_not_done_again(files: BenchFolder, lived: Lived) -> None:
    files.end(CELL, Outcome("done"))
    assert lived(lambda: None) == ([("left", ("taken",))], 0)
    assert holder(files.claim(CELL)) is None


def test_what_somebody_has_claimed_is_left_to_him(files: BenchFolder, lived: Lived) -> None:
    taken = claim(files.claim(CELL))
    assert lived(lambda: None) == ([("left", ("taken",))], 0)
    assert holder(files.claim(CELL)) is not None, "his claim is not given back for him"
    assert taken is not None
    taken.release()


def test_a_worker_without_room_says_so(files: BenchFolder, lived: Lived) -> None:
    def full() -> None:
        raise DiskFull

    assert lived(full) == ([("left", ("no room",))], 1)
    assert holder(files.claim(CELL)) is None


def test_what_a_worker_says_in_words_is_in_its_log(capfd: pytest.CaptureFixture[str]) -> None:
    here, there = multiprocessing.Pipe(duplex=False)
    for word in (("stage", ("train", "dpo")), ("line", ("2 are ties",)), ("update", (1, {}))):
        _say(there, *word)
        assert here.recv() == word
    assert capfd.readouterr().out == "train dpo\n2 are ties\n"


class Heard:
    """One process that has ended, and what a crew makes of it."""

    def __init__(self, files: BenchFolder, code: int, *told: Any) -> None:
        self.ended: list[Outcome | None] = []
        self.said: list[Any] = []
        watcher = Watcher(
            ended=lambda cell, outcome: self.ended.append(outcome), said=lambda cell, *what: self.said.append(what)
        )
        self.crew = Crew(files, 1, watcher)
        here, there = multiprocessing.Pipe(duplex=False)
        process: Any = SimpleNamespace(exitcode=code, join=lambda: None)
        self.crew.at_work[here] = Hand(CELL, process)
        for one in told:
            there.send(one)
        there.close()
        for _ in range(len(told) + 1):
            self.crew._hear(here)


@pytest.mark.parametrize("code", [0, 74, 75])
def test_whatever_code_a_process_ends_with_its_cell_has_failed(code: int, files: BenchFolder) -> None:
    """A plugin may end it with any: one was taken for "somebody else has it", and begun again without end."""
    (outcome,) = Heard(files, code).ended
    assert outcome is not None
    assert (outcome.state, outcome.reason) == ("failed", f"its process ended with code {code}")
    assert files.outcome(CELL) == outcome


def test_what_a_worker_left_to_others_has_not_failed(files: BenchFolder) -> None:
    heard = Heard(files, 0, ("update", (3, {"loss": 1.0})), ("left", ("taken",)))
    assert heard.ended == [None]
    assert heard.said == [("update", (3, {"loss": 1.0}))]
    assert files.outcome(CELL) is None


def test_a_full_disk_ends_the_bench_and_nobodys_cell(files: BenchFolder) -> None:
    with pytest.raises(DiskFull, match="no room is left"):
        Heard(files, 0, ("left", ("no room",)))
    assert files.outcome(CELL) is None


def test_a_word_that_was_cut_off_is_the_end(files: BenchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(self: Connection) -> Any:
        raise OSError("got end of file during message")

    monkeypatch.setattr(Connection, "recv", cut)
    (outcome,) = Heard(files, -9).ended
    assert outcome is not None
    assert outcome.reason.startswith("its process was killed (signal 9)")


def test_a_dead_worker_is_not_waited_for_because_its_child_lives(files: BenchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a plugin has forked holds the other end of the pipe. First is heard what was said before."""
    monkeypatch.setattr("alignzoo.lab.bench.crew.POLL", 0.0)
    ended, said = list[Any](), list[Any]()
    crew = Crew(files, 1, Watcher(ended=lambda cell, how: ended.append(how), said=lambda cell, *what: said.append(what)))
    here, there = multiprocessing.Pipe(duplex=False)
    lives = [True]
    process: Any = SimpleNamespace(exitcode=-9, join=lambda: None, is_alive=lambda: lives[0])
    crew.at_work[here] = Hand(CELL, process)
    crew._listen()
    assert here in crew.at_work
    there.send(("update", (3, {})))
    lives[0] = False
    crew._listen()
    assert (said, ended) == ([("update", (3, {}))], [])
    crew._listen()
    assert (ended[0].state, crew.at_work) == ("failed", {})
    assert "killed (signal 9)" in ended[0].reason
    there.close()


def test_workers_find_the_libraries_of_models_imported(files: BenchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were not for a while, when refusals came to wait for no library: four seconds of every run."""
    asked: list[str] = []
    context = SimpleNamespace(set_forkserver_preload=asked.extend)
    monkeypatch.setattr("alignzoo.lab.bench.crew.multiprocessing.get_context", lambda how: context)
    monkeypatch.setattr("alignzoo.lab.bench.crew.torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(Crew, "_fill", lambda self, server: False)
    Crew(files, 1, Watcher()).work()
    code = f"import sys, {', '.join(asked)}; print(*({{'torch', 'transformers', 'peft'}} - sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_a_worker_that_has_done_its_work_and_does_not_end_is_ended(files: BenchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that a plugin began, and that waits for ever, keeps the process; after half a minute it is not waited for."""
    now, killed = [100.0], list[float]()
    process: Any = SimpleNamespace(kill=lambda: killed.append(now[0]))
    crew, hand = Crew(files, 1, Watcher()), Hand(CELL, process)
    monkeypatch.setattr("alignzoo.lab.bench.crew.time", SimpleNamespace(monotonic=lambda: now[0]))
    for second in (100, 200, 201, 231, 232):
        now[0] = float(second)
        crew._see_off(hand)
        if second == 200:
            files.end(CELL, Outcome("done", value=0.5))
    assert killed == [232.0]
