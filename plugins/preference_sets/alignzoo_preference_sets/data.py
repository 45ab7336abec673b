"""Where a source's rows come from, which of them are asked for, and what became of each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from alignzoo.interfaces import Share
from alignzoo.records import Feedback, RecordError
from alignzoo.rows import ARCHIVES, FORMATS, Fault, Placed, ReadError, format_of, rows_in
from alignzoo.tally import Tally
from alignzoo_preference_sets.fields import Aside, Row, Taken, Unfit, in_split
from alignzoo_preference_sets.hub import rows_of_set

TORN = "its prompt is on the other side of the split, in another group"
REMEMBERED = 200_000
"""Names of rows that are kept in mind to notice one that comes again: some megabytes, however long the file."""


@dataclass(frozen=True)
class Data:
    """A file, a folder or a set on the hub, and which of its rows are wanted."""

    path: str = ""
    """A file (jsonl, json, csv, tsv, each also .gz or .zst; parquet), a folder laid out like a set of the hub, or the name
    of a set on the hub."""
    subset: str = ""
    """The subset of a hub set or folder."""
    published: str = "train"
    """Which of the set's own splits is read, where it comes in splits."""
    revision: str = ""
    """The commit or branch of a hub set, so that it is the same tomorrow."""
    split: Literal["all", "train", "test"] = "all"
    """All rows, or one side of a split by prompt or thread: no group is on both, and no prompt."""
    test: Share = 0.1
    """The share of the groups that is on the test side."""
    seed: int = 0
    """Another one puts other groups on the test side."""
    limit: Annotated[int, Ge(0)] = 0
    """Stop after so many rows have been kept; 0 takes all."""

    def __post_init__(self) -> None:
        if self.path and self.local and not Path(self.path).exists():
            raise ValueError(f"there is no file or folder {self.path}")
        if self.split != "all" and not 0 < self.test < 1:
            raise ValueError(f"a split needs groups on both sides; test = {self.test:g} leaves none on one of them")

    @property
    def local(self) -> bool:
        """Whether the path is one of this computer; the hub's names have one slash at most, and no such ending."""
        path = Path(self.path)
        named = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", self.path) and not self.path.startswith(".")
        return path.exists() or not named or path.suffix in ARCHIVES or format_of(path) in FORMATS

    def rows(self) -> Iterator[Placed]:
        """Every row with its place, as it comes."""
        if not self.path:
            raise ReadError('say where the rows are: data.path = "pairs.jsonl"')
        path = Path(self.path)
        if path.is_file():
            return rows_in(path)
        return rows_of_set(self.path, self.subset, self.published, self.revision)

    def side(self, group: str) -> str:
        """The side that a group is on, whatever else is in the file."""
        place = int.from_bytes(hashlib.sha256(f"{self.seed}/{group}".encode()).digest()[:8]) / 2**64
        return "test" if place < self.test else "train"


def collected(data: Data, convert: Callable[[Row], Taken], tally: Tally) -> Iterator[Feedback]:
    """The records of all rows that are wanted; every row is accounted for in the tally."""
    return collected_from(data.rows(), data, convert, tally)


def collected_from(rows: Iterable[Placed], data: Data, convert: Callable[[Row], Taken], tally: Tally) -> Iterator[Feedback]:
    """The same, of rows that were brought into another form first."""
    seen, sides = Seen(), Sides(data)
    for place, cells in rows:
        tally.read += 1
        taken = _taken(place, cells, convert, tally)
        if taken is None:
            continue
        side = "" if data.split == "all" else sides.of(taken)
        if data.split not in ("all", side):
            tally.put_aside("on the other side of the split" if side else TORN, place)
            continue
        tally.kept += 1
        for notice in taken.notices:
            tally.notice(notice, place)
        if seen.before(taken.id):
            tally.notice("an id that was there before", place)
        split = side if side else "" if Path(data.path).is_file() else data.published
        yield from (in_split(record, split) for record in taken.records)
        if tally.kept == data.limit:
            return
    if tally.read and not tally.kept:
        raise ReadError(
            f"{data.path}: none of its rows can be used; is it the right file, and the right source for it?\n"
            + "\n".join(tally.lines())
        )


def _taken(place: str, cells: object, convert: Callable[[Row], Taken], tally: Tally) -> Taken | None:
    if isinstance(cells, Fault):
        tally.drop(cells.reason, place)
        return None
    try:
        return convert(Row(cells))  # type: ignore[arg-type]
    except (Unfit, RecordError) as unfit:
        tally.drop(str(unfit), place)
    except Aside as aside:
        tally.put_aside(str(aside), place)
    return None


@dataclass
class Sides:
    """Which side of a split a row is on: its group's. Where groups go by names, equal prompts may be in two of them: a prompt
    is on the side where it first came by, and a row that would bring it to the other is on neither. The side of a prompt that
    can no longer be kept in mind is its own, as if it were a group. So no group and no prompt is on both sides of any file."""

    data: Data
    prompts: dict[bytes, str] = field(default_factory=dict)

    def of(self, taken: Taken) -> str:
        """The side, or nothing where its prompt and its group are on different ones."""
        side = self.data.side(taken.group)
        if not taken.named:
            return side
        names = {bytes.fromhex(record.prompt.id) for record in taken.records}
        if any(self._known(name, side) != side for name in names):
            return ""
        self.prompts |= dict.fromkeys(names, side) if len(self.prompts) < REMEMBERED else {}
        return side

    def _known(self, name: bytes, side: str) -> str:
        """The side that a prompt is on already, if it is on one."""
        return self.prompts.get(name) or (side if len(self.prompts) < REMEMBERED else self.data.side(name.hex()))


@dataclass
class Seen:
    """Names that came by, the first so many of them."""

    names: set[bytes] = field(default_factory=set)

    def before(self, name: str) -> bool:
        if not name:
            return False
        short = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        if short in self.names:
            return True
        if len(self.names) < REMEMBERED:
            self.names.add(short)
        return False
