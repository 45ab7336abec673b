"""Files of lines, whatever they are packed in: a dump is larger than the memory of any machine.

A piece at a time is unpacked, cut at line ends, and forgotten; a thread does so while the last lines are read. A piece may
end within a letter, a file without a line end, and an archive without its end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alignzoo_reddit_votes.ahead import ahead
from alignzoo_reddit_votes.rows import RowError
from alignzoo_reddit_votes.unpacking import CutError, packing, unpacked

LONGEST = 16 << 20
"""Bytes of a line. A post has 40,000 characters at most."""
WHOLE = 256 << 20
"""Bytes of a file that is one document."""
BLOCK = 1 << 19
"""Bytes of lines that are read, or go to another process, at once: as many at least."""
AHEAD = 4
"""Blocks that are unpacked before they are asked for."""
_PLAIN = 1 << 20
BOM = b"\xef\xbb\xbf"


def pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked. A `CutError` comes after all that could be unpacked."""
    if how := packing(path):
        yield from unpacked(path, how)
        return
    with path.open("rb") as file:
        while piece := file.read(_PLAIN):
            yield piece


def blocks(path: Path) -> Iterator[bytes | None]:
    """Whole lines, as many at once as are unpacked at once; None for a line that is too long to be held. A `CutError` comes
    after all whole lines and the piece of one that is left."""
    return ahead(_texts(path, BLOCK), AHEAD)


def _texts(path: Path, least: int) -> Iterator[bytes | None]:
    """Whole lines, so many bytes at least; what is left at the end, if only nothing; None for a line that is too long."""
    held: list[bytes] = []
    size, begun, ended, skipping, cut = 0, False, False, False, None
    for piece in _reaching_the_end(path):
        if isinstance(piece, CutError):
            cut = piece
            break
        if skipping:  # the rest of a line that was given up
            _, found, piece = piece.partition(b"\n")
            skipping = not found
        end = piece.rfind(b"\n")
        held.append(piece)
        size, ended = size + len(piece), ended or end >= 0
        if ended and size >= least:
            text, rest = _parted(held, end)
            yield text if begun else text.removeprefix(BOM)
            held, size, begun, ended = [rest], len(rest), True, False
        if size > LONGEST:
            yield None
            held, size, begun, skipping = [], 0, True, True
    text = b"".join(held)
    yield text if begun else text.removeprefix(BOM)
    if cut:
        raise cut


def _parted(pieces: Sequence[bytes], end: int) -> tuple[bytes, bytes]:
    """The whole lines in some pieces, and what is behind them. The last piece has its last line end at `end`, or none."""
    if end < 0:
        lines, _, rest = b"".join(pieces).rpartition(b"\n")
        return lines, rest
    *others, last = pieces
    return b"".join((*others, memoryview(last)[:end])), last[end + 1 :]


def _reaching_the_end(path: Path) -> Iterator[bytes | CutError]:
    """The pieces of a file, and then the error if it is cut."""
    try:
        yield from pieces(path)
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
