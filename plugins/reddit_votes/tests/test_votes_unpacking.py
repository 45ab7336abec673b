"""Archives are unpacked by pieces of a known size, in a thread that stops with whoever reads them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignzoo_reddit_votes import dumps
from alignzoo_reddit_votes.ahead import ahead
from alignzoo_reddit_votes.dumps import blocks, pieces
from alignzoo_reddit_votes.unpacking import CutError, DumpError

zstandard = pytest.importorskip("zstandard")
SMALL = 1 << 18
CALM = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
KINDS = st.sampled_from(["words", "zeros", "noise"])
FRAME = st.tuples(KINDS, st.integers(0, 700_000), st.booleans(), st.booleans(), st.integers(10, 21))
SKIPPED = b"\x5a\x2a\x4d\x18" + (300_000).to_bytes(4, "little") + b"\x28\xb5\x2f\xfd" * 75_000
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def frame(data: bytes, checksum: bool = False, sized: bool = False, window: int = 17) -> bytes:
    """A frame of zstandard that says so much of itself, in blocks of at most a window."""
    how = zstandard.ZstdCompressionParameters(window_log=window, write_checksum=checksum, write_content_size=sized)
    if sized:
        return bytes(zstandard.ZstdCompressor(compression_params=how).compress(data))
    packer = zstandard.ZstdCompressor(compression_params=how).compressobj()
    return bytes(packer.compress(data) + packer.flush())


# Pieces -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PACKED)
def test_however_tight_an_archive_is_no_piece_is_larger_than_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumps, "PIECE", SMALL)
    path = tmp_path / "x"
    path.write_bytes(PACKED[name](bytes(20 << 20)))
    assert path.stat().st_size < 30_000
    sizes = [len(piece) for piece in pieces(path)]
    assert (sum(sizes), max(sizes)) == (20 << 20, SMALL)


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("size", [1, 7, 500, 4096])
def test_frames_that_are_larger_than_the_room_are_one_file(
    name: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one ends, whatever is behind it has been given to its library already: another one, or zeros."""
    monkeypatch.setattr(dumps, "PIECE", size)
    path = tmp_path / "x"
    path.write_bytes(PACKED[name](b"as it was " * 200) + bytes(9) + PACKED[name](b"and so on " * 200) + bytes(5000))
    found = list(islice(pieces(path), 5000))
    assert b"".join(found) == b"as it was " * 200 + b"and so on " * 200
    assert max(map(len, found)) <= size


@CALM
@given(
    st.lists(
        st.tuples(KINDS, st.integers(0, 700_000), st.booleans(), st.booleans(), st.integers(10, 21)), min_size=1, max_size=4
    ),
    st.booleans(),
    st.sampled_from([0, 1, 3, 40, 5000]),
)
def test_frames_of_any_kind_are_walked_block_by_block(
    tmp_path: Path, frames: list[tuple[str, int, bool, bool, int]], skipping: bool, zeros: int
) -> None:
    """With checksums, sizes, small windows, blocks of one byte repeated, blocks that are not packed, frames to be skipped."""
    plain, packed = b"", b""
    for kind, size, checksum, sized, window in frames:
        data = {"words": b"as it was " * 70_000, "zeros": bytes(size), "noise": Random(size).randbytes(size)}[kind][:size]
        plain, packed = plain + data, packed + SKIPPED * skipping + frame(data, checksum, sized, window) + b"\0" * zeros
    path = tmp_path / "x.zst"
    path.write_bytes(packed)
    before, dumps.PIECE = dumps.PIECE, SMALL
    try:
        found = list(pieces(path))
    finally:
        dumps.PIECE = before
    assert b"".join(found) == plain
    assert max(map(len, found), default=0) <= SMALL


