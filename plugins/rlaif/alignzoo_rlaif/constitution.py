"""A constitution: principles as data, read from a file that anybody can write.

A principle can be asked in three ways: what is wrong with a reply under it (critique), a better reply (revision), and which of
two replies is the better one (comparison). Whoever gives only its `text` gets all three in plain words; a principle without a
text has just the questions that were written down, and serves just the uses that these make possible.

Three sorts of file are read: TOML, plain text with a principle on each line, and the JSON or JSON lines in which Anthropic
published the 16 + 16 principles of Constitutional AI (Bai et al. 2022, https://arxiv.org/abs/2212.08073).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from random import Random
from typing import Any, Literal

from alignzoo.interfaces import Positive
from alignzoo.records import is_whole
from alignzoo.seam.settings import SettingsError, build

Use = Literal["revision", "comparison", "instruction"]

CRITIQUE = "Identify specific ways in which the last reply goes against this principle: {text}"
REVISION = "Rewrite the last reply so that it keeps to this principle: {text}"
COMPARISON = "Which reply keeps better to this principle: {text}"


class ConstitutionError(ValueError):
    """A constitution that cannot be read, or that lacks what is asked of it."""


@dataclass(frozen=True)
class Principle:
    """One thing that replies are held to, and how to ask about it."""

    id: str
    """What it is called where it was applied."""
    text: str = ""
    """The principle itself, a sentence. Questions that are not given are made of it; as an instruction it stands as it is."""
    critique: str = ""
    """Asks what is wrong with a reply."""
    revision: str = ""
    """Asks for a better reply."""
    comparison: str = ""
    """Asks which of two replies is better."""
    weight: Positive = 1.0
    """How often it is drawn, and how much it counts among others."""

    def __post_init__(self) -> None:
        if not self.id.strip() or len(self.id.splitlines()) > 1:
            raise ValueError("a principle needs an id of one line: it is named in every record that it was applied in")
        if not all(is_whole(str(getattr(self, part.name))) for part in fields(self)):
            raise ValueError("it holds half of a surrogate pair, which is no text")
        if not math.isfinite(self.weight):
            raise ValueError("a weight is a number that others can be weighed against, and not without end")
        if bool(self.critique) != bool(self.revision) and not self.text:
            raise ValueError("critique and revision go together; give both, or a text to make the other of")
        if not (self.text.strip() or self.critique.strip() or self.comparison.strip()):
            raise ValueError("a principle says nothing; give a text, or critique and revision, or a comparison")

    @property
    def asked(self) -> Principle:
        """This principle with every question that its text can give."""
        if not self.text:
            return self
        return replace(
            self,
            critique=self.critique or CRITIQUE.format(text=self.text),
            revision=self.revision or REVISION.format(text=self.text),
            comparison=self.comparison or COMPARISON.format(text=self.text),
        )

    def serves(self, use: Use) -> bool:
        words = {"revision": self.asked.revision, "comparison": self.asked.comparison, "instruction": self.text}
        return bool(words[use])


@dataclass(frozen=True)
class Constitution:
    """Principles, and what they are called together."""

    name: str
    principles: tuple[Principle, ...]

    def __post_init__(self) -> None:
        if not self.principles:
            raise ConstitutionError(f"{self.name}: there is no principle in it; write at least one")
        if not math.isfinite(sum(principle.weight for principle in self.principles)):
            raise ConstitutionError(
                f"{self.name}: the weights together are too large to draw by; what counts is how they compare"
            )
        ids = [principle.id for principle in self.principles]
        if doubled := sorted({id for id in ids if ids.count(id) > 1}):
            raise ConstitutionError(f"{self.name}: two principles are called '{doubled[0]}'; give each an id of its own")

    def serving(self, use: Use) -> tuple[Principle, ...]:
        """The principles that can be put to this use, with all their questions; an error if there is none."""
        if fit := tuple(principle.asked for principle in self.principles if principle.serves(use)):
            return fit
        lacking = {"revision": "critique and revision", "comparison": "a comparison", "instruction": "a text"}[use]
        raise ConstitutionError(f"{self.name}: no principle in it has {lacking}, or a text that serves; add one")

    def only(self, ids: Sequence[str]) -> Constitution:
        """The same with just these principles; all of them if none is named."""
        known = [principle.id for principle in self.principles]
        if odd := [id for id in ids if id not in known]:
            raise ConstitutionError(f"{self.name}: there is no principle '{odd[0]}'; there is {', '.join(known)}")
        return replace(self, principles=tuple(p for p in self.principles if p.id in ids)) if ids else self

    @property
    def digest(self) -> str:
        """A short name for exactly these words."""
        rows = [[getattr(principle, f.name) for f in fields(principle)] for principle in self.principles]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:8]

    @property
    def label(self) -> str:
        """How it is named in a record."""
        return f"{self.name}@{self.digest}"


def drawn(principles: Sequence[Principle], dice: Random) -> Principle:
    """One of them at random, by weight."""
    return dice.choices(principles, [principle.weight for principle in principles])[0]


# From a file ------------------------------------------------------------------------------------------------------------


def read_constitution(path: str | Path) -> Constitution:
    """The constitution in a file: .toml, .json or .jsonl, or text with a principle on each line."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise ConstitutionError(f"there is no constitution {file}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConstitutionError(f"{file.name}: not UTF-8 text: {error}") from None
    if file.suffix == ".toml":
        name, principles = _from_toml(text, file)
    elif file.suffix in (".json", ".jsonl"):
        name, principles = file.stem, list(_from_json(text, file.name))
    else:
        name, principles = file.stem, list(_from_lines(text))
    if not principles:
        raise ConstitutionError(f"{file.name}: there is no principle in it; write at least one (see [[principle]])")
    return Constitution(name, tuple(principles))


