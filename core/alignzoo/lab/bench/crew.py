"""Several cells at once, each in a process of its own.

A process of its own means that a crash, a kill for want of memory, or a plugin that spoils global state ends one cell and no
more, and that peak memory is a cell's own. It is forked from a server that has imported the libraries already, so it begins at
once.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from alignzoo.lab.bench.benchfile import drawn
from alignzoo.lab.bench.folder import BenchFolder, table_in
from alignzoo.lab.bench.outcome import Cell, Outcome
from alignzoo.lab.bench.work import FULL, POLL, DiskFull, Watcher, carry_out, free, passing
from alignzoo.lab.claims import claim
from alignzoo.lab.runfile import local_files
from alignzoo.seam.discovery import discover

_LIBRARIES = ("alignzoo.lab.bench.crew", "alignzoo.model.base")
"""What every run needs, imported once for all workers: the second brings the libraries of models, seconds each time."""
_LEFT = "left"
"""A worker's word that it leaves its cell undone. Not its exit code: a plugin may end the process with any."""
_LINGER = 30.0
"""Seconds that a worker may live after its work: a thread or process that a plugin began, and that does not end, keeps it."""
_TAKEN, _ROOM = "taken", "no room"
"""And why: somebody else had claimed it, or the disk is full."""


@dataclass
class Hand:
    """A worker with its cell."""

    cell: Cell
    process: BaseProcess
    left: str = ""
    """Why it leaves the cell undone."""
    over: float = 0.0
    """When it was first seen to have done it and to live on."""


@dataclass
class Crew:
    """Workers, each with one cell."""

    files: BenchFolder
    jobs: int
    watcher: Watcher
    track: Sequence[str] = ()
    at_work: dict[Connection, Hand] = field(default_factory=dict)

    def work(self) -> None:
        """Until nothing is left to do, here or elsewhere."""
        server: Any = multiprocessing.get_context("spawn" if torch.cuda.is_available() else "forkserver")
        if not torch.cuda.is_available():  # what has seen a GPU cannot be forked
            server.set_forkserver_preload(list(_LIBRARIES))
        try:
            while self._fill(server):
                self._listen()
        finally:
            self._stop()

    def _fill(self, server: Any) -> bool:
        """Give everybody something to do; whether anything is left that is worth waiting for."""
        while len(self.at_work) < self.jobs:
            cell = next(free(self.files, {hand.cell for hand in self.at_work.values()}), None)
            if cell is None:
                break
            self._begin(server, cell)
        if not self.at_work and next(self.files.open(), None) is None:
            return False
        if not self.at_work:  # somebody else is at what is left
            time.sleep(POLL)
        return True

    def _begin(self, server: Any, cell: Cell) -> None:
        here, there = server.Pipe(duplex=False)
        facts = (str(self.files.root), cell, self.track)
        process = server.Process(target=worker, args=(*facts, there), name=str(cell))
        process.start()
        there.close()
        self.at_work[here] = Hand(cell, process)
        self.watcher.began(cell)

    def _listen(self) -> None:
        """Hear who has something to say. Who says nothing and is dead has ended, too: what he began himself may live, and holds
        his end of the pipe."""
        speak = wait(list(self.at_work), POLL)
        silent = [pipe for pipe in self.at_work if pipe not in speak and not self.at_work[pipe].process.is_alive()]
        for pipe in speak:
            assert isinstance(pipe, Connection)
            self._hear(pipe)
        for pipe in silent:
            if not pipe.poll():
                self._gone(pipe)
        for hand in self.at_work.values():
            self._see_off(hand)

    def _see_off(self, hand: Hand) -> None:
        """End a worker that has done its work and does not end."""
        if not self.files.outcome_file(hand.cell).exists():
            return
        hand.over = hand.over or time.monotonic()
        if time.monotonic() - hand.over > _LINGER:
            hand.process.kill()

    def _gone(self, pipe: Connection) -> None:
        hand = self.at_work.pop(pipe)
        hand.process.join()
        pipe.close()
        self._end(hand)

    def _hear(self, pipe: Connection) -> None:
        hand = self.at_work[pipe]
        try:
            what, facts = pipe.recv()
        except (EOFError, OSError):  # it is gone, perhaps in the middle of a word
            self._gone(pipe)
            return
        if what == _LEFT:
            hand.left = str(*facts)
        else:
            self.watcher.said(hand.cell, what, facts)

    def _end(self, hand: Hand) -> None:
        if hand.left == _ROOM:
            raise DiskFull(errno.ENOSPC, FULL, str(self.files.root))
        cell, code = hand.cell, hand.process.exitcode or 0
        outcome = self.files.outcome(cell)
        if outcome is None and hand.left != _TAKEN:
            outcome = self.files.end(cell, Outcome("failed", _killed(code, self.files.log(cell))))
        self.files.write_state()
        self.watcher.ended(cell, outcome)
        self.watcher.whole(*self.files.progress())

    def _stop(self) -> None:
        """An interruption goes to the workers too; each writes its checkpoint."""
        processes = [hand.process for hand in self.at_work.values()]
        for process in processes:
            if process.pid and process.is_alive():
                os.kill(process.pid, signal.SIGINT)
        for process in processes:
            process.join()


def _killed(code: int, log: Path) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed (signal 9), most likely because memory ran out"
    last = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
    said = f"; it said: {last[0]}" if last else ""
    return f"its process ended with {f'signal {-code}' if code < 0 else f'code {code}'}{said}"


def worker(root: str, cell: Cell, track: Sequence[str], pipe: Connection) -> None:
    """A process's life: take one cell, carry it out, and leave its outcome in the folder."""
    os.setsid()  # Ctrl-C comes from the bench, once, and not from the terminal too
    table = table_in(Path(root))
    zoo = discover(files=local_files(table, "bench.toml"))
    files = BenchFolder(drawn(table, zoo, "bench.toml")[0], Path(root))  # it was looked into before
    _log_to(files.log(cell))
    _leave_with(os.getppid())
    if (taken := claim(files.claim(cell))) is None:
        _send(pipe, _LEFT, (_TAKEN,))
        return
    try:
        if files.outcome_file(cell).exists():  # done between the look and the claim
            _send(pipe, _LEFT, (_TAKEN,))
        else:
            carry_out(files, cell, passing(partial(_say, pipe)), track)
    except DiskFull:
        _send(pipe, _LEFT, (_ROOM,))
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        taken.release()


def _say(pipe: Connection, what: str, facts: tuple[Any, ...]) -> None:
    """To the bench; what is said in words stands in the worker's log, too."""
    if what in ("stage", "line"):
        print(*facts, flush=True)
    _send(pipe, what, facts)


def _send(pipe: Connection, what: str, facts: tuple[Any, ...]) -> None:
    with suppress(OSError):  # nobody listens any more; we are about to end, too
        pipe.send((what, facts))


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def _leave_with(parent: int) -> None:
    """End when the bench's process ends: what nobody waits for is not to go on unseen. The checkpoint is there."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL)
        os._exit(130)

    threading.Thread(target=watch, daemon=True).start()
