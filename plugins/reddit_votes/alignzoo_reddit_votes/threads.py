"""Rows put together by post, in bounded memory: comments on one post lie months and gigabytes apart.

Rows are written to files by the number of their post, and each file is read back alone; one that is too large is divided
again. In memory are a file at a time and never less than one thread. The folder is private and goes with the run; it holds
no name of a user.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO

from alignzoo_reddit_votes.votes import Comment, Post

Row = Post | Comment
FILES = 64
TOGETHER = 4096
"""Rows that are packed at once, where they do not come by the block."""
LARGE = 16 << 20
"""Bytes of a file that is divided again before it is read."""
BUFFER = 1 << 13
"""Bytes of an open file that are held back. From Python 3.14 on it would be 128 kB of each."""
DEEPEST = 5
"""FILES ** DEEPEST is more than there are posts: what is still too large then is one thread."""


@dataclass
class Heap:
    """Rows on disk, divided by post."""

    folder: Path
    depth: int = 0
    open: dict[int, BinaryIO] = field(default_factory=dict)
    """The files that are being written: opening one takes as long as packing what is put into it."""

    def put(self, blocks: Mapping[int, bytes]) -> None:
        """Rows as `packed` packs them."""
        for place, block in blocks.items():
            if place not in self.open:
                self.open[place] = self._path(place).open("xb", BUFFER)
            self.open[place].write(len(block).to_bytes(8, "big") + block)

    def put_all(self, rows: Iterable[Row]) -> None:
        """Rows as they are."""
        rows = iter(rows)
        while some := list(islice(rows, TOGETHER)):
            self.put(packed(some, self.depth))

    def files(self) -> Iterator[Path]:
        """Files of whole threads, none too large to be read at once, in an order of the posts' numbers."""
        for file in self.open.values():
            file.close()
        for place in range(FILES):
            path = self._path(place)
            if path.exists():
                yield from self._divided(path)

    def _divided(self, path: Path) -> Iterator[Path]:
        if path.stat().st_size > LARGE and self.depth < DEEPEST:
            deeper = Heap(path.with_suffix(".d"), self.depth + 1)
            deeper.folder.mkdir()
            deeper.put_all(_read(path))
            path.unlink()
            yield from deeper.files()
        else:
            yield path

    def _path(self, place: int) -> Path:
        return self.folder / f"{place:02}"


def packed(rows: Iterable[Row], depth: int = 0) -> dict[int, bytes]:
    """Rows as a heap writes them, by its files."""
    places: dict[int, list[tuple[object, ...]]] = {}
    part = FILES**depth
    for row in rows:
        places.setdefault(row.key // part % FILES, []).append((type(row) is Post, *row))
    return {place: marshal.dumps(those) for place, those in places.items()}


def threads_in(path: Path) -> Iterator[list[Row]]:
    """The rows of each post in a file, in the order in which they came. The file goes: nobody needs it again."""
    by_post = attrgetter("key")
    rows = sorted(_read(path), key=by_post)
    path.unlink()
    for _, thread in groupby(rows, key=by_post):
        yield list(thread)


def _read(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        while head := file.read(8):
            for row in marshal.loads(file.read(int.from_bytes(head, "big"))):
                yield (Post if row[0] else Comment)._make(row[1:])
