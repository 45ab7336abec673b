"""A block of lines, read: its rows as they go to the heap, and what was counted on the way.

Nothing here remembers an earlier block, so that blocks can be read in several processes at once, and whole files of the heap
be compared. What they give comes back in the order of the dump: it is the same however many processes there were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from alignzoo.records import Comparison
from alignzoo.tally import Tally
from alignzoo_reddit_votes.dumps import LONGEST, WHOLE, parsed
from alignzoo_reddit_votes.harvest import NO_POST, Harvest, Scores
from alignzoo_reddit_votes.rows import Reader, RowError, rows_in
from alignzoo_reddit_votes.skim import Passed, Skim
from alignzoo_reddit_votes.threads import Row, packed, threads_in
from alignzoo_reddit_votes.votes import Comment, Counts, Post

Kind = Literal["posts", "threads", "comments"]
Seen = tuple[Tally, Counts, Mapping[tuple[str, int], Scores]]
STRAY = "a post among the comments: name this file under threads"


class Block(NamedTuple):
    """Lines of a file that must be read, or all of one that is one document."""

    file: int
    lines: Sequence[tuple[int, bytes | None]]
    """With their numbers, 0 for a document; None is a line that is too long."""
    passed: Sequence[Passed] = ()
    """Lines beside them that need not be read."""


class Read(NamedTuple):
    """What a block held."""

    rows: Mapping[int, bytes]
    """Packed, by the file of the heap that they belong to."""
    eligible: list[bytes]
    """Ids of posts whose comments may count."""
    seen: Seen


class Compared(NamedTuple):
    """What the threads in a file of the heap gave."""

    comparisons: list[Comparison]
    seen: Seen


@dataclass(frozen=True)
class Reading:
    """How the blocks of some files are read."""

    harvest: Harvest
    """What it was told to do; what it saw is of no matter."""
    reader: Reader
    kind: Kind

    def __call__(self, block: Block) -> Read:
        harvest = self.harvest.part()
        eligible: list[bytes] = []
        rows: list[Row] = []
        for row in harvest.admitted(self._rows(block, harvest)):
            if isinstance(row, Post):
                if self.kind == "comments":
                    harvest.tally.drop(STRAY, harvest.at(row.place))
                    continue
                if not row.fault:
                    eligible.append(row.id.encode())
            rows.append(row)
        return Read(packed(rows), eligible, (harvest.tally, harvest.counts, harvest.days))

    def _rows(self, block: Block, harvest: Harvest) -> Iterator[Post | Comment]:
        """The posts and comments of a block. What cannot be read is counted and passed over."""
        tally, file, read = harvest.tally, block.file, self.reader
        for rule, count, numbers in block.passed:
            tally.read += count
            harvest.pass_over(rule, ((file, number) for number in numbers), count)
        for number, line in block.lines:
            place = (file, number)
            try:
                for item, row in enumerate(rows_in(parsed(line, LONGEST if number else WHOLE)), 1):
                    place = (file, number or item)
                    tally.read += 1
                    try:
                        yield read(row, place)
                    except RowError as error:
                        tally.drop(str(error), harvest.at(place))
            except RowError as error:
                tally.read += 1
                tally.drop(str(error), harvest.at(place))


def skim_of(kind: Kind, harvest: Harvest, posts: AbstractSet[bytes]) -> Skim:
    """Which lines of a file need not be read; of comments only those on these posts must be."""
    rules, stand_in = harvest.rules, bool(harvest.site.missing_post)
    if kind == "posts":
        # where a missing post has a stand-in, one that is left aside must be known not to be missing
        return Skim("self_post" if rules.applies("self_post") and not stand_in else "")
    if kind == "threads":
        return Skim()
    return Skim("", "nested" if rules.applies("nested") else "", "" if stand_in else NO_POST, posts)


@dataclass(frozen=True)
class Comparing:
    """How a file of the heap becomes comparisons."""

    harvest: Harvest
    """What it was told to do; what it saw is of no matter."""

    def __call__(self, path: Path) -> Compared:
        harvest = self.harvest.part()
        found = [one for thread in threads_in(path) for one in harvest.of_thread(thread)]
        return Compared(found, (harvest.tally, harvest.counts, harvest.days))
