"""Files of rows, read one row at a time: JSON lines, a JSON array, CSV, TSV; each as it is, or in .gz or .zst; and parquet.

Every row comes with its place, "pairs.jsonl:17", and a row that cannot be read comes as a `Fault` with its reason; the file
is read on. Memory does not grow with the file, nor with a line: one that is longer than `LONGEST` is passed over. Where
nothing after a fault can be read (an archive that ends early, an array that breaks off) a `ReadError` says where.

Text files are not read by way of `datasets`, because its reader is Arrow's: one wrong type spoils the whole block, and no row
knows its line.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import re
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

Cells = Mapping[str, Any]
FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
ARCHIVES = (".gz", ".zst")
LONGEST = 16 * 2**20
"""Bytes of the longest row that is read."""
_PIECE = 2**18
"""Bytes that are read at a time."""
_BATCH = 256
"""Rows of parquet that are unpacked at a time."""


class ReadError(ValueError):
    """A file of feedback that cannot be read, or not to its end."""


@dataclass(frozen=True)
class Fault:
    """A row that cannot be read."""

    reason: str


Placed = tuple[str, Cells | Fault]


def format_of(path: Path) -> str:
    """ ".jsonl", ".csv", …; the ending before .gz or .zst."""
    inner = path.with_suffix("") if path.suffix in ARCHIVES else path
    return inner.suffix.lower()


def rows_in(path: Path, kind: str = "") -> Iterator[Placed]:
    """Every row of a file, or the fault in its place. `kind` says how it is read where its ending does not: ".jsonl"."""
    kind = own if (own := format_of(path)) in FORMATS else kind
    if not kind:
        raise ReadError(f"{path}: '{own or path.name}' is no ending known here; there are {', '.join(FORMATS)}")
    if kind == ".parquet":
        yield from _parquet(path)
        return
    first, pieces = _opened(path)
    if kind in (".csv", ".tsv"):
        yield from _table(lines_of(pieces, path), path, "," if kind == ".csv" else "\t")
    elif first == b"[":
        yield from _array(pieces, path)
    else:
        yield from _json_lines(lines_of(pieces, path), path)


def _opened(path: Path) -> tuple[bytes, Iterator[bytes]]:
    """The first letter of a file that is no space, and all its bytes but a mark of their order."""
    pieces, space = pieces_of(path), bytearray()
    try:
        first = next(pieces, b"")
        if first.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            raise ReadError(f"{path}:1: the file is UTF-16; save it as UTF-8")
        first = first.removeprefix(BOM_UTF8)
        while first and not first.strip() and len(space) < LONGEST:
            space += first
            first = next(pieces, b"")
    except _DAMAGE as error:
        raise _damaged(path, 1, error) from None
    return first.lstrip()[:1], chain([bytes(space), first], pieces)


# Bytes → lines ------------------------------------------------------------------------------------------------------


def pieces_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked where it is an archive (told by its first bytes, not by its name)."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"\x28\xb5\x2f\xfd":
        yield from _unpacked_zstandard(path)
    elif magic[:2] == b"\x1f\x8b":
        with gzip.open(path) as packed:
            yield from _until_empty(packed.read1)  # gives what there is before it complains of what is missing
    else:
        with path.open("rb") as file:
            yield from _until_empty(file.read)


def _unpacked_zstandard(path: Path) -> Iterator[bytes]:
    import pyarrow as pa  # comes with datasets, and unpacks frame after frame

    with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as stream:
        yield from _until_empty(stream.read)


def _until_empty(read: Any) -> Iterator[bytes]:
    while piece := read(_PIECE):
        yield piece


def lines_of(pieces: Iterator[bytes], path: Path) -> Iterator[tuple[int, bytes | Fault]]:
    """Lines without their ends, numbered from 1. One that is too long is a fault, and is not held in memory."""
    number, held, skipping = 1, bytearray(), False
    try:
        for piece in pieces:
            start = 0
            while (end := piece.find(b"\n", start)) >= 0:
                held += piece[start:end]
                yield number, Fault(_too_long()) if skipping or len(held) > LONGEST else bytes(held)
                number, held, skipping, start = number + 1, bytearray(), False, end + 1
            held += piece[start:]
            if len(held) > LONGEST:
                held, skipping = bytearray(), True
    except _DAMAGE as error:
        raise _damaged(path, number, error) from None
    if held or skipping:
        yield number, Fault(_too_long()) if skipping else bytes(held)


_DAMAGE = (EOFError, zlib.error, OSError)
"""What gzip and pyarrow raise for an archive that ends early or was damaged."""


def _damaged(path: Path, line: int, error: Exception) -> ReadError:
    if "too much memory" in str(error):  # sound, and packed with --long, as the large dumps are
        return ReadError(
            f"{path}:{line}: the archive needs a window of more than 128 MB, which is not opened here; unpack it first: "
            f"zstd -d --long=31 {path.name}"
        )
    return ReadError(
        f"{path}:{line}: the archive ends early or is damaged ({error}): what comes after is lost. Fetch it again, or "
        "unpack what is left of it and read that"
    )


def _too_long() -> str:
    return f"a line longer than {LONGEST // 2**20} MB"


# Lines → rows -------------------------------------------------------------------------------------------------------


def _json_lines(numbered: Iterator[tuple[int, bytes | Fault]], path: Path) -> Iterator[Placed]:
    waiting: Placed | None = None
    for number, line in numbered:
        if isinstance(line, bytes) and not line.strip():
            continue
        if waiting:
            yield waiting
        waiting = f"{path.name}:{number}", line if isinstance(line, Fault) else _row(line)
    if waiting is None:
        return
    place, last = waiting
    if isinstance(last, Fault) and last.reason == _NOT_JSON:
        last = Fault("the last line is cut, or no JSON")
    yield place, last


_NOT_JSON = "not JSON"


class _TwiceError(ValueError):
    """A table has two fields of one name. Python's parser takes the last one; which of them is meant, nobody knows."""


