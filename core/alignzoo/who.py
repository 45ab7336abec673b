"""Who judged, of which group they are, and where the answer that they chose was shown: read off a record's provenance.

Simulated crowds write it into the note; real sets name annotators, and a file says which group each is of.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from alignzoo.records import Provenance, is_whole

Place = Literal["note", "annotator", "source", "split", "licence"]
FIRST = ("first", "left", "1", "a")
"""What a note may call the answer that was shown first."""


class WhoError(ValueError):
    """Annotators or groups that cannot be told, or that nobody belongs to."""


@dataclass(frozen=True)
class Who:
    """How the group of an annotator is told, and what was shown first."""

    file: str = ""
    """Names the group of each annotator: a JSON object, or CSV with the columns annotator and group. Whoever is not in it is
    asked for by the pattern."""
    read: Place = "note"
    """Where the pattern is looked for."""
    pattern: str = r"^group ([^;]+)"
    """A regular expression whose first bracket is the group."""
    shown: str = r"\bchose the (\w+)"
    """A regular expression on the note whose first bracket tells which of two answers was chosen: "first", "left", "1" or "a";
    anything else is the second."""

    def __post_init__(self) -> None:
        for name in ("pattern", "shown"):
            _check_pattern(name, getattr(self, name))
        self.named()

    def named(self) -> Mapping[str, str]:
        """Group by annotator, as the file has it."""
        return _groups_in(self.file, _bytes_of(self.file)) if self.file else {}

    def group(self, told: Provenance) -> str:
        """The group of whoever judged; empty where nothing tells it."""
        named = self.named()
        if told.annotator in named:
            return named[told.annotator]
        found = re.search(self.pattern, getattr(told, self.read))
        return (found[1] or "").strip() if found else ""

    def chose_first(self, told: Provenance) -> bool | None:
        """Whether the answer shown first was chosen; None where nobody wrote it down."""
        found = re.search(self.shown, told.note)
        return None if not found or not found[1] else found[1].lower() in FIRST


def _bytes_of(file: str) -> tuple[int, int]:
    """What changes when the file does."""
    if not Path(file).is_file():
        raise WhoError(f"there is no file {file} that would name groups")
    about = Path(file).stat()
    return about.st_mtime_ns, about.st_size


@lru_cache(maxsize=8)
def _groups_in(file: str, _: tuple[int, int]) -> Mapping[str, str]:
    """Group by annotator, of a JSON object or a CSV file. It is asked for at every record, and read once."""
    path = Path(file)
    said = path.read_bytes()
    try:
        text = said.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = said.count(b"\n", 0, error.start) + 1
        raise WhoError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8, and not packed") from None
    return _of_json(path, text) if text.lstrip().startswith("{") else _of_csv(path, text)


def _of_json(path: Path, text: str) -> dict[str, str]:
    try:
        pairs = json.loads(text, object_pairs_hook=tuple)  # a table would keep the last of two that contradict each other
    except json.JSONDecodeError as error:
        raise WhoError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number of too many digits, too many brackets
        raise WhoError(f"{path}: not JSON that can be read: {error}") from None
    return _of_pairs((f"{path}:{_line_of(text, name)}", name, group) for name, group in pairs)


def _of_csv(path: Path, text: str) -> dict[str, str]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if missing := {"annotator", "group"} - set(rows.fieldnames or ()):
            raise WhoError(f"{path}:1: no column '{min(missing)}'; a file of groups has the columns annotator and group")
        return _of_pairs((f"{path}:{rows.line_num}", row["annotator"], row["group"]) for row in rows)
    except csv.Error as error:
        raise WhoError(f"{path}:{rows.reader.line_num}: no row of a table: {error}") from None


def _of_pairs(told: Iterable[tuple[str, Any, Any]]) -> dict[str, str]:
    groups: dict[str, str] = {}
    for place, name, group in told:
        if not name or not isinstance(group, str) or not group:
            raise WhoError(f"{place}: a line names an annotator and a group, which is text; got {name!r} and {group!r}")
        if not is_whole(name + group):
            raise WhoError(f"{place}: half of a surrogate pair, which is no text")
        if groups.setdefault(name, group) != group:
            raise WhoError(f"{place}: '{name}' is in two groups; leave one of them")
    return groups


def _line_of(text: str, name: str) -> int:
    """The last line of a JSON text that begins a pair with this name."""
    found = max(text.rfind(json.dumps(name, ensure_ascii=ascii)) for ascii in (False, True))
    return text.count("\n", 0, max(found, 0)) + 1


def _check_pattern(name: str, pattern: str) -> None:
    try:
        brackets = re.compile(pattern).groups
    except re.error as error:
        raise WhoError(f"{name}: {pattern!r} is no regular expression: {error}") from None
    if not brackets:
        raise WhoError(f"{name}: {pattern!r} has no bracket; what stands in its first one is read")
