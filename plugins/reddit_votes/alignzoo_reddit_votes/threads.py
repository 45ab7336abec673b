"""Rows put together by post, in bounded memory: comments on one post lie months and gigabytes apart.

Rows are written to files by the number of their post, and each file is read back alone; one that is too large is divided
again. In memory are a file at a time and never less than one thread. The folder is private and goes with the run; it holds
no name of a user.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO

from alignzoo_reddit_votes.votes import Comment, Post

Row = Post | Comment
FILES = 64
WAITING = 64
"""Rows that wait for each file, so that they are packed at once."""
LARGE = 16 << 20
"""Bytes of a file that is divided again before it is read."""
DEEPEST = 5
"""FILES ** DEEPEST is more than there are posts: what is still too large then is one thread."""


@dataclass
class Heap:
    """Rows on disk, divided by post."""

    folder: Path
    depth: int = 0
    waiting: list[list[tuple[object, ...]]] = field(default_factory=lambda: [[] for _ in range(FILES)])
    open: dict[int, BinaryIO] = field(default_factory=dict)
    """The files that are being written: opening one takes as long as packing what is put into it."""

    def put(self, row: Row) -> None:
        place = row.key // FILES**self.depth % FILES
        rows = self.waiting[place]
        rows.append((isinstance(row, Post), *row))
        if len(rows) == WAITING:
            self._write(place)

    def threads(self) -> Iterator[list[Row]]:
        """The rows of each post, in the order in which they came; the posts in an order of their numbers."""
        for place in range(FILES):
            self._write(place)
        for file in self.open.values():
            file.close()
        for place in range(FILES):
            path = self._path(place)
            if path.exists():
                yield from self._threads(path)
                path.unlink()

    def _threads(self, path: Path) -> Iterator[list[Row]]:
        if path.stat().st_size > LARGE and self.depth < DEEPEST:
            deeper = Heap(path.with_suffix(".d"), self.depth + 1)
            deeper.folder.mkdir()
            for row in _read(path):
                deeper.put(row)
            path.write_bytes(b"")
            yield from deeper.threads()
            deeper.folder.rmdir()
            return
        by_post = attrgetter("key")
        for _, thread in groupby(sorted(_read(path), key=by_post), key=by_post):
            yield list(thread)

    def _path(self, place: int) -> Path:
        return self.folder / f"{place:02}"

    def _write(self, place: int) -> None:
        if rows := self.waiting[place]:
            block = marshal.dumps(rows)
            if place not in self.open:
                self.open[place] = self._path(place).open("xb")
            self.open[place].write(len(block).to_bytes(8, "big") + block)
            rows.clear()


def _read(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        while head := file.read(8):
            for is_post, *values in marshal.loads(file.read(int.from_bytes(head, "big"))):
                yield (Post if is_post else Comment)._make(values)
