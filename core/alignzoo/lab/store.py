"""A run's folder: plain files, each written whole or not at all, each read by the next stage.

run.toml          every setting resolved; versions; plugins with the digest of their bytes
start/            what the start was made from and came to, laid out like train/
reward/, reward2/ what each trained reward was made from and came to, laid out like train/
feedback.jsonl    the records that the optimizer learns from
held.jsonl        those that are held back from it, to ask each group of annotators what it thinks of the policy
train/            updates.jsonl, adapter/, checkpoint/, summary.json
opinions.jsonl    what each group thinks of it
answers.jsonl     what start and policy say to the test prompts
serving.json      what those answers cost
scores.jsonl      what the judge says of the answers
judging.json      what a reader of these scores has to know of judge and prompts
report.json/.md   the table
"""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import math
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignzoo.records import Feedback, RecordError, from_json, to_json

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMEDY = "delete the file to have it made again, if a run wrote it; if it is yours, mend that line"


class StoreError(ValueError):
    """A file of a run that cannot be used."""


@dataclass(frozen=True)
class Training:
    """The files of one training."""

    folder: Path

    @property
    def feedback(self) -> Path:
        return self.folder / "feedback.jsonl"

    @property
    def updates(self) -> Path:
        return self.folder / "updates.jsonl"

    @property
    def trail(self) -> Path:
        return self.folder / "trail.jsonl"

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def summary(self) -> Path:
        return self.folder / "summary.json"

    @property
    def done(self) -> bool:
        return self.summary.exists()


@dataclass(frozen=True)
class Folder:
    """The files of one run."""

    root: Path

    @property
    def settings(self) -> Path:
        return self.root / "run.toml"

    def plugin(self, file: str) -> Path:
        """The run's own copy of a plugin in a file."""
        return self.root / "plugins" / Path(file).name

    @property
    def feedback(self) -> Path:
        return self.root / "feedback.jsonl"

    @property
    def start(self) -> Training:
        return Training(self.root / "start")

    def reward(self, number: int) -> Training:
        """Of the first, second, … reward that is trained."""
        return Training(self.root / ("reward" if number == 1 else f"reward{number}"))

    def juror(self, number: int) -> Training:
        """Of the first, second, … juror, if it is trained."""
        return Training(self.root / ("jury" if number == 1 else f"jury{number}"))

    def feedbacks(self) -> list[Path]:
        """The feedback that the policy, or a reward that it hears, learned from."""
        rewards = (self.reward(number).feedback for number in range(1, 10))
        return [path for path in (self.feedback, *rewards) if path.exists()]

    @property
    def train(self) -> Training:
        return Training(self.root / "train")

    @property
    def opinions(self) -> Path:
        return self.root / "opinions.jsonl"

    @property
    def answers(self) -> Path:
        return self.root / "answers.jsonl"

    @property
    def serving(self) -> Path:
        return self.root / "serving.json"

    @property
    def scores(self) -> Path:
        return self.root / "scores.jsonl"

    @property
    def judging(self) -> Path:
        """What a reader of the scores has to know of judge and prompts."""
        return self.root / "judging.json"

    @property
    def report(self) -> Path:
        return self.root / "report.md"


def held_beside(feedback: Path) -> Path:
    """Where that of a source lies which was held back from learning."""
    return feedback.with_name("held.jsonl")


def tally_beside(feedback: Path) -> Path:
    """Where it is told what a source came across, and of which groups of annotators its records are."""
    return feedback.with_suffix(".tally.json")


def learned_from(files: Folder) -> list[Path]:
    """The feedback that the policy, or a reward that it raises, learned from: a reward of weight 0 is heard and not raised."""
    rewards = read_settings(files).get("reward", []) if files.settings.exists() else []
    trained = [one for one in (rewards if isinstance(rewards, list) else [rewards]) if "feedback" in one]
    heard = {files.reward(number).feedback for number, one in enumerate(trained, start=1) if one.get("weight") == 0}
    return [path for path in files.feedbacks() if path not in heard]


def groups_in(feedbacks: Iterable[Path]) -> dict[str, int]:
    """How many records of each group are in these files, as it was counted when they were gathered."""
    counts: dict[str, int] = {}
    for tally in map(tally_beside, feedbacks):
        for group, count in (read_json(tally).get("groups", {}) if tally.exists() else {}).items():
            counts[group] = counts.get(group, 0) + count
    return dict(sorted(counts.items()))


@contextmanager
def named(path: Path) -> Iterator[None]:
    """What is written here has a name also where the system does not tell it: where the disk is full, or the file too large.
    Another error may be of whoever makes what is written."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            error.filename = error.filename or str(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    with named(path), draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_report(path: Path, content: Any) -> None:
    """JSON for others to read, which has no number without end, nor one that is none: they are words there, those of TOML."""
    write_json(path, worded(content))


def worded(content: Any) -> Any:
    """The same, with words in the place of numbers that JSON does not have."""
    if isinstance(content, Mapping):
        return {name: worded(part) for name, part in content.items()}
    if isinstance(content, list | tuple):
        return [worded(part) for part in content]
    return str(content) if isinstance(content, float) and not math.isfinite(content) else content


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: not JSON: {error}") from None


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_summary(files: Training) -> dict[str, Any]:
    """What a training came to."""
    summary = read_json(files.summary)
    if not isinstance(summary, dict) or not {"ledger", "optimizer"} <= set(summary):
        raise StoreError(f"{files.summary} is damaged: it does not say what was spent; delete the folder to train again")
    return summary


def read_settings(files: Folder) -> dict[str, Any]:
    """The table of run.toml: every setting resolved, and under `made_with` what the run was made with."""
    try:
        table = tomllib.loads(files.settings.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{files.root} is no run: there is no run.toml in it") from None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{files.settings}: not TOML: {error}") from None
    if "name" not in table:
        raise StoreError(f"{files.settings} is damaged: it does not say what the run is called")
    return table


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a file that a run wrote; a damaged line is named."""
    with suppress(OSError, ValueError):  # all at once takes half the time; line by line can name the damaged one
        lines = path.read_text(encoding="utf-8").strip().split("\n")
        whole: list[dict[str, Any]] = json.loads(f"[{','.join(lines)}]")
        if len(whole) == len(lines):
            return whole
    rows = []
    for number, line in _lines(path):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise StoreError(f"{path}:{number}: not JSON: {error}; {_REMEDY}") from None
    return rows


@contextmanager
def uncollected() -> Iterator[None]:
    """For who reads many rows: no circle is among them, and to look for one takes a fifth of the time."""
    looks = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looks:
            gc.enable()


def write_feedback(path: Path, records: Iterable[Feedback]) -> int:
    """Write records as they come, in constant memory, and put the file in place when the last is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    count = 0
    with named(path), draft.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(to_json(record) + "\n")
            count += 1
        file.flush()
        os.fsync(file.fileno())
    if not count:
        draft.unlink()
        raise StoreError("the feedback source gave no record at all; look at its settings with `alignzoo info`")
    os.replace(draft, path)
    return count


def read_feedback(path: Path) -> Iterator[Feedback]:
    for number, line in _lines(path):
        try:
            yield from_json(line)
        except RecordError as error:
            raise StoreError(f"{path}:{number}: {error}") from None


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Those that say something, with their numbers in the file."""
    if not path.exists():
        raise StoreError(f"{path} is not there")
    with path.open(encoding="utf-8") as file:
        try:
            yield from ((number, line) for number, line in enumerate(file, start=1) if line.strip())
        except UnicodeDecodeError as error:
            raise StoreError(f"{path}: not UTF-8 text: {error}; {_REMEDY}") from None
