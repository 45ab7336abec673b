"""What ails this environment: every plugin imported in a process of its own, and what no import shows.

`examination` goes through `CHECKS`, one function for each question; each yields findings, and none may raise for what it
looks for. What plugins say themselves (the hook `alignzoo_findings`) comes with the look at each of them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alignzoo.seam.installed import Entry, entries, normal
from alignzoo.seam.kept import kept
from alignzoo.seam.patience import VARIABLE
from alignzoo.seam.registry import read
from alignzoo.shop import ShopError
from alignzoo.shop.locking import NAME, changes, lock
from alignzoo.shop.locking import read as read_lock
from alignzoo.shop.onsite import broken_editable, damaged, overlaps

Level = Literal["ok", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and how it is. A fault has a fix."""

    level: Level
    about: str
    words: str
    fix: str = ""


@dataclass(frozen=True)
class Visit:
    """What is to be examined, and how long one plugin may take."""

    plugin: str = ""
    """Only this one; without it all of them, and the stack."""
    deep: bool = False
    """Also import what the components name, torch and all."""
    seconds: float = 60.0
    lock: Path = Path(NAME)

    def entries(self) -> list[Entry]:
        return [entry for entry in entries() if self.plugin in ("", entry.plugin)]


def examination(visit: Visit) -> Iterator[Finding]:
    """Every finding, in the order of `CHECKS`."""
    if visit.plugin and not visit.entries():
        raise ShopError(f"no plugin '{visit.plugin}' is installed; see alignzoo list")
    for check in CHECKS:
        yield from check(visit)


def _plugins(visit: Visit) -> Iterator[Finding]:
    """Each plugin, alone in a process with a time limit. One that is disabled is not imported unless it is asked for, and one
    that nobody is to run not even then."""
    off = () if visit.plugin else kept().disabled
    for entry in visit.entries():
        if entry.plugin in off:
            yield Finding("note", entry.plugin, "disabled; not looked at", f"alignzoo enable {entry.plugin}")
        elif not _unwelcome(entry):
            yield from _probed(entry, visit)


def _probed(entry: Entry, visit: Visit) -> Iterator[Finding]:
    about = f"{entry.plugin} ({entry.distribution} {entry.version})"
    command = [
        sys.executable,
        "-m",
        "alignzoo.shop.probe",
        entry.plugin,
        entry.distribution,
        *(["--deep"] if visit.deep else []),
    ]
    off = f"alignzoo disable {entry.plugin}, or alignzoo uninstall {entry.distribution}"
    try:
        done = _ran(command, visit.seconds)
    except subprocess.TimeoutExpired:
        yield Finding("fault", about, f"its import does not come back; stopped after {visit.seconds:g} seconds", off)
        return
    if done.returncode < 0:
        yield Finding("fault", about, f"its import crashes Python (signal {-done.returncode})", off)
        return
    told = _last_json(done.stdout)
    if not isinstance(told, dict) or "faults" not in told:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        yield Finding("fault", about, f"its import ends Python: {last}", off)
        return
    yield from (Finding("fault", about, fault["reason"], fault["fix"]) for fault in told["faults"])
    if not told["faults"]:
        yield Finding("ok", about, ", ".join(told["components"]) or "offers no component")


def _ran(command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """A process with a group of its own, so that nothing that it starts outlives its time."""
    posix = sys.platform != "win32"
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, VARIABLE: "0", "PYTHONSAFEPATH": "1"},  # the environment is examined, not this folder
        start_new_session=posix,
    ) as process:
        try:
            out, complaints = process.communicate(timeout=seconds)
        except BaseException:  # Ctrl-C, too: a group of its own does not hear it
            if posix:
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, complaints)


def _last_json(said: str) -> Any:
    try:
        return json.loads(said.strip().splitlines()[-1])
    except (json.JSONDecodeError, IndexError):
        return None


def _unwelcome(entry: Entry) -> str:
    """Why a plugin is not to be imported at all; "" where it may be."""
    registry = read()
    owner = registry.owner(entry.plugin)
    if owner and normal(owner) != normal(entry.distribution):
        return f"the id belongs to {owner}"
    reason = registry.revocation(entry.distribution, entry.version, kept().wheel(entry.distribution, entry.version))
    return f"revoked: {reason}" if reason else ""


def _names(visit: Visit) -> Iterator[Finding]:
    """Whose plugin is whose: ids that belong to others, what is revoked, ids claimed twice."""
    there = visit.entries()
    for entry in there:
        about, gone = f"{entry.plugin} ({entry.distribution} {entry.version})", f"alignzoo uninstall {entry.distribution}"
        rivals = {other.distribution for other in there if other.plugin == entry.plugin} - {entry.distribution}
        if reason := _unwelcome(entry):
            yield Finding("fault", about, reason, gone)
        elif rivals and not read().owner(entry.plugin):
            yield Finding("fault", about, f"{', '.join(sorted(rivals))} claims this id too; it means neither", gone)


def _files(visit: Visit) -> Iterator[Finding]:
    """What lies in site-packages: damaged, overlapping, left over from an editable installation."""
    for entry in (entry for entry in visit.entries() if entry.distribution != "alignzoo"):
        about = f"{entry.plugin} ({entry.distribution} {entry.version})"
        again = f"alignzoo uninstall {entry.distribution}, and install it again"
        yield from (Finding("fault", about, words, again) for words in (*damaged(entry), *broken_editable(entry)))
    for name, owners in overlaps(visit.entries()):
        yield Finding(
            "fault", name, f"brought by {' and '.join(owners)}; one overwrites the other", f"alignzoo uninstall {owners[-1]}"
        )


def _locked(visit: Visit) -> Iterator[Finding]:
    """The environment against its lock, where there is one."""
    if visit.plugin or not visit.lock.exists():
        return
    told = list(changes(read_lock(visit.lock), lock()))
    fix = "install what the lock says, or write it anew: alignzoo lock"
    yield from (Finding("fault", str(visit.lock), line, fix) for line in told)
    if not told:
        yield Finding("ok", str(visit.lock), "holds")


def _state(visit: Visit) -> Iterator[Finding]:
    """What is remembered of plugins that are gone."""
    here = {entry.plugin for entry in entries()}
    names = {normal(entry.distribution) for entry in entries()}
    state = kept()
    for name in sorted(set(state.disabled) - here):
        yield Finding("note", name, "disabled, and not installed", f"alignzoo enable {name}")
    for receipt in state.receipt:
        if normal(receipt.dist) not in names:
            yield Finding(
                "note", receipt.dist, "was removed by other means than alignzoo uninstall", f"alignzoo uninstall {receipt.dist}"
            )


def _stack(visit: Visit) -> Iterator[Finding]:
    """torch, CUDA and bitsandbytes at work."""
    if visit.plugin:
        return
    fix = "install torch and bitsandbytes again, built for this machine's driver"
    try:
        done = _ran([sys.executable, "-m", "alignzoo.model.stack"], max(visit.seconds, 180.0))
    except subprocess.TimeoutExpired:
        yield Finding("fault", "stack", "torch and bitsandbytes do not come back", fix)
        return
    for row in (_last_json(line) for line in done.stdout.splitlines()):
        if row:
            level: Level = "note" if row["works"] is None else "ok" if row["works"] else "fault"
            yield Finding(level, row["what"], row["words"], fix if level == "fault" else "")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no words"])[-1]
        yield Finding("fault", "stack", f"ended with code {done.returncode}: {last}", fix)


Check = Callable[[Visit], Iterable[Finding]]
CHECKS: tuple[Check, ...] = (_plugins, _names, _files, _state, _locked, _stack)
"""One question each."""
