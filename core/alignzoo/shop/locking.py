"""A lock: which plugins an environment has, to the byte, so that another one, or this one later, can be held to it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from alignzoo import __version__
from alignzoo.seam.installed import Entry, entries
from alignzoo.seam.kept import kept
from alignzoo.seam.settings import SettingsError, build
from alignzoo.seam.source import digest
from alignzoo.shop import ShopError

NAME = "alignzoo.lock"


class LockError(ShopError):
    """What is installed is not what the lock says."""


@dataclass(frozen=True)
class Locked:
    """One plugin. `digest` is that of its package's bytes, `sha256` that of the wheel that it came in, if one is known."""

    id: str
    dist: str
    version: str
    digest: str
    sha256: str = ""


@dataclass(frozen=True)
class Lock:
    """All that is installed."""

    alignzoo: str
    plugin: tuple[Locked, ...] = ()


def lock() -> Lock:
    """What is installed now. A plugin without a file to its name has no digest."""
    state = kept()
    rows = []
    for entry in sorted(entries(), key=lambda entry: (entry.plugin, entry.distribution)):
        sha256 = state.wheel(entry.distribution, entry.version)
        rows.append(Locked(entry.plugin, entry.distribution, entry.version, _digest(entry), sha256))
    return Lock(__version__, tuple(rows))


def _digest(entry: Entry) -> str:
    try:
        return digest(entry.module.partition(".")[0])
    except OSError:
        return ""


def write(path: Path) -> Lock:
    import tomli_w

    found = lock()
    rows = [{key: value for key, value in asdict(row).items() if value} for row in found.plugin]
    path.write_text(tomli_w.dumps({"alignzoo": found.alignzoo, "plugin": rows}), encoding="utf-8")
    return found


def read(path: Path) -> Lock:
    try:
        return build(Lock, tomllib.loads(path.read_text(encoding="utf-8")), file=str(path))
    except FileNotFoundError:
        raise LockError(f"there is no lock {path}; alignzoo lock writes one") from None
    except SettingsError as error:
        raise LockError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise LockError(f"{path}: not TOML: {error}") from None


def changes(then: Lock, now: Lock) -> Iterator[str]:
    """In what an environment differs from its lock, for a reader."""
    if then.alignzoo != now.alignzoo:
        yield f"alignzoo: {then.alignzoo} in the lock, {now.alignzoo} here"
    there = {(row.id, row.dist): row for row in now.plugin}
    for row in then.plugin:
        here = there.pop((row.id, row.dist), None)
        if here is None:
            yield f"{row.id} ({row.dist} {row.version}) is in the lock and not here"
        elif here.version != row.version:
            yield f"{row.id}: {row.dist} {row.version} in the lock, {here.version} here"
        elif here.digest != row.digest:
            bytes_ = f"{row.digest[:12]}… there, {here.digest[:12]}… here"
            yield f"{row.id}: {row.dist} {row.version} has other bytes than in the lock: {bytes_}"
    yield from (f"{row.id} ({row.dist} {row.version}) is here and not in the lock" for row in there.values())


def verify(path: Path) -> Lock:
    """The lock, if it holds; a `LockError` with every difference if not."""
    then = read(path)
    if told := list(changes(then, lock())):
        raise LockError("\n".join(f"{path}: {line}" for line in told))
    return then