def _from_toml(text: str, file: Path) -> tuple[str, list[Principle]]:
    """`name`, and a table [[principle]] for each."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConstitutionError(f"{file.name}: not TOML: {error}") from None
    for key in table:
        if key not in ("name", "principle"):
            place = _line_of(text, rf"\s*(\[+\s*)?{re.escape(key)}\b")
            raise ConstitutionError(f"{file.name}:{place}: '{key}' is not known here; there is name, and [[principle]] tables")
    rows, name = table.get("principle", []), table.get("name", file.stem)
    if not isinstance(name, str) or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConstitutionError(f"{file.name}: name is a text, and every principle a table of its own, [[principle]]")
    return name, [_principle(row, text, number, file.name) for number, row in enumerate(rows)]


def _principle(row: Mapping[str, Any], text: str, number: int, file: str) -> Principle:
    """One table; an error says the line: that of an unknown key, or else of the table's head."""
    heads = [place for place, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*principle\s*\]\]", line)]
    head = heads[number] if number < len(heads) else 1
    known = {f.name for f in fields(Principle)}
    odd = next((key for key in row if key not in known), "")
    place = _line_of(text, rf'\s*"?{re.escape(odd)}"?\s*=', head) if odd else head
    try:
        return build(Principle, row, "principle", file=f"{file}:{place}")
    except SettingsError as error:
        raise ConstitutionError(str(error)) from None


def _line_of(text: str, pattern: str, after: int = 1) -> int:
    """The first line from `after` on that begins so."""
    lines = enumerate(text.splitlines(), 1)
    return next((place for place, line in lines if place >= after and re.match(pattern, line)), after)


def _from_lines(text: str) -> Iterator[Principle]:
    """A principle on each line; empty lines, and those that begin with #, are for the reader."""
    for place, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield Principle(f"line-{place}", line.strip())


def _from_json(text: str, file: str) -> Iterator[Principle]:
    """Anthropic's principles. A row is {"key", "prompt", "edit_request"} or {"key", "instruction"}; a JSON file may also hold
    one table with the keys outside. Their words stay as they are, without the labels between which they stand."""
    for place, key, row in _rows(text, file):
        where = f"{file}:{place}"
        if not isinstance(row, dict):
            raise ConstitutionError(f"{where}: a principle is a table; got {type(row).__name__}")
        if odd := sorted(set(row) - {"kind", "key", "prompt", "edit_request", "instruction"}):
            raise ConstitutionError(
                f"{where}: '{odd[0]}' is not known here; a row has key, and prompt and edit_request, or instruction"
            )
        prompt = row.get("prompt", "")
        asked = "".join(prompt) if isinstance(prompt, list) and all(isinstance(part, str) for part in prompt) else prompt
        words = (row.get("key", key), asked, row.get("edit_request", ""), row.get("instruction", ""))
        if not all(isinstance(word, str) for word in words):
            raise ConstitutionError(f"{where}: key, prompt, edit_request and instruction are texts")
        id, asked, edit, instruction = words
        try:
            yield Principle(
                id,
                critique=_unlabelled(asked, "CritiqueRequest", "Critique"),
                revision=_unlabelled(edit, "RevisionRequest", "Revision"),
                comparison=instruction.strip().removesuffix("Options:").strip(),
            )
        except ValueError as error:
            raise ConstitutionError(f"{where}: {error}") from None


def _rows(text: str, file: str) -> Iterator[tuple[int, str, Any]]:
    """Each row with its line and the key that stands outside, if one does."""
    if file.endswith(".jsonl"):
        for place, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield place, f"line-{place}", _parsed(line, f"{file}:{place}")
        return
    whole = _parsed(text, file)
    if not isinstance(whole, dict | list):
        raise ConstitutionError(f"{file}: principles stand in a list or a table; got {type(whole).__name__}")
    pairs = whole.items() if isinstance(whole, dict) else ((f"row-{n}", row) for n, row in enumerate(whole, 1))
    for key, row in pairs:
        yield _line_of(text, rf'.*"{re.escape(key)}"'), key, {"instruction": row} if isinstance(row, str) else row


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # the former also for a number of too many digits
        raise ConstitutionError(f"{where}: not JSON: {error}") from None


def _unlabelled(text: str, before: str, after: str) -> str:
    return text.strip().removeprefix(f"{before}:").removesuffix(f"{after}:").strip()
