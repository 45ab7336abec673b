"""A file of one's own: its columns become records, by name or by a guess that is told.

prompt, chosen, rejected                 → comparisons
prompt, response_a, response_b, winner   → comparisons, with ties
conversation_a, conversation_b, winner   → the same
prompt, completions, ranks (or scores)   → rankings
prompt, completion, score (or label)     → ratings
messages; or prompt, completion          → demonstrations
kind, …                                  → records as alignzoo writes them
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, Literal

from alignzoo.interfaces import Asking
from alignzoo.records import Feedback, RecordError, record_from_row
from alignzoo.rows import Fault
from alignzoo_preference_sets.columns import Columns, ColumnsError, Form, resolved
from alignzoo_preference_sets.data import Data, collected
from alignzoo_preference_sets.fields import Row, Taken, Unfit
from alignzoo_preference_sets.mapped import Verdicts, compared, demonstrated, judged, opening_of, ranked, rated
from alignzoo_preference_sets.shapes import AS_IT_IS, Shape, shape_of

_GIVES = {
    "comparisons": ("comparison",),
    "verdicts": ("comparison",),
    "rankings": ("ranking",),
    "ratings": ("rating",),
    "demonstrations": ("demonstration",),
    "records": ("demonstration", "comparison", "ranking", "rating", "critique"),
}
_LOOKED_AT = 20
"""Rows that are looked at first, to read the columns from them."""
Names = tuple[str, ...]


@dataclass(frozen=True)
class Looked:
    """What the first rows show: how all of them become plain; then the columns of the first sound one, and of all of them."""

    shape: Shape
    own: Names
    every: Names


@dataclass(frozen=True)
class File:
    """Feedback of one's own, as JSON lines, CSV or parquet."""

    asks: ClassVar[tuple[str, ...]] = ()

    data: Data = Data()
    """Where it is."""

    form: Literal["guess", "comparisons", "verdicts", "rankings", "ratings", "demonstrations", "records"] = "guess"
    """What a row is; guessed from the columns."""

    columns: Columns = Columns()
    """Which column is what; guessed where it is plain."""

    verdicts: Verdicts = Verdicts()
    """How a winner is told."""

    value: str = "overall"
    """What ratings are ratings of."""

    source: str = ""
    """The name of the feedback in its records; the file's name if empty."""

    licence: str = ""
    """Its licence."""

    def __post_init__(self) -> None:
        if not self.data.path:
            raise ValueError('say where the feedback is: data.path = "pairs.jsonl"')
        if Path(self.data.path).is_file():
            self._resolved()  # so that columns that are not there, or cannot be told apart, are found before a model is loaded
        elif self.form == "guess":
            raise ValueError(f'{self.data.path} is no file that can be looked into; say what it holds: form = "comparisons"')

    @property
    def gives(self) -> tuple[str, ...]:
        return _GIVES[self._resolved()[0] if self.form == "guess" else self.form]

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """The records of each row; what was guessed is noticed first, and what nobody reads: a guess may have missed it."""
        form, columns = self._resolved()
        guessed = {part: name for part, name in columns.named().items() if getattr(self.columns, part) != name}
        if guessed:
            told = ", ".join(f"{part} = '{name}'" for part, name in guessed.items())
            rest = [f"'{name}'" for name in self._looked.every if name not in columns.named().values()]
            told += f"; not read: {', '.join(rest)}" if rest else ""
            told += f"; {shape.told}" if (shape := self._looked.shape).told else ""
            asking.tally.notice(f"{form}; columns that were guessed: {told}", f"{Path(self.data.path).name}:1")
        return collected(self.data, partial(self._watched, form, columns), asking.tally)

    def _watched(self, form: Form, columns: Columns, row: Row) -> Taken:
        """A row's records, and a column that nobody looked at when it was settled what the columns are."""
        row = Row(self._looked.shape.plain(row.cells))
        taken, known = self.taken(form, columns, row), self._looked.every
        new = [] if form == "records" else [name for name in row.cells if name not in known and row.has(name)]
        told = tuple(f"a column that the first {_LOOKED_AT} rows do not have: '{name}'" for name in new)
        return replace(taken, notices=taken.notices + told) if told else taken

    def taken(self, form: Form, columns: Columns, row: Row) -> Taken:
        """A row's records, once it is known what the columns are."""
        source = self.source or Path(self.data.path).name.partition(".")[0]
        match form:
            case "comparisons":
                return compared(row, columns, source, self.licence)
            case "verdicts":
                return judged(row, columns, self.verdicts, source, self.licence)
            case "rankings":
                return ranked(row, columns, source, self.licence)
            case "ratings":
                return rated(row, columns, self.value, source, self.licence)
            case "demonstrations":
                return demonstrated(row, columns, source, self.licence)
            case _:
                return recorded(row)

    @cached_property
    def _looked(self) -> Looked:
        return looked_at(self.data, self.columns, self._said)

    @property
    def _said(self) -> str:
        return "" if self.form == "guess" else self.form

    def _resolved(self) -> tuple[Form, Columns]:
        try:
            return resolved(self._looked.own, self.columns, self._said, self._looked.every)
        except ColumnsError as error:
            raise ColumnsError(f"{self.data.path}: {error}") from None


def looked_at(data: Data, said: Columns, form: str) -> Looked:
    """The shape and the columns of a file, by its first rows: some rows lack what others have."""
    first, shape, seen = "", AS_IT_IS, list[Names]()
    for place, cells in islice(data.rows(), _LOOKED_AT):
        if isinstance(cells, Fault):
            first = first or f"{place}: {cells.reason}"
            continue
        shape = shape if seen else shape_of(cells, said, form)
        try:
            seen += [names] if (names := tuple(map(str, shape.plain(cells)))) else []
        except Unfit as unfit:
            first = first or f"{place}: {unfit}"
    if seen:
        return Looked(shape, seen[0], tuple(dict.fromkeys(chain.from_iterable(seen))))
    if not first:
        raise ColumnsError("it has no rows")
    raise ColumnsError(
        f"no sound row among the first {_LOOKED_AT}, so no columns ({first}); JSON has an object in each line, or one array of "
        "them, and a table a header and a row in each line"
    )


def recorded(row: Row) -> Taken:
    """A record as `feedback.jsonl` holds it."""
    try:
        record = record_from_row(_said(row.cells))
    except RecordError as error:
        raise Unfit(f"no sound record: {str(error).partition('; got')[0]}") from None
    return Taken(opening_of(record.prompt.turns) or record.prompt.text, (record,))


def _said(value: Any) -> Any:
    """The value without what is null: where rows have different fields, parquet writes null for those that a row lacks. A
    moment is its words."""
    if isinstance(value, Mapping):
        return {name: _said(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, date):
        return value.isoformat()
    return [_said(inner) for inner in value] if isinstance(value, list) else value
