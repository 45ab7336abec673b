"""What came of one cell of a bench, and whether it may stand beside the others."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from alignzoo.lab import store
from alignzoo.lab.bench.serving import UNITS, each
from alignzoo.lab.plan import Plan
from alignzoo.lab.shelf import named_files, weights

Spent = Mapping[str, float]
_COUNTED = ("updates", "labels", "scores", "read", "written", "flops", "seconds")


@dataclass(frozen=True)
class Cell:
    """One run of a bench: an entry under a seed, or one trial of its tuning."""

    entry: str
    number: int
    kind: Literal["run", "trial"] = "run"

    def __str__(self) -> str:
        return f"{self.entry}/{self.number}" if self.kind == "run" else f"{self.entry}, trial {self.number}"


@dataclass(frozen=True)
class Outcome:
    """How a cell ended. It lies in the bench's folder as a small file, so that nobody has to look for it again."""

    state: Literal["done", "failed"]
    reason: str = ""
    """Why it failed, in one line."""
    trace: str = ""
    ground: Mapping[str, str] = field(default_factory=dict)
    """Digests of what must be the same for all that are compared: a key says with whom."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Digests of what the report reads."""
    spent: Mapping[str, float] = field(default_factory=dict)
    """What its training took, that of its own rewards too; never the start's, which is the same for all."""
    served: Mapping[str, float] = field(default_factory=dict)
    """What one of its answers costs."""
    start_served: Mapping[str, float] = field(default_factory=dict)
    stopped: str = ""
    seconds: float = 0.0
    """By the clock on the wall, from the first stage to the report."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """What tuning changed."""
    value: float | None = None
    """The mean score of its answers."""

    def row(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_row(cls, row: Any) -> Outcome:
        """That of a row; a TypeError or ValueError where the row is none."""
        told = cls(**row)
        words, tables = (told.reason, told.trace, told.stopped), (told.ground, told.files, told.changes)
        figures = (told.spent, told.served, told.start_served, {"seconds": told.seconds, "value": told.value or 0.0})
        right = told.state in ("done", "failed") and all(isinstance(one, str) for one in words)
        if not (right and all(isinstance(table, dict) for table in (*tables, *figures))):
            raise TypeError("no outcome")
        if not all(math.isfinite(value) for table in figures for value in table.values()):
            raise ValueError("an outcome's figures are finite")
        return told

    @property
    def whole(self) -> bool:
        """Whether it says of a finished run all that a report asks for."""
        served = {*UNITS, "scores"}
        counted = {*_COUNTED, "tokens", "peak_bytes"} <= set(self.spent)
        return bool(self.files) and counted and served <= set(self.served) and served <= set(self.start_served)


def read_from(files: store.Folder) -> dict[str, str]:
    """The digest of every file of a finished run that a report reads."""
    trainings = [files.train, files.start, *(of(number) for of in (files.reward, files.juror) for number in range(1, 10))]
    paths = [files.settings, files.answers, files.scores, files.judging, files.serving, files.opinions]
    paths += [files.root / "report.json", files.train.trail]
    paths += [path for training in trainings for path in (training.summary, training.updates)]
    return {str(path.relative_to(files.root)): store.file_digest(path) for path in paths if path.exists()}


def spent_in(files: store.Folder) -> dict[str, float]:
    """Training and the training of its rewards, together; the most memory of any."""
    rewards = [training for number in range(1, 10) if (training := files.reward(number)).done]
    ledgers = [store.read_json(training.summary)["ledger"] for training in (files.train, *rewards)]
    whole = {name: sum(ledger[name] for ledger in ledgers) for name in _COUNTED}
    whole["updates"] = ledgers[0]["updates"]  # those of a reward model are of another kind
    return {**whole, "tokens": whole["read"] + whole["written"], "peak_bytes": max(row["peak_bytes"] for row in ledgers)}


def ended(plan: Plan, files: store.Folder, seconds: float, changes: Mapping[str, Any]) -> Outcome:
    """The outcome of a run that has its report."""
    serving = store.read_json(files.serving)
    return Outcome(
        "done",
        ground=ground(plan, files),
        files=read_from(files),
        spent=spent_in(files),
        served=each(serving["policy"]),
        start_served=each(serving["start"]),
        stopped=store.read_json(files.train.summary)["stopped"],
        seconds=seconds,
        changes=changes,
        value=store.read_json(files.root / "report.json")["policy"]["mean"],
    )


# The same ground ----------------------------------------------------------------------------------------------------------


def ground(plan: Plan, files: store.Folder) -> dict[str, str]:
    """What must be the same, as digests; keys name who it must be the same for: everybody, or those with the same base, the
    same start, the same source of feedback, under the same seed."""
    table = plan.table()
    base = _digest(table["model"])
    start = _digest([base, table.get("start"), plan.seed])
    rows = store.read_rows(files.answers)
    first = [row for row in rows if row["who"] == "start"]
    told = {
        "prompts": _digest([row["prompt"] for row in first]),
        "decoding": _digest(table["answer"]),
        "judge": _digest(table.get("judge")),
        f"base {base}": _digest(weights(plan.model)),
        **{f"file {path}": digest for path, digest in named_files(_read(table)).items()},  # under every seed
        f"answers of the start {start}": _digest(first),
    }
    if plan.start:
        told[f"start {start}"] = store.read_json(files.start.summary)["adapter"]
    if plan.jury:
        trained = [store.read_json(files.juror(number).summary)["adapter"] for number in plan.trained_jury]
        told[f"jury {start}"] = _digest([table["jury"], trained])
    if plan.feedback:
        told[f"feedback {_digest([start, table['feedback']])}"] = store.file_digest(files.feedback)
    return told


def apart(ours: Outcome, others: Iterable[tuple[Cell, Outcome]]) -> str:
    """On what ground a finished cell does not stand beside another, in words; empty if it may be compared with all."""
    for cell, other in others:
        if differing := [key for key in ours.ground if other.ground.get(key, ours.ground[key]) != ours.ground[key]]:
            names = " and ".join(map(_told, differing))
            return (
                f"not on the same ground as {cell}: its {names} differ. Something changed between the two (a model, a plugin, "
                "the machine); start the bench in a new folder, or remove both runs to have them made again"
            )
    return ""


def _read(table: Mapping[str, Any]) -> list[Any]:
    """The settings of what is learned from and asked. (A reward may write the file that it names.)"""
    tables = [table.get("reward", []), table.get("jury", [])]
    rows = [row for several in tables for row in (several if isinstance(several, list) else [several])]
    return [*(table.get(place) for place in ("task", "start", "feedback", "answer")), *(row.get("feedback") for row in rows)]


def _told(key: str) -> str:
    """What a key says is the same, in words."""
    if key.startswith("file "):
        return key
    return key.partition(" ")[0] if " of " not in key else "answers of the start"


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def damaged(root: Path, outcome: Outcome) -> list[str]:
    """Files of a finished run that are gone or not what they were."""
    there = {name: (root / name) for name in outcome.files}
    return [name for name, path in there.items() if not path.exists() or store.file_digest(path) != outcome.files[name]]
