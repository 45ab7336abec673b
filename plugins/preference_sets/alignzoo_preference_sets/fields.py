"""A row's cells, asked for by name and type; what is missing or wrong is said by name, and the row is left out for it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from statistics import fmean
from typing import Any

from alignzoo.records import Completion, Feedback, Prompt, Provenance, Ranking, is_whole


class Unfit(ValueError):
    """Why a row cannot be used. The words hold nothing of the row itself, so that like rows are counted together."""


class Aside(ValueError):
    """By which setting a sound row is left out."""


@dataclass(frozen=True)
class Taken:
    """What a row came to: records; the group (prompt, thread) that must stay on one side of a split; a name of its own where
    it has one; and what should be known of it."""

    group: str
    records: tuple[Feedback, ...]
    id: str = ""
    notices: tuple[str, ...] = ()
    named: bool = False
    """Whether the group goes by a name of its own, so that equal prompts may be in two of them."""


@dataclass(frozen=True)
class Row:
    """Cells, and where in the row they stand ("info.")."""

    cells: Mapping[str, Any]
    at: str = ""

    def has(self, name: str) -> bool:
        """Whether there is anything under this name; null is nothing."""
        return self.cells.get(name) is not None

    def text(self, name: str) -> str:
        """Words, without the space around them, and not empty."""
        words = self.maybe(name)
        if not words:
            raise Unfit(f"'{self.at}{name}' is {'empty' if self.has(name) else self._missing(name)}")
        return words

    def maybe(self, name: str) -> str:
        """Words, or nothing where they are missing. A day or a moment, which Arrow makes of words that look like one, is its
        words again."""
        if not self.has(name):
            return ""
        value = self.cells[name]
        if isinstance(value, date):
            return value.isoformat()
        if not isinstance(value, str):
            raise self._wrong(name, "text")
        return whole_text(value, f"{self.at}{name}").strip()

    def said(self, name: str) -> tuple[str, bool]:
        """Words, or a bare value (true, 3) that lost its quotes on the way; and whether it had."""
        value = self.cells.get(name)
        if isinstance(value, bool | int | float):
            return str(value), True
        return self.text(name), False

    def number(self, name: str) -> float:
        """A finite number; also one that is written as text, as in a CSV file, or by its digits, as parquet may have it."""
        value = self.cells.get(name)
        if value is None:
            raise Unfit(f"'{self.at}{name}' is {self._missing(name)}")
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise self._wrong(name, "a number") from None
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise self._wrong(name, "a number")
        if (isinstance(value, int) and abs(value) > 2**53) or not math.isfinite(value):
            raise Unfit(f"'{self.at}{name}' must be a finite number")
        return float(value)

    def whole(self, name: str) -> int:
        """A whole number; 3.0 is one, as parquet writes it where others are missing."""
        number = self.number(name)
        if not number.is_integer():
            raise Unfit(f"'{self.at}{name}' must be a whole number")
        return int(number)

    def one_of(self, name: str, *values: int) -> int:
        number = self.whole(name)
        if number not in values:
            raise Unfit(f"'{self.at}{name}' must be {' or '.join(map(str, values))}")
        return number

    def yes(self, name: str) -> bool:
        """True or false; also 1 and 0, also as text."""
        value = self.cells.get(name)
        if value is None:
            raise Unfit(f"'{self.at}{name}' is {self._missing(name)}")
        told = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}.get(str(value).strip().lower())
        if told is None or not isinstance(value, bool | int | float | str):
            raise self._wrong(name, "true or false")
        return told

    def table(self, name: str) -> Row:
        value = self.cells.get(name)
        if not isinstance(value, Mapping):
            raise self._wrong(name, "a table") if self.has(name) else Unfit(f"'{self.at}{name}' is {self._missing(name)}")
        return Row(value, f"{self.at}{name}.")

    def tables(self, name: str) -> tuple[Row, ...]:
        return tuple(Row(item, f"{self.at}{name}[].") for item in self._list(name, Mapping, "tables"))

    def texts(self, name: str, empty: bool = False) -> tuple[str, ...]:
        """A list of words, none of them empty unless that may be."""
        found = tuple(whole_text(item, f"{self.at}{name}").strip() for item in self._list(name, str, "texts"))
        if not empty and not all(found):
            raise Unfit(f"'{self.at}{name}' holds an empty text")
        return found

    def numbers(self, name: str) -> tuple[float, ...]:
        return tuple(
            Row({name: item}, self.at).number(name) for item in self._list(name, int | float | str | Decimal, "numbers")
        )

    def _list(self, name: str, kind: Any, what: str) -> Iterator[Any]:
        value = listed(self.cells.get(name))
        if value is None:
            raise self._wrong(name, "a list") if self.has(name) else Unfit(f"'{self.at}{name}' is {self._missing(name)}")
        if not all(isinstance(item, kind) for item in value):
            raise Unfit(f"'{self.at}{name}' must be a list of {what}")
        return iter(value)

    def _missing(self, name: str) -> str:
        return "null" if name in self.cells else "missing"

    def _wrong(self, name: str, wanted: str) -> Unfit:
        return Unfit(f"'{self.at}{name}' must be {wanted}, not {kind_of(self.cells[name])}")


def listed(value: Any) -> list[Any] | tuple[Any, ...] | None:
    """A list; also one that stands in a text as JSON, as tables of commas have it. Nothing where there is none."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list | tuple) else None


def whole_text(words: str, name: str) -> str:
    """The words, if they can be written to a file."""
    if not is_whole(words):
        raise Unfit(f"'{name}' holds half of a surrogate pair, which is no text")
    return words


def kind_of(value: Any) -> str:
    """The kind of a JSON value, in words."""
    names: dict[type, str] = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return "null" if value is None else names.get(type(value), "a table" if isinstance(value, Mapping) else "something else")


def different(first: str, second: str) -> tuple[Completion, Completion]:
    """Two answers to choose between."""
    if first == second:
        raise Unfit("both answers are the same")
    return Completion(first), Completion(second)


def in_order(
    prompt: Prompt, answers: Sequence[str], places: Sequence[float], who: Provenance
) -> tuple[Ranking, tuple[str, ...]]:
    """Answers by their places, the lowest first, level places being a tie. An answer that is there twice is there once, at the
    mean of its places: nobody prefers a text to itself."""
    at: dict[str, list[float]] = {}
    for answer, place in zip(answers, places, strict=True):
        at.setdefault(answer, []).append(place)
    if len(at) < 2:
        raise Unfit("all answers are the same" if len(answers) > 1 else "a ranking needs two answers or more")
    twice = [own for own in at.values() if len(own) > 1]
    level = ("an answer is there twice, at the same place: it counts once",) * any(len(set(own)) == 1 for own in twice)
    apart = ("an answer is there twice, at different places: their mean counts",) * any(len(set(own)) > 1 for own in twice)
    means = {answer: fmean(own) for answer, own in at.items()}
    levels, order = sorted(set(means.values())), sorted(means, key=means.__getitem__)
    ranks = tuple(levels.index(means[answer]) for answer in order)
    return Ranking(prompt, tuple(map(Completion, order)), ranks, who), level + apart


def in_split(record: Feedback, split: str) -> Feedback:
    """The record, with the split that it is in where it does not say so itself."""
    if record.provenance.split or not split:
        return record
    return replace(record, provenance=replace(record.provenance, split=split))
