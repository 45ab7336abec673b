"""The work of a bench: one cell after the other, or several at once, each in a process of its own.

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
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from alignzoo.interfaces import Metrics
from alignzoo.lab import store
from alignzoo.lab.bench.benchfile import Entry, bench_of, drawn
from alignzoo.lab.bench.folder import BenchFolder, table_in
from alignzoo.lab.bench.outcome import Cell, Outcome, ended
from alignzoo.lab.bench.tuning import proposed
from alignzoo.lab.claims import claim, holder
from alignzoo.lab.folders import settle
from alignzoo.lab.listener import Listener
from alignzoo.lab.plan import Plan
from alignzoo.lab.run import Run
from alignzoo.lab.runfile import local_files
from alignzoo.lab.trackers import started, tracking
from alignzoo.learning.ledger import Ledger
from alignzoo.seam.discovery import discover

_POLL = 1.0
_WORD = 0.2
"""Seconds between two reports of updates from one worker: more would be work for nobody."""
_TAKEN = 75
"""Exit code of a worker whose cell somebody else had claimed."""
_FULL = 74
"""Exit code of a worker that found the disk full."""


FULL = "no room is left on the disk; nothing is damaged: make room, and call the same command again"


class DiskFull(OSError):
    """No room is left: nothing is wrong with any entry, and nothing can go on."""


@dataclass
class Watcher:
    """What a bench tells while it works. Every method may do nothing."""

    began: Callable[[Cell], None] = lambda cell: None
    said: Callable[[Cell, str, tuple[Any, ...]], None] = lambda cell, what, facts: None
    """A word of a run's listener: "stage", "update", "progress" or "line", and what it came with."""
    ended: Callable[[Cell, Outcome | None], None] = lambda cell, outcome: None
    """None: another process has the cell."""
    line: Callable[[str], None] = lambda line: None
    whole: Callable[[int, int], None] = lambda ended, cells: None


# One cell -----------------------------------------------------------------------------------------------------------------


def carry_out(files: BenchFolder, cell: Cell, listener: Listener, track: Sequence[str] = ()) -> Outcome:
    """Do what is still to be done of a cell. Whatever goes wrong in it is its outcome, and nobody else's; only a full disk and
    an interruption are not."""
    entry = next(entry for entry in files.bench.entries if entry.name == cell.entry)
    began = time.monotonic()
    changes: Mapping[str, Any] = {}
    try:
        plan, changes = planned(files, entry, cell)
        folder = store.Folder(files.run(cell))
        settle(plan, folder)
        trackers = started(track, files.bench.name, str(cell), files.root / "tracked", plan.table())
        with tracking(listener, trackers) as told:
            Run(plan, folder, told, shelf=files.shelf).report()
        outcome = ended(plan, folder, time.monotonic() - began, changes)
    except KeyboardInterrupt:
        raise
    except (Exception, SystemExit) as error:
        if no_room(error):
            raise DiskFull(errno.ENOSPC, FULL, str(files.root)) from error
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        seconds = time.monotonic() - began
        outcome = Outcome("failed", reason, traceback.format_exc(), seconds=seconds, changes=dict(changes))
    return files.end(cell, outcome)


def planned(files: BenchFolder, entry: Entry, cell: Cell) -> tuple[Plan, Mapping[str, Any]]:
    """The run of a cell, and what tuning has changed in it."""
    bench = files.bench
    if cell.kind == "run":
        changes = files.tuned(entry) or {}
        return bench.plan(entry, cell.number, changes), changes
    assert bench.tuning is not None  # or there would be no trials
    changes = proposed(entry.space, files.trials(entry), bench.tuning.seed)
    return bench.tuning.plan(bench.plan(entry, bench.tuning.seed, changes)), changes


def no_room(error: BaseException | None) -> bool:
    """Whether a full disk, or quota, is at the bottom of it. Not every library says so by an OSError."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def work_here(files: BenchFolder, watcher: Watcher, track: Sequence[str] = ()) -> None:
    """All cells, one after the other, in this process."""
    while (cell := next(_free(files, set()), None)) or _others(files):
        if cell is None:
            time.sleep(_POLL)
            continue
        if (taken := claim(files.claim(cell))) is None:
            continue
        try:
            if files.outcome_file(cell).exists():  # done between the look and the claim
                continue
            watcher.began(cell)
            outcome = carry_out(files, cell, _passing(partial(watcher.said, cell)), track)
        finally:
            taken.release()
        files.write_state()
        watcher.ended(cell, outcome)
        watcher.whole(*files.progress())


def _passing(say: Callable[[str, tuple[Any, ...]], None]) -> Listener:
    """A run's listener that passes everything on, updates now and then."""
    last = [0.0]

    def update(number: int, metrics: Metrics, ledger: Ledger) -> None:
        if time.monotonic() - last[0] >= _WORD:
            last[0] = time.monotonic()
            say("update", (number, metrics))

    return Listener(
        stage=lambda name, what: say("stage", (name, what)),
        update=update,
        progress=lambda name, done, total: say("progress", (name, done, total)),
        line=lambda line: say("line", (line,)),
    )


