"""Asking an umpire which of two answers is better, and keeping what it says.

A verdict is kept under the hash of everything that it rests on: who judges, the prompt, and the two answers in the order shown.
So a report that is made again asks nothing again, a killed one goes on where it was, and a new contestant is asked about alone.
The file is JSON lines:

    {"key": "…", "first": 0.83}        the probability that the answer shown first is the better one; null: it cannot be read
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignzoo.interfaces import Comparing
from alignzoo.lab.claims import claimed
from alignzoo.lab.compare.umpire import UmpireError
from alignzoo.lab.store import named, write_text
from alignzoo.records import Completion, Prompt

_AT_ONCE = 64
"""Verdicts that are asked together, and written down when they are there."""


@dataclass(frozen=True)
class Case:
    """Two answers to a prompt, in the order shown, as put to somebody."""

    key: str
    prompt: Prompt
    first: Completion
    second: Completion

    @classmethod
    def put(cls, umpire: str, prompt: Prompt, first: Completion, second: Completion) -> Case:
        """The case that `umpire`, who is known by a digest, is to decide."""
        content = [umpire, prompt.id, *([said.text, said.finished] for said in (first, second))]
        return cls(hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24], prompt, first, second)


@dataclass
class Kept:
    """The verdicts in a file."""

    path: Path
    says: dict[str, float] = field(default_factory=dict)
    damaged: int = 0
    """Lines that are none: a kill may tear the last one."""

    @classmethod
    def at(cls, path: Path) -> Kept:
        """Read as far as it can be read."""
        kept = cls(path)
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                row = json.loads(line)
                kept.says[str(row["key"])] = checked(math.nan if row["first"] is None else float(row["first"]))
            except (ValueError, KeyError, TypeError, RecursionError):
                kept.damaged += 1
        return kept

    def add(self, cases: Sequence[Case], said: Sequence[float]) -> None:
        """Append them, all at once, behind whatever a kill may have torn."""
        lines = "".join(_line(case.key, p) for case, p in zip(cases, said, strict=True))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with named(self.path), self.path.open("ab+") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                lines = lines if file.read(1) == b"\n" else f"\n{lines}"
            file.write(lines.encode())
        self.says |= zip((case.key for case in cases), said, strict=True)


def decided(
    cases: Sequence[Case], path: Path, name: str, seated: Callable[[], Comparing], tell: Callable[[str], None]
) -> dict[str, float]:
    """What is said of each case, by its key. The umpire is only seated, with whatever it reads with, if there is anything to
    ask; of two processes that ask at the same file one does, and the other waits."""
    with claimed(path.with_suffix(".claim"), tell):
        kept = Kept.at(path)
        if kept.damaged:
            tell(f"{path}: {kept.damaged} of its lines cannot be read; what they said is asked again, where it is needed")
            write_text(path, "".join(map(_line, kept.says, kept.says.values())))  # told once
        fresh = [case for case in cases if case.key not in kept.says]
        if fresh:
            there = f", {len(cases) - len(fresh):,} are kept" if len(fresh) < len(cases) else ""
            tell(f"duels: {name} is asked for {len(fresh):,} verdict{'s' * (len(fresh) > 1)}{there}")
            judge = seated()
            for first in range(0, len(fresh), _AT_ONCE):
                some = fresh[first : first + _AT_ONCE]
                kept.add(some, _asked(judge, some, name))
                if (first // _AT_ONCE) % 10 == 9:
                    tell(f"duels: {first + len(some):,} of {len(fresh):,}")
    return {case.key: kept.says[case.key] for case in cases}


def _asked(judge: Comparing, cases: Sequence[Case], name: str) -> list[float]:
    given: Any = judge.prefer([case.prompt for case in cases], [case.first for case in cases], [case.second for case in cases])
    if len(given) != len(cases):
        raise UmpireError(f"duels: {name} gave {len(given)} verdicts for {len(cases)} pairs; tell its author")
    try:
        return [checked(float(p)) for p in given]
    except (TypeError, ValueError) as error:
        raise UmpireError(f"duels: {name} gave a verdict that is no probability: {error}; tell its author") from None


def _line(key: str, p: float) -> str:
    return json.dumps({"key": key, "first": None if math.isnan(p) else p}) + "\n"


def checked(p: float) -> float:
    if not (math.isnan(p) or 0 <= p <= 1):
        raise ValueError(f"{p!r} is not between 0 and 1")
    return p
