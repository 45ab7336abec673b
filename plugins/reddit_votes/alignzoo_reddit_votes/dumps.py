"""Files of lines, whatever they are packed in: a dump is larger than the memory of any machine.

A piece at a time is unpacked, cut at line ends, and forgotten. Dumps of Reddit are packed with zstandard and a window of
2 GiB; a piece may end within a letter, a file without a line end, and an archive without its end.
"""

from __future__ import annotations

import bz2
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from alignzoo_reddit_votes.rows import RowError

WINDOW = 2**31
"""The largest window of a frame: "zstd --long=31", as in the dumps. Smaller limits refuse them."""
LONGEST = 16 << 20
"""Bytes of a line. A post has 40,000 characters at most."""
WHOLE = 256 << 20
"""Bytes of a file that is one document."""
BLOCK = 1 << 16
"""Bytes of lines that are read at once: so few that they stay near the processor, from unpacking to parsing."""
PACKET = 1 << 20
"""Bytes of lines that go to another process at once."""
_PLAIN = 1 << 20
_PACKED = 2 << 10
"""Bytes that are unpacked at once: the worst archive makes 64 MB of them."""
_MARKS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
BOM, _WIDE = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_FOREIGN = {b"7z\xbc\xaf": "7z", b"PK\x03\x04": "zip"}


class DumpError(ValueError):
    """A file that cannot be read as it is."""


class CutError(DumpError):
    """An archive that ends before its end."""


class Unpacker(Protocol):
    """What the libraries of all four formats have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def library(module: str) -> Any:
    """A library of the extra `votes`, or what to do about its absence."""
    if find_spec(module) is None:
        raise DumpError(f"the library '{module}' is not installed; get it by: pip install 'alignzoo[votes]'")
    return import_module(module)


def packing(path: Path) -> str:
    """How a file is packed, by its first bytes; empty if it is not. What cannot be read at all is an error."""
    with path.open("rb") as file:
        head = file.read(8)
    for mark, name in _FOREIGN.items():
        if head.startswith(mark):
            raise DumpError(f"{path} is a {name} archive; unpack it, or pack its files with zstd or gzip")
    if head.startswith(_WIDE):
        raise DumpError(f"{path} is written in UTF-16; convert it: iconv -f UTF-16 -t UTF-8")
    return next((name for mark, name in _MARKS.items() if head.startswith(mark)), "")


def unpacker(name: str) -> Callable[[], Unpacker]:
    """What makes an unpacker of one frame."""
    match name:
        case "zstd":
            made: Callable[[], Unpacker] = library("zstandard").ZstdDecompressor(max_window_size=WINDOW).decompressobj
            return made
        case "gzip":
            return lambda: zlib.decompressobj(wbits=31)
        case "bzip2":
            return bz2.BZ2Decompressor
        case _:
            return lzma.LZMADecompressor


def pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked. A `CutError` comes after all that could be unpacked."""
    name = packing(path)
    with path.open("rb") as file:
        if name:
            yield from _unpacked(path, file, unpacker(name))
        else:
            while piece := file.read(_PLAIN):
                yield piece


def _unpacked(path: Path, file: BinaryIO, make: Callable[[], Unpacker]) -> Iterator[bytes]:
    frame, begun = make(), False
    while piece := file.read(_PACKED):
        while piece:
            try:
                plain = frame.decompress(piece)
            except Exception as error:  # each library has a class of its own
                raise DumpError(f"{path} is damaged near byte {file.tell()}: {error}; fetch it again") from None
            piece, begun = b"", True
            if frame.eof:  # archives may be frames one after another, and end in zeros
                piece, frame, begun = frame.unused_data.lstrip(b"\0"), make(), False
            yield from (plain[at : at + _PLAIN] for at in range(0, len(plain), _PLAIN))
    if begun:
        raise CutError(f"{path} ends before its end; fetch it again")


def blocks(path: Path) -> Iterator[tuple[int, list[bytes] | None]]:
    """Lines by the block, each with the number of its first; None for a line that is too long to be held. A `CutError` comes
    after all whole lines and the piece of one that is left."""
    number = 1
    try:
        for text in _texts(path, BLOCK):
            lines = None if text is None else text.split(b"\n")
            yield number, lines
            number += 1 if lines is None else len(lines)
    except CutError as error:
        raise CutError(f"{error} (line {number - 1})") from None


def packets(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """The same, more at once and not divided: who sends them away need not look at each."""
    number = 1
    try:
        for text in _texts(path, PACKET):
            yield number, text
            number += 1 if text is None else text.count(b"\n") + 1
    except CutError as error:
        raise CutError(f"{error} (line {number - 1})") from None


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
