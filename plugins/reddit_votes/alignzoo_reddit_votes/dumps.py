"""Files of lines, whatever they are packed in: a dump is larger than the memory of any machine.

A thread unpacks into one block of memory after another, of which there are few, while the last ones are read. A line may
begin in one block and end in the next, a file end without a line end, and an archive without its end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

from alignzoo_reddit_votes.ahead import ahead
from alignzoo_reddit_votes.rows import RowError
from alignzoo_reddit_votes.unpacking import CutError, unpacked

LONGEST = 16 << 20
"""Bytes of a line. A post has 40,000 characters at most."""
WHOLE = 256 << 20
"""Bytes of a file that is one document."""
PIECE = 1 << 20
"""Bytes that are read at once of a file that is no lines."""
BLOCK = 2 << 20
"""Bytes that are unpacked, and read, at once. Between two blocks the thread that unpacks asks for its turn, so they should
not be short; and they should all find room in a processor's cache."""
AHEAD = 3
"""Blocks that are unpacked before they are asked for."""
BOM = b"\xef\xbb\xbf"


class Lines(NamedTuple):
    """Whole lines, one behind another, in memory that is used again once the next are asked for."""

    held: bytes | bytearray
    start: int
    end: int
    """Where the last line ends; its line end is not among them."""
    ended: bool = True
    """Whether there is one: behind the last line of a file there may be none, and of one that is cut there is none."""

    @property
    def text(self) -> bytes:
        return bytes(memoryview(self.held)[self.start : self.end])


def pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked. A `CutError` comes after all that could be unpacked."""
    room = memoryview(bytearray(PIECE))
    for count in unpacked(path, lambda: room):
        yield bytes(room[:count])


def blocks(path: Path) -> Iterator[Lines | None]:
    """Whole lines, a block at a time; None for a line that is too long to be held. A `CutError` comes after all whole lines
    and the piece of one that is left."""
    return ahead(_without_mark(_blocks(path, AHEAD + 1)), AHEAD)


def _blocks(path: Path, count: int) -> Iterator[Lines | None]:
    """Whole lines, in so many blocks of memory in turn, one for each that is given; what is left at the end, if only
    nothing; None for a line that is too long."""
    memory = cycle([bytearray(BLOCK) for _ in range(count)])
    held, size, start, skipping, cut = next(memory), 0, 0, False, None

    def room() -> memoryview:
        return memoryview(held)[size:]

    for put in _reaching_the_end(unpacked(path, room)):
        if isinstance(put, CutError):
            cut = put
            break
        size += put
        if skipping:  # the rest of a line that was given up
            start = held.find(b"\n", 0, size) + 1
            size, skipping = size if start else 0, not start
        if size < len(held):
            continue
        end = held.rfind(b"\n", start)
        rest = held[max(end + 1, start) :]
        if end >= 0:
            yield Lines(held, start, end)
            held = next(memory)
        if len(rest) > LONGEST:
            yield None
            rest, skipping = bytearray(), True
        if len(rest) >= len(held):
            held = bytearray(min(2 * len(rest), LONGEST + 1))  # for this line: what is used again and again stays small
        held[: len(rest)] = rest
        size, start = len(rest), 0
    end = held.rfind(b"\n", start, size)
    if end >= 0:
        yield Lines(held, start, end)
    yield Lines(held, max(end + 1, start), size, ended=False)
    if cut:
        raise cut


def _without_mark(blocks: Iterator[Lines | None]) -> Iterator[Lines | None]:
    """A mark of the byte order is no part of the first line."""
    for block in islice(blocks, 1):
        yield block._replace(start=len(BOM)) if block and block.held.startswith(BOM, 0, block.end) else block
    yield from blocks


def _reaching_the_end(unpacking: Iterator[int]) -> Iterator[int | CutError]:
    """How many bytes were put in place, and then the error if the file is cut."""
    try:
        yield from unpacking
    except CutError as error:
        yield error


def parsed(line: bytes | None, longest: int = LONGEST) -> Any:
    """What a line says, or a `RowError`; None is one that was too long to be held."""
    if line is None or len(line) > longest:
        raise RowError(f"a line of more than {longest >> 20} MB")
    if fast is not None:
        try:
            return fast(line)
        except ValueError:
            pass  # the standard library has the last word: it takes half surrogates and NaN, which fields then refuse
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError:
        raise RowError("not UTF-8") from None
    except RecursionError:
        raise RowError("JSON that is nested too deeply") from None
    except ValueError:
        raise RowError("not JSON, or cut short") from None


fast: Callable[[bytes], Any] | None = import_module("orjson").loads if find_spec("orjson") else None
"""The faster parser, where it is installed."""
