"""Work that several processes share: who claims a piece does it, and the others leave it or wait.

A claim is a small file that says who holds it. Its holder touches it every few seconds. It is stale, and may be taken over,
when its holder is a process of this machine that is gone, or one of another machine that has not touched it for a minute.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignzoo.lab.store import write_text

BEAT = 5.0
"""Seconds between two signs of life."""
SILENT = 60.0
"""Seconds without one after which another machine's claim is stale. (Of this machine's processes we know without it.)"""
_LOOK = 0.2


@dataclass
class Claim:
    """A piece of work that is ours until it is released."""

    path: Path
    _over: threading.Event = field(default_factory=threading.Event)

    def beat(self) -> None:
        """Say every few seconds, in a thread beside the work, that we are alive."""

        def touch() -> None:
            while not self._over.wait(BEAT):
                with suppress(OSError):
                    os.utime(self.path)

        threading.Thread(target=touch, daemon=True).start()

    def release(self) -> None:
        self._over.set()
        self.path.unlink(missing_ok=True)


def claim(path: Path) -> Claim | None:
    """Take this piece of work; None if somebody who lives has it."""
    with guarded(path.parent):
        if holder(path) is not None:
            return None
        write_text(path, json.dumps({"host": platform.node(), "pid": os.getpid(), "born": _born(os.getpid())}))
    taken = Claim(path)
    taken.beat()
    return taken


@contextmanager
def claimed(path: Path, tell: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """The block has this piece of work to itself; whoever comes while another has it waits."""
    told = False
    while (taken := claim(path)) is None:
        if not told:
            tell(f"waiting for another process that is at the same ({path.name})")
            told = True
        time.sleep(_LOOK)
    try:
        yield
    finally:
        taken.release()


def holder(path: Path) -> Mapping[str, Any] | None:
    """Who holds a claim; None if nobody does who lives."""
    try:
        row: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        host, pid, born = (row[name] for name in ("host", "pid", "born"))
        silent = time.time() - path.stat().st_mtime
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # a damaged claim is nobody's
        return None
    if host != platform.node():
        return row if silent < SILENT else None
    return row if isinstance(pid, int) and _born(pid) == born is not None else None


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """One process at a time, for as long as it takes to read and write a small file."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".guard").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _born(pid: int) -> str | None:
    """When a process of this machine began, which tells it from a later one of the same number; None if it is gone."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else rest[18]
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    try:  # a system without /proc
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "?"
