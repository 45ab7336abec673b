"""The work of a bench: what is to be done, one cell carried out, and all of them one after the other in this process (`crew`
does several at once, each in a process of its own)."""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from alignzoo.interfaces import Metrics
from alignzoo.lab import store
from alignzoo.lab.bench.benchfile import Entry, bench_of
from alignzoo.lab.bench.folder import BenchFolder, table_in
from alignzoo.lab.bench.outcome import Cell, Outcome, ended
from alignzoo.lab.bench.tuning import proposed
from alignzoo.lab.claims import claim, holder
from alignzoo.lab.folders import settle
from alignzoo.lab.listener import UPDATES, Listener
from alignzoo.lab.plan import Plan
from alignzoo.lab.run import Run
from alignzoo.lab.runfile import local_files
from alignzoo.lab.trackers import started, tracking
from alignzoo.learning.ledger import Ledger
from alignzoo.seam.discovery import discover

POLL = 1.0
_WORD = 0.2
"""Seconds between two reports of updates from one worker: more would be work for nobody."""


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
        trackers = started(track, files.bench.name, str(cell), files.root / "tracked", plan.table(), listener.line)
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
    while (cell := next(free(files, set()), None)) or _others(files):
        if cell is None:
            time.sleep(POLL)
            continue
        if (taken := claim(files.claim(cell))) is None:
            continue
        try:
            if files.outcome_file(cell).exists():  # done between the look and the claim
                continue
            watcher.began(cell)
            outcome = carry_out(files, cell, passing(partial(watcher.said, cell)), track)
        finally:
            taken.release()
        files.write_state()
        watcher.ended(cell, outcome)
        watcher.whole(*files.progress())


def passing(say: Callable[[str, tuple[Any, ...]], None]) -> Listener:
    """A run's listener that passes everything on, updates now and then."""
    last, due = 0.0, False

    def update(number: int, metrics: Metrics, ledger: Ledger) -> None:
        nonlocal last, due
        if due := time.monotonic() - last >= _WORD:
            last = time.monotonic()
            say("update", (number, metrics))

    def progress(name: str, done: int, total: int) -> None:
        if due or name != UPDATES:
            say("progress", (name, done, total))

    return Listener(
        stage=lambda name, what: say("stage", (name, what)),
        update=update,
        progress=progress,
        line=lambda line: say("line", (line,)),
    )


def free(files: BenchFolder, busy: set[Cell]) -> Iterator[Cell]:
    """What could be begun and nobody is at: first what shares no start with what is under way, so that nobody waits."""
    seeds = {cell.number for cell in busy if cell.kind == "run"}
    tuning = {cell.entry for cell in busy if cell.kind == "trial"}
    there = [cell for cell in files.open() if cell not in busy and not (cell.kind == "trial" and cell.entry in tuning)]
    there = [cell for cell in there if holder(files.claim(cell)) is None]
    yield from sorted(there, key=lambda cell: cell.kind == "run" and cell.number in seeds)


def _others(files: BenchFolder) -> bool:
    """Whether another process is at something that this bench waits for."""
    return any(holder(files.claim(cell)) is not None for cell in files.open())


def folder_at(root: Path) -> BenchFolder:
    """The bench of a folder."""
    table = table_in(root)
    return BenchFolder(bench_of(table, discover(files=local_files(table, "bench.toml")), "bench.toml"), root)