def _free(files: BenchFolder, busy: set[Cell]) -> Iterator[Cell]:
    """What could be begun and nobody is at: first what shares no start with what is under way, so that nobody waits."""
    seeds = {cell.number for cell in busy if cell.kind == "run"}
    tuning = {cell.entry for cell in busy if cell.kind == "trial"}
    there = [cell for cell in files.open() if cell not in busy and not (cell.kind == "trial" and cell.entry in tuning)]
    there = [cell for cell in there if holder(files.claim(cell)) is None]
    yield from sorted(there, key=lambda cell: cell.kind == "run" and cell.number in seeds)


def _others(files: BenchFolder) -> bool:
    """Whether another process is at something that this bench waits for."""
    return any(holder(files.claim(cell)) is not None for cell in files.open())


# Several at once ----------------------------------------------------------------------------------------------------------


@dataclass
class Crew:
    """Workers, each with one cell."""

    files: BenchFolder
    jobs: int
    watcher: Watcher
    track: Sequence[str] = ()
    at_work: dict[Connection, tuple[Cell, BaseProcess]] = field(default_factory=dict)

    def work(self) -> None:
        """Until nothing is left to do, here or elsewhere."""
        server: Any = multiprocessing.get_context("spawn" if torch.cuda.is_available() else "forkserver")
        if not torch.cuda.is_available():  # what has seen a GPU cannot be forked
            server.set_forkserver_preload(["alignzoo.lab.bench.work"])
        try:
            while self._fill(server):
                for pipe in wait(list(self.at_work), _POLL):
                    assert isinstance(pipe, Connection)
                    self._hear(pipe)
        finally:
            self._stop()

    def _fill(self, server: Any) -> bool:
        """Give everybody something to do; whether anything is left that is worth waiting for."""
        while len(self.at_work) < self.jobs:
            cell = next(_free(self.files, {cell for cell, _ in self.at_work.values()}), None)
            if cell is None:
                break
            self._begin(server, cell)
        if not self.at_work and next(self.files.open(), None) is None:
            return False
        if not self.at_work:  # somebody else is at what is left
            time.sleep(_POLL)
        return True

    def _begin(self, server: Any, cell: Cell) -> None:
        here, there = server.Pipe(duplex=False)
        facts = (str(self.files.root), cell, self.track)
        process = server.Process(target=worker, args=(*facts, there), name=str(cell))
        process.start()
        there.close()
        self.at_work[here] = (cell, process)
        self.watcher.began(cell)

    def _hear(self, pipe: Connection) -> None:
        cell, process = self.at_work[pipe]
        try:
            what, facts = pipe.recv()
        except EOFError:
            process.join()
            del self.at_work[pipe]
            self._end(cell, process.exitcode or 0)
            return
        self.watcher.said(cell, what, facts)

    def _end(self, cell: Cell, code: int) -> None:
        if code == _FULL:
            raise DiskFull(errno.ENOSPC, FULL, str(self.files.root))
        outcome = self.files.outcome(cell)
        if outcome is None and code != _TAKEN:
            outcome = self.files.end(cell, Outcome("failed", _killed(code, self.files.log(cell))))
        self.files.write_state()
        self.watcher.ended(cell, outcome)
        self.watcher.whole(*self.files.progress())

    def _stop(self) -> None:
        """An interruption goes to the workers too; each writes its checkpoint."""
        for _, process in self.at_work.values():
            if process.pid and process.is_alive():
                os.kill(process.pid, signal.SIGINT)
        for _, process in self.at_work.values():
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
        sys.exit(_TAKEN)
    try:
        if files.outcome_file(cell).exists():
            sys.exit(_TAKEN)
        carry_out(files, cell, _passing(partial(_send, pipe)), track)
    except DiskFull:
        sys.exit(_FULL)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        taken.release()


def _send(pipe: Connection, what: str, facts: tuple[Any, ...]) -> None:
    with suppress(OSError):  # nobody listens any more; we are about to end, too
        pipe.send((what, facts))


def folder_at(root: Path) -> BenchFolder:
    """The bench of a folder."""
    table = table_in(root)
    return BenchFolder(bench_of(table, discover(files=local_files(table, "bench.toml")), "bench.toml"), root)


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def _leave_with(parent: int) -> None:
    """End when the bench's process ends: what nobody waits for is not to go on unseen. The checkpoint is there."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL)
        os._exit(130)

    threading.Thread(target=watch, daemon=True).start()
