"""Packed files, unpacked into memory that whoever reads provides: no archive, however tight it is packed, makes much at once.

Memory that is used again and again costs least: of what is new each time, the system must find the pages, and every copy
costs a seventh of what unpacking does. All four libraries work beside Python while they unpack, so that a thread of its own
can do so while another reads. Archives may be frames one after another, and end in zeros; one that ends before its end gives
what is there, and then a `CutError`.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

WINDOW = 2**31
"""The largest window of a frame: "zstd --long=31", as in the dumps. Smaller limits refuse them."""
_PACKED = 256 << 10
"""Bytes that are read at once."""
_BLOCKS = 32
"""Blocks of a frame that its library is given at once. It asks for its turn in Python each time that it has none left."""
_LARGEST = 128 << 10
"""Bytes of a block."""
_FRAME, _SKIPPABLE = b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"
_MARKS = {_FRAME: "zstd", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_FOREIGN = {b"7z\xbc\xaf": "7z", b"PK\x03\x04": "zip"}


class DumpError(ValueError):
    """A file that cannot be read as it is."""


class CutError(DumpError):
    """An archive that ends before its end."""


Room: TypeAlias = Callable[[], memoryview]
"""Where the next bytes go: one byte of room at least."""
Packing: TypeAlias = Callable[[BufferedReader, Room], Iterator[int]]
"""How the files of one format are unpacked: into one room after another, and how many bytes were put there. An `EOFError`
says that the file ends before its end, and a `Damage` that it is none of this format from here on."""


class Damage(Exception):
    """What a library says of what it cannot unpack."""


def library(module: str) -> Any:
    """A library of the extra `votes`, or what to do about its absence."""
    if find_spec(module) is None:
        raise DumpError(f"the library '{module}' is not installed; get it by: pip install 'alignzoo[votes]'")
    return import_module(module)


def packing(path: Path) -> Packing:
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
            return partial(_zstd, library("zstandard"))
        case "gzip":
            return partial(_frames, lambda: zlib.decompressobj(wbits=31), _as_zlib)
        case "bzip2":
            return partial(_frames, bz2.BZ2Decompressor, _as_bz2)
        case "xz":
            return partial(_frames, lzma.LZMADecompressor, _as_bz2)
        case _:
            return _as_it_is


def unpacked(path: Path, room: Room) -> Iterator[int]:
    """Unpack a file into one room after another, and tell how many bytes were put there. A `CutError` comes after all that
    could be unpacked."""
    how = packing(path)
    with path.open("rb", buffering=0) as raw:
        file: BufferedReader = BufferedReader(raw, _PACKED)
        try:
            yield from how(file, room)
        except EOFError:
            raise CutError(f"{path} ends before its end; fetch it again") from None
        except Damage as damage:
            raise DumpError(f"{path} is damaged near byte {file.tell()}: {damage}; fetch it again") from None


def _as_it_is(file: BufferedReader, room: Room) -> Iterator[int]:
    while count := file.readinto(room()):
        yield count


# Zstandard --------------------------------------------------------------------------------------------------------------


def _zstd(library: Any, file: BufferedReader, room: Room) -> Iterator[int]:
    """Frames, one of them at a time: a library that is given more does not tell where one ended."""
    made = library.ZstdDecompressor(max_window_size=WINDOW)
    while mark := _behind_zeros(file, 4):
        if mark == _FRAME:
            frame = _Frame(file)
            reader = made.stream_reader(frame)
            try:
                while count := reader.readinto(room()):
                    yield count
            except library.ZstdError as error:
                raise Damage(error) from None
            whole = frame.whole
        elif mark[1:] == _SKIPPABLE:
            whole = _skipped(file)
        else:
            raise Damage("no frame begins here")
        if not whole:
            raise EOFError


class _Frame:
    """A frame, of which the mark was read, as a file of its own: RFC 8878, sections 3.1.1.1 and 3.1.1.2."""

    def __init__(self, file: BufferedReader) -> None:
        self.file, self.whole, self._flush, self._parts = file, False, b"", self._walk()

    def read(self, _: int) -> bytes:
        """Some blocks, however long they are. Where it is cut, one byte more: a library that is given nothing keeps what it
        has made and found no room for. No block and no checksum is so short that this byte could make anything."""
        if (some := b"".join(islice(self._parts, _BLOCKS))) or self.whole:
            return some
        flush, self._flush = self._flush, b""
        return flush

    def _walk(self) -> Iterator[bytes]:
        read = self.file.read
        flags = read(1)
        bits = int.from_bytes(flags, "little")
        single = bits >> 5 & 1
        size = (1 - single) + (0, 1, 2, 4)[bits & 3] + (single, 2, 4, 8)[bits >> 6]
        header, last = read(size), False
        if len(header) < size:
            return
        yield _FRAME + flags + header
        self._flush = b"\0"
        while not last:
            head = read(3)
            word = int.from_bytes(head, "little")
            last, size = bool(word & 1), 1 if word >> 1 & 3 == 1 else word >> 3
            block = read(size)
            if len(head) < 3 or len(block) < size <= _LARGEST:
                return
            yield head + block  # what says that it is larger is damaged, and its library says so
        checksum = read(4) if bits & 4 else b""
        self.whole = len(checksum) == (bits & 4)
        yield checksum * self.whole


def _skipped(file: BufferedReader) -> bool:
    """Whether all of a frame was there that holds something else."""
    size = file.read(4)
    left = int.from_bytes(size, "little")
    while left and (some := file.read(min(left, _PACKED))):
        left -= len(some)
    return len(size) == 4 and not left


def _behind_zeros(file: BufferedReader, size: int) -> bytes:
    """So many bytes, the first of them no zero."""
    while (seen := file.peek()) and not seen[0]:
        file.read(len(seen) - len(seen.lstrip(b"\0")))
    return file.read(size)


# The others -------------------------------------------------------------------------------------------------------------


def _frames(
    new: Callable[[], Any], put: Callable[[Any, bytes, Room], Iterator[int]], file: BufferedReader, room: Room
) -> Iterator[int]:
    """Frames, each by an object that knows its end: `eof` and `unused_data`, in all three libraries."""
    frame, begun = new(), False
    while packed := file.read(_PACKED):
        while packed := packed if begun else packed.lstrip(b"\0"):
            begun = True
            try:
                yield from put(frame, packed, room)
            except Exception as error:  # each library has a class of its own
                raise Damage(error) from None
            packed = b""
            if frame.eof:
                packed, frame, begun = frame.unused_data, new(), False
    if begun:
        raise EOFError


def _as_zlib(frame: Any, packed: bytes, room: Room) -> Iterator[int]:
    while packed and not frame.eof:  # at the end of a frame what is behind it stays in `unconsumed_tail`, too
        yield _put(frame, packed, room())
        packed = frame.unconsumed_tail


def _as_bz2(frame: Any, packed: bytes, room: Room) -> Iterator[int]:
    yield _put(frame, packed, room())
    while not (frame.eof or frame.needs_input):
        yield _put(frame, b"", room())


def _put(frame: Any, packed: bytes, room: memoryview) -> int:
    made = frame.decompress(packed, len(room))
    room[: len(made)] = made
    return len(made)