def _once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(fields)
    if len(table) < len(fields):
        names = [name for name, _ in fields]
        raise _TwiceError(f"'{next(name for name in names if names.count(name) > 1)[:40]}' is there twice")
    return table


_JSON = json.JSONDecoder(object_pairs_hook=_once)


def _row(line: bytes) -> Cells | Fault:
    try:
        row = _JSON.decode(line.decode("utf-8"))
    except UnicodeDecodeError:
        return Fault("invalid UTF-8")
    except _TwiceError as twice:
        return Fault(str(twice))
    except RecursionError:
        return Fault("JSON nested too deeply")
    except ValueError:  # also a number with too many digits
        return Fault(_NOT_JSON)
    return row if isinstance(row, dict) else Fault("a row must be a JSON object")


def _array(pieces: Iterator[bytes], path: Path) -> Iterator[Placed]:
    """The objects of one JSON array. A fault in it is an error: what comes after it cannot be told apart any more."""
    text = _Text(pieces, path)
    text.to_next()  # the bracket
    text.go(1)
    while (letter := text.to_next()) != "]":
        if not letter:
            raise ReadError(f"{path}:{text.line}: the JSON array breaks off here; fetch the file again")
        place, wrong = f"{path.name}:{text.line}", "it has no end"
        try:
            row, end = _decoded_once(text.held, text.at)
        except RecursionError:
            raise ReadError(f"{path}:{text.line}: JSON nested too deeply") from None
        except ValueError as error:
            end, wrong = len(text.held), str(error)
        if end < len(text.held):
            text.go(end - text.at)
            yield place, row if isinstance(row, dict | Fault) else Fault("a row must be a JSON object")
        elif len(text.held) - text.at > LONGEST or not text.grow():
            raise ReadError(f"{path}:{text.line}: the JSON array breaks off or is broken in the element here ({wrong})")


