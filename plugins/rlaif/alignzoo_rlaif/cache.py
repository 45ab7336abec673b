"""What an endpoint has answered, kept on disk as JSON lines: one line for each answer, appended at once, so that a run that is
killed, or whose endpoint is gone, has lost nothing and pays for nothing twice."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any


@dataclass
class Cache:
    """The answers of one model at one endpoint, by what it was sent; and what all that was ever sent has cost."""

    path: Path
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    cost: float = 0.0
    requests: int = 0
    damaged: int = 0
    """Lines that cannot be read: a kill may tear the last one."""
    _lock: Lock = field(default_factory=Lock)

    @classmethod
    def at(cls, folder: Path, url: str, model: str) -> Cache:
        """The file of this model, read as far as it can be read."""
        plain = "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in model)
        cache = cls(folder / f"{plain[:60]}-{sha256(f'{url} {model}'.encode()).hexdigest()[:8]}.jsonl")
        if cache.path.exists():
            for line in cache.path.read_bytes().splitlines():
                cache._take(line)
        return cache

    def put(self, key: str, answer: Mapping[str, Any] | None, cost: float) -> None:
        """Keep an answer; or, without one, only that a request may have been paid for."""
        row = {"key": key, "answer": answer, "cost": cost}
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torn = self.path.exists() and self.path.stat().st_size and not _ends_in_newline(self.path)
            line = ("\n" if torn else "") + json.dumps(row, ensure_ascii=False) + "\n"
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, line.encode())  # one write: two runs that share the file do not tear each other's lines
            finally:
                os.close(file)
            self._count(row)

    def _take(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            self._count({"key": str(row["key"]), "answer": row["answer"], "cost": float(row["cost"])})
        except (ValueError, KeyError, TypeError):
            self.damaged += 1

    def _count(self, row: dict[str, Any]) -> None:
        self.cost += row["cost"]
        self.requests += 1
        if row["answer"] is not None:
            self.answers[row["key"]] = dict(row["answer"])


def key_of(body: Mapping[str, Any]) -> str:
    """A name for what is sent: model, messages and every setting."""
    return sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