@pytest.mark.parametrize("checksum", [True, False])
def test_a_frame_that_is_cut_anywhere_gives_its_whole_blocks(checksum: bool, tmp_path: Path) -> None:
    plain = b"".join(b'{"n":%d}\n' % i for i in range(60_000))
    whole = frame(plain, checksum)
    path, lengths = tmp_path / "x.zst", []
    for cut in range(5, len(whole), len(whole) // 40):
        path.write_bytes(whole[:cut])
        found: list[bytes] = []
        with pytest.raises(CutError, match="ends before its end"):
            found.extend(pieces(path))
        assert plain.startswith(b"".join(found))
        lengths.append(sum(map(len, found)))
    assert lengths == sorted(lengths)
    assert lengths[-1] > len(plain) * 0.9


@pytest.mark.parametrize("room", [1000, 1 << 17, 300_000])
@pytest.mark.parametrize("checksum", [True, False])
def test_all_whole_blocks_of_a_cut_frame_are_given_however_little_room_there_is(
    room: int, checksum: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library is given a block at once, and may have no room for what it makes of the last one."""
    monkeypatch.setattr(dumps, "PIECE", room)
    whole, path = frame(b"as it was and so on\n" * 50_000, checksum), tmp_path / "x.zst"
    ends, at, last = [], 6, 0  # behind a mark, flags, and a window
    while not last:
        word = int.from_bytes(whole[at : at + 3], "little")
        last, at = word & 1, at + 3 + (1 if word >> 1 & 3 == 1 else word >> 3)
        ends.append(at)
    lengths = []
    for end in ends[: len(ends) - (not checksum)]:
        for more in range(3):
            path.write_bytes(whole[: end + more])
            found: list[bytes] = []
            with pytest.raises(CutError):
                found.extend(pieces(path))
            lengths.append(sum(map(len, found)))
    assert lengths == [min((1 << 17) * (i // 3 + 1), 1_000_000) for i in range(len(lengths))]
    assert len(lengths) >= 21


def test_a_damaged_block_is_told_and_what_is_before_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "PIECE", SMALL)
    whole = bytearray(frame(Random(1).randbytes(3 << 20)))
    whole[2 << 20 :] = b"\xff" * 999
    path = tmp_path / "x.zst"
    path.write_bytes(whole)
    found: list[bytes] = []
    with pytest.raises(DumpError, match=r"damaged near byte \d+"):
        found.extend(pieces(path))
    assert sum(map(len, found)) > 1 << 20


def test_what_follows_a_frame_and_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.zst"
    path.write_bytes(frame(b"as it was") + b"and so on" * 999)
    with pytest.raises(DumpError, match=r"damaged near byte \d+"):
        list(pieces(path))


@pytest.mark.parametrize("behind", [b"", SKIPPED[:9], SKIPPED[:-1], frame(b"as it was", checksum=True)[:-1]])
def test_what_is_missing_behind_a_frame_is_told(behind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.zst"
    path.write_bytes(frame(b"as it was") + behind)
    found: list[bytes] = []
    with pytest.raises(CutError, match="ends before its end") if behind else nullcontext():
        found.extend(pieces(path))
    assert found[0] == b"as it was"


def in_turn(things: Iterator[Any], count: int) -> Iterator[Any]:
    """As `ahead`, with a thread that is never late."""
    made = deque(islice(things, count))
    while made:
        first = made.popleft()
        made.extend(islice(things, 1))
        yield first


def test_a_block_stays_as_it_is_until_the_next_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is unpacked meanwhile: into larger memory for long lines, and into none for those that are given up."""
    monkeypatch.setattr(dumps, "ahead", in_turn)
    monkeypatch.setattr(dumps, "BLOCK", 64)
    monkeypatch.setattr(dumps, "LONGEST", 400)
    lines = [b"%d" % i * (200 if i % 7 == 3 else 50 if i % 5 == 1 else 1 + i % 9) for i in range(300)]
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join(lines))
    found: list[bytes] = []
    for block in dumps.blocks(path):
        found += [b"?"] if block is None else block.text.split(b"\n")
    assert found == [b"?" if len(line) > 400 else line for line in lines]
    assert found.count(b"?") == 29


# Ahead ------------------------------------------------------------------------------------------------------------------


def waiting() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def counted(made: list[int], count: int, error: Exception | None = None) -> Iterator[int]:
    try:
        for i in range(count):
            made.append(i)
            yield i
        if error:
            raise error
    finally:
        made.append(-1)


def until(true: Callable[[], bool]) -> bool:
    """Whether it becomes true: a thread may take a moment."""
    return any(true() or time.sleep(0.01) for _ in range(500))


def test_things_come_in_order_and_no_more_are_made_than_told() -> None:
    made: list[int] = []
    things = ahead(counted(made, 9), 2)
    assert next(things) == 0
    assert until(lambda: made == [0, 1, 2])
    assert list(things) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert made == [*range(9), -1]
    assert waiting() == []


def test_any_thing_may_come() -> None:
    assert list(ahead(iter([None, 0, None, ()]), 2)) == [None, 0, None, ()]
    assert list(ahead(iter([]), 3)) == []


def test_a_fault_comes_after_what_was_made_before_it() -> None:
    found: list[int] = []
    with pytest.raises(CutError, match="the end"):
        found.extend(ahead(counted([], 3, CutError("the end")), 5))
    assert found == [0, 1, 2]
    assert waiting() == []


def test_who_stops_asking_stops_the_thread() -> None:
    made: list[int] = []
    things = ahead(counted(made, 10**9), 2)
    assert next(things) == 0
    assert len(waiting()) == 1
    del things
    assert waiting() == []
    assert until(lambda: made[-1] == -1)
    with suppress(KeyboardInterrupt):
        for _ in ahead(counted(made, 10**9), 2):
            raise KeyboardInterrupt
    assert waiting() == []
    assert len(made) < 12


def test_a_file_that_nobody_reads_to_its_end_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "BLOCK", 10)
    path = tmp_path / "x.zst"
    path.write_bytes(frame(b'{"a":1}\n' * 1_000_000))
    opened: list[Any] = []
    monkeypatch.setattr(Path, "open", lambda self, *a, open=Path.open, **k: opened.append(open(self, *a, **k)) or opened[-1])
    lines = blocks(path)
    next(lines)
    lines.close()  # type: ignore[attr-defined]
    assert waiting() == []
    assert [file.closed for file in opened] == [True, True]


LEFT = """
import sys
from pathlib import Path
from alignzoo_reddit_votes import dumps
dumps.BLOCK = 16
kept = dumps.blocks(Path(sys.argv[1]))
print(next(kept).end >= 10)
"""


def test_a_program_may_end_while_a_file_is_still_open(tmp_path: Path) -> None:
    path = tmp_path / "x.zst"
    path.write_bytes(frame(b'{"a":1}\n' * 5_000_000))
    done = subprocess.run([sys.executable, "-c", LEFT, str(path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
