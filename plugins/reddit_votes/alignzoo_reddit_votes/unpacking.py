"""Packed files, unpacked a piece at a time: no archive, however tight it is packed, makes much at once.

A piece is made in one call of a library that works beside Python, so that a thread of its own can unpack while another
reads. Archives may be frames one after another, and end in zeros; one that ends before its end gives what is there, and
then a `CutError`.
"""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

WINDOW = 2**31
"""The largest window of a frame: "zstd --long=31", as in the dumps. Smaller limits refuse them."""
PIECE = 1 << 20
"""Bytes that are made at once, at most. A thread that unpacks waits for its turn between two pieces, so it should not be
short; and of longer ones the system gives and takes the pages each time, which costs more than it saves."""
_PACKED = 256 << 10
"""Bytes that are read at once."""
_BLOCK = 128 << 10
"""Bytes that a block of zstandard makes, at most."""
_LITTLE = 2 << 10
_FRAME, _SKIPPABLE = b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"
_MARKS = {_FRAME: "zstd", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_FOREIGN = {b"7z\xbc\xaf": "7z", b"PK\x03\x04": "zip"}


class DumpError(ValueError):
    """A file that cannot be read as it is."""


class CutError(DumpError):
    """An archive that ends before its end."""


class Packing(NamedTuple):
    """How the files of one format are unpacked."""

    frame: Callable[[], Any]
    """Makes what unpacks one frame; it has `eof` and `unused_data`, in all four libraries."""
    mouthfuls: Callable[[BinaryIO], Iterator[bytes]]
    """What to give to a frame at once."""
    drawn: Callable[[Any, bytes], Iterator[bytes]]
    """What a frame makes of it."""


def library(module: str) -> Any:
    """A library of the extra `votes`, or what to do about its absence."""
    if find_spec(module) is None:
        raise DumpError(f"the library '{module}' is not installed; get it by: pip install 'alignzoo[votes]'")
    return import_module(module)


def packing(path: Path) -> Packing | None:
    """How a file is packed, by its first bytes, if it is. What cannot be read at all is an error."""
    with path.open("rb") as file:
        head = file.read(8)
    for mark, name in _FOREIGN.items():
        if head.startswith(mark):
            raise DumpError(f"{path} is a {name} archive; unpack it, or pack its files with zstd or gzip")
    if head.startswith(_WIDE):
        raise DumpError(f"{path} is written in UTF-16; convert it: iconv -f UTF-16 -t UTF-8")
    match "zstd" if head[1:4] == _SKIPPABLE else next((name for mark, name in _MARKS.items() if head.startswith(mark)), ""):
        case "zstd":
            made = library("zstandard").ZstdDecompressor(max_window_size=WINDOW)
            return Packing(lambda: made.decompressobj(write_size=PIECE), _zstd_blocks, _at_once)
        case "gzip":
            return Packing(lambda: zlib.decompressobj(wbits=31), _bytes, _as_zlib)
        case "bzip2":
            return Packing(bz2.BZ2Decompressor, _bytes, _as_bz2)
        case "xz":
            return Packing(lzma.LZMADecompressor, _bytes, _as_bz2)
        case _:
            return None


def unpacked(path: Path, how: Packing) -> Iterator[bytes]:
    """The bytes of a packed file, a piece at a time. A `CutError` comes after all that could be unpacked."""
    with path.open("rb", buffering=_PACKED) as file:
        frame, begun = how.frame(), False
        for packed in how.mouthfuls(file):
            while packed := packed if begun else packed.lstrip(b"\0"):
                begun = True
                try:
                    yield from how.drawn(frame, packed)
                except Exception as error:  # each library has a class of its own
                    raise DumpError(f"{path} is damaged near byte {file.tell()}: {error}; fetch it again") from None
                packed = b""
                if frame.eof:
                    packed, frame, begun = frame.unused_data, how.frame(), False
    if begun:
        raise CutError(f"{path} ends before its end; fetch it again")


def _bytes(file: BinaryIO, size: int | None = None) -> Iterator[bytes]:
    """So many bytes of a file, or all, some at a time."""
    left = sys.maxsize if size is None else size
    while packed := file.read(min(left, _PACKED)):
        left -= len(packed)
        yield packed


def _zstd_blocks(file: BinaryIO) -> Iterator[bytes]:
    """So many blocks of a frame at once that they make a piece at most: its library cannot be told to stop. What is no
    frame goes to it as it is, a little at a time: it knows what is wrong."""
    while (mark := file.read(4)) == _FRAME or mark[1:] == _SKIPPABLE:
        if mark == _FRAME:
            yield from _zstd_frame(file)
        else:
            size = file.read(4)
            yield mark + size
            yield from _bytes(file, int.from_bytes(size, "little"))
    while mark:
        yield mark
        mark = file.read(_LITTLE)


def _zstd_frame(file: BinaryIO) -> Iterator[bytes]:
    """One frame, of which the mark was read: RFC 8878, sections 3.1.1.1 and 3.1.1.2."""
    flags = file.read(1)
    bits = int.from_bytes(flags, "little")
    single = bits >> 5 & 1
    header = file.read((1 - single) + (0, 1, 2, 4)[bits & 3] + (single, 2, 4, 8)[bits >> 6])
    blocks, last = [_FRAME + flags + header], False
    while not last:
        head = file.read(3)
        word = int.from_bytes(head, "little")
        last, one_byte = len(head) < 3 or bool(word & 1), word >> 1 & 3 == 1
        blocks.append(head + file.read(1 if one_byte else word >> 3))
        if last or len(blocks) * _BLOCK >= PIECE:
            yield b"".join(blocks)
            blocks = []
    if bits & 4:
        yield file.read(4)  # the checksum


def _at_once(frame: Any, packed: bytes) -> Iterator[bytes]:
    yield frame.decompress(packed)


def _as_zlib(frame: Any, packed: bytes) -> Iterator[bytes]:
    while packed:
        yield frame.decompress(packed, PIECE)
        packed = frame.unconsumed_tail


def _as_bz2(frame: Any, packed: bytes) -> Iterator[bytes]:
    yield frame.decompress(packed, PIECE)
    while not (frame.eof or frame.needs_input):
        yield frame.decompress(b"", PIECE)