def _decoded_once(text: str, at: int) -> tuple[Any, int]:
    """What stands there, or the fault in it, and where it ends."""
    try:
        return _JSON.raw_decode(text, at)
    except _TwiceError as twice:
        return Fault(str(twice)), json.JSONDecoder().raw_decode(text, at)[1]


class _Text:
    """The part of a JSON array that was read and not yet used up: `held`, from `at` on."""

    def __init__(self, pieces: Iterator[bytes], path: Path) -> None:
        self.pieces, self.path = pieces, path
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.held, self.at, self.line = "", 0, 1

    def grow(self) -> bool:
        """Read on until twice as much is held, so that a long element is not tried again for every piece."""
        self.held, self.at = self.held[self.at :], 0
        before = len(self.held)
        try:
            for piece in self.pieces:
                self.held += self.decoder.decode(piece)
                if len(self.held) > 2 * before:
                    return True
            self.held += self.decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            where = f"{self.path}:{self.line + self.held.count(chr(10))}"
            raise ReadError(f"{where}: invalid UTF-8 here or soon after; JSON lines would lose one row only") from None
        except _DAMAGE as error:
            raise _damaged(self.path, self.line, error) from None
        return len(self.held) > before

    def to_next(self) -> str:
        """Pass over space and commas, reading on as far as they go. The letter there; none at the end."""
        while True:
            found = _NO_SPACE.search(self.held, self.at)
            self.go((found.start() if found else len(self.held)) - self.at)
            if found or not self.grow():
                return found[0] if found else ""

    def go(self, count: int) -> None:
        self.line += self.held.count("\n", self.at, self.at + count)
        self.at += count


_NO_SPACE = re.compile(r"[^ \t\r\n,]")


def _table(numbered: Iterator[tuple[int, bytes | Fault]], path: Path, comma: str) -> Iterator[Placed]:
    """Rows below a header. A quoted cell may go over several lines; a row's place is its first line."""
    csv.field_size_limit(LONGEST)
    reader = csv.reader(_decoded(numbered, path), delimiter=comma, strict=True)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise ReadError(f"{path}:1: {error}; the first line must name the columns") from None
    if header is None:
        return
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise ReadError(f"{path}:1: two columns are called '{twice}'; rename one of them")
    while True:
        before = reader.line_num
        try:
            cells = next(reader, None)
        except csv.Error as error:
            lost = " (an open quote takes the next lines with it)" if reader.line_num > before + 1 else ""
            yield f"{path.name}:{before + 1}", Fault(f"no row of a table: {error}{lost}")
            continue
        if cells is None:
            return
        if cells:
            yield f"{path.name}:{before + 1}", _named(header, cells)


def _named(header: list[str], cells: list[str]) -> Cells | Fault:
    if len(cells) != len(header):
        return Fault(f"{'more' if len(cells) > len(header) else 'fewer'} cells than columns")
    if any(any("\udc80" <= letter <= "\udcff" for letter in cell) for cell in cells if not cell.isascii()):
        return Fault("invalid UTF-8")
    return dict(zip(header, cells, strict=True))


def _decoded(numbered: Iterator[tuple[int, bytes | Fault]], path: Path) -> Iterator[str]:
    for number, line in numbered:
        if isinstance(line, Fault):
            raise ReadError(f"{path}:{number}: {line.reason}; a table cannot be read on after it")
        yield line.decode("utf-8", "surrogateescape") + "\n"


def _parquet(path: Path) -> Iterator[Placed]:
    """Its rows are numbered, for it has no lines."""
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        for batch in ParquetFile(path).iter_batches(_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield f"{path.name}:{number}", row
    except (OSError, ValueError) as error:  # pyarrow's are of these
        said = str(error).strip().partition("\n")[0]
        raise ReadError(f"{path}: cannot be read after row {number}: {said}; fetch it again") from None
