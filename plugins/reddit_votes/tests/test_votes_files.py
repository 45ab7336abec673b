"""Files as they come: packed, cut, damaged, marked, mixed, enormous. Nothing goes in silence."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignzoo.interfaces import Asking
from alignzoo.seam.settings import SettingsError, build
from alignzoo.tally import TallyError
from alignzoo_reddit_votes import dumps, unpacking
from alignzoo_reddit_votes.dumps import Lines, blocks, pieces
from alignzoo_reddit_votes.reddit import RedditVotes
from alignzoo_reddit_votes.rows import RowError
from alignzoo_reddit_votes.rules import Rules
from alignzoo_reddit_votes.unpacking import CutError, DumpError

zstandard = pytest.importorskip("zstandard")
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def read(path: Path) -> list[tuple[int, bytes]]:
    """The lines of a file that are not empty, with their numbers; "?" for one that is not held."""
    lines = (line for block in blocks(path) for line in lines_of(block))
    return [(number, line) for number, line in enumerate(lines, 1) if line]


def lines_of(block: Lines | None) -> list[bytes]:
    return [b"?"] if block is None else block.text.split(b"\n")


def long_window(data: bytes) -> bytes:
    """As the dumps are packed: a frame that asks for 2 GiB."""
    parameters = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return bytes(packer.compress(data) + packer.flush())


# Packed -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", *PACKED])
def test_a_dump_gives_the_same_however_it_is_packed(name: str, forum: Any, make: Any) -> None:
    plain = make.lines(make.pair)
    path = forum.file(f"RC.{name or 'jsonl'}", PACKED[name](plain) if name else plain)
    records, tally = make.gathered(RedditVotes(comments=path, posts=forum.file("RS.jsonl", [make.post()]), split="all"))
    assert make.ids(records) == [("two", "one")]
    assert tally.read == tally.kept == 3


def test_a_long_window_is_read(forum: Any) -> None:
    path = forum.file("RC.zst", long_window(b'{"a": 1}\n' * 1000))
    frame = zstandard.get_frame_parameters(path.read_bytes())
    assert frame.window_size == 2**31
    with pytest.raises(zstandard.ZstdError):
        zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    assert len(read(path)) == 1000


def test_what_is_packed_tight_is_unpacked_whole(forum: Any) -> None:
    for name, pack in PACKED.items():
        path = forum.file(f"tight.{name}", pack(b'{"a": 1}\n' * 400_000))
        assert sum(map(len, pieces(path))) == 3_600_000
        assert max(map(len, pieces(path))) <= dumps.PIECE
        assert len(read(path)) == 400_000


def test_frames_one_after_another_are_one_file(forum: Any) -> None:
    for name, pack in PACKED.items():
        path = forum.file(f"two.{name}", pack(b'{"a": 1}\n{"b"') + pack(b": 2}\n") + b"\0" * 64)
        assert read(path) == [(1, b'{"a": 1}'), (2, b'{"b": 2}')]


def test_a_letter_may_lie_on_two_pieces(forum: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    row = json.dumps({"a": "漢字 naïve 🌵"}, ensure_ascii=False).encode()
    path = forum.file("RC.jsonl", row + b"\n" + row)
    for size in range(1, 9):
        monkeypatch.setattr(dumps, "BLOCK", size)
        assert read(path) == [(1, row), (2, row)]


def test_the_last_line_needs_no_end(forum: Any, make: Any) -> None:
    records, tally = forum.collect(make.lines([make.post()]).rstrip(), make.lines(make.pair).rstrip(b"\n"))
    assert (make.ids(records), tally.read) == ([("two", "one")], 3)


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("share", [0.3, 0.99])
def test_an_archive_that_is_cut_is_an_error_and_on_demand_what_is_there(name: str, share: float, forum: Any, make: Any) -> None:
    whole = PACKED[name](make.lines(make.comment(f"c{i}", 2 + i * 977 % 31, i) for i in range(400)))
    posts, path = forum.file("RS.jsonl", [make.post()]), forum.file(f"RC.{name}", whole[: int(len(whole) * share)])
    source = RedditVotes(comments=path, posts=posts, split="all")
    with pytest.raises(DumpError, match=rf"RC.{name} ends before its end; fetch it again \(line \d+\), or write cut_files"):
        list(source.collect(Asking()))
    _, tally = make.gathered(RedditVotes(comments=path, posts=posts, split="all", cut_files="accept"))
    assert any("ends before its end" in line for line in tally.said)
    assert tally.left_out <= 1


def test_what_is_left_of_a_cut_archive_is_read_to_the_last_whole_line(forum: Any, make: Any) -> None:
    whole = gzip.compress(b"".join(b'{"n": %d}\n' % i for i in range(1000)), mtime=0)
    found: list[bytes] = []
    with pytest.raises(CutError):
        found.extend(line for block in blocks(forum.file("x.gz", whole[:-9])) for line in lines_of(block))
    assert found[-2:] == [b'{"n": 999}', b""]
    _, tally = make.gathered(RedditVotes(threads=forum.folder / "x.gz", split="all", cut_files="accept"))
    assert any("fetch it again (line 1001); what is there" in line for line in tally.said)


def test_a_cut_archive_of_lines_is_used_on_demand_whatever_it_is_called(forum: Any, make: Any) -> None:
    whole = gzip.compress(make.lines([make.post(), *make.pair]) + b"{}\n" * 99)
    path = forum.file("all.json.gz", whole[:-12])
    records, _ = make.gathered(RedditVotes(threads=path, split="all", cut_files="accept"))
    assert make.ids(records) == [("two", "one")]


@pytest.mark.parametrize("name", PACKED)
def test_a_damaged_archive_is_an_error_that_says_where(name: str, forum: Any) -> None:
    packed = bytearray(PACKED[name](bytes(range(256)) * 500))
    if name == "xz":
        packed[len(packed) // 2] ^= 0xFF
    else:
        packed[12:40] = b"\xff" * 28
    with pytest.raises(DumpError, match=rf"x.{name} is damaged near byte \d+: .*; fetch it again"):
        list(pieces(forum.file(f"x.{name}", bytes(packed))))


def test_other_archives_are_told_what_to_do_before_anything_is_read(forum: Any, make: Any) -> None:
    for head, message in [
        (b"7z\xbc\xaf'\x1c\0\0", "7z archive; unpack it"),
        (b"PK\x03\x04", "zip archive"),
        (b"\xff\xfea\0", "UTF-16"),
    ]:
        with pytest.raises(DumpError, match=message):
            RedditVotes(threads=forum.file("x.zst", head))


def test_without_the_library_there_is_an_error_before_anything_is_read(
    forum: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = forum.file("x.zst", PACKED["zst"](b"{}\n"))
    monkeypatch.setattr(unpacking, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"'zstandard' is not installed; get it by: pip install 'alignzoo\[votes\]'"):
        build(RedditVotes, {"threads": str(path)}, "feedback")


# Lines that are wrong ---------------------------------------------------------------------------------------------------

DEEP = b'{"id":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
BAD: list[tuple[bytes, str]] = [
    (b'{"id":"x","body":"cut sho', "not JSON, or cut short"),
    (b"not json at all", "not JSON, or cut short"),
    (b'{"id":"x","body":"\xff\xfe"}', "not UTF-8"),
    (DEEP, "JSON that is nested too deeply"),
    (b"[[[1]]]", "a row must be a table { … }"),
    (b"null", "a row must be a table { … }"),
    (b'{"id":"x","score":' + b"9" * 5000 + b"}", "not JSON, or cut short"),
    (b'{"id":"x"}', "neither a post ('title') nor a comment ('body')"),
    (
        b'{"id":"x","body":"b","score":NaN,"link_id":"t3_aaa","parent_id":"t3_aaa","created_utc":1550000000}',
        "'score' must be a whole number or null",
    ),
]


@pytest.mark.parametrize(("line", "reason"), BAD, ids=[reason[:20] for _, reason in BAD])
@pytest.mark.parametrize("quick", [True, False])
def test_a_bad_line_is_dropped_with_its_place_and_the_others_are_read(
    line: bytes, reason: str, quick: bool, forum: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not quick:
        monkeypatch.setattr(dumps, "fast", None)
    comments = make.lines(make.pair[:1]) + line + b"\n\n" + make.lines(make.pair[1:])
    records, tally = forum.collect([make.post()], comments)
    assert make.ids(records) == [("two", "one")]
    assert {why: (cases.count, cases.places) for why, cases in tally.dropped.items()} == {reason: (1, ["RC.jsonl:2"])}
    assert tally.read == 4


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_line(forum: Any, make: Any) -> None:
    mark = b"\xef\xbb\xbf"
    records, tally = forum.collect(mark + make.lines([make.post()]), mark + make.lines(make.pair))
    assert (make.ids(records), tally.left_out) == ([("two", "one")], 0)


def test_line_ends_of_windows_are_line_ends(forum: Any, make: Any) -> None:
    records, tally = forum.collect([make.post()], make.lines(make.pair).replace(b"\n", b"\r\n"))
    assert (make.ids(records), tally.left_out) == ([("two", "one")], 0)


def test_an_enormous_line_is_passed_over_without_being_held(forum: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "LONGEST", 1 << 16)
    monkeypatch.setattr(dumps, "BLOCK", 1 << 14)
    comments = make.lines(make.pair[:1]) + b'{"body":"' + b"a" * (1 << 20) + b'"}\n' + make.lines(make.pair[1:])
    path = forum.file("RC.jsonl", comments)
    assert max(len(line) for _, line in read(path)) < 1 << 16
    assert [number for number, _ in read(path)] == [1, 2, 3]
    records, tally = forum.collect([make.post()], comments)
    assert make.ids(records) == [("two", "one")]
    assert tally.dropped["a line of more than 16 MB"].places == ["RC.jsonl:2"]


@pytest.mark.slow
def test_a_line_of_100_megabytes_is_passed_over(forum: Any, make: Any) -> None:
    import tracemalloc

    path = forum.folder / "RC.zst"
    with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as packed:
        packed.write(make.lines(make.pair[:1]) + b'{"body":"')
        for _ in range(100):
            packed.write(b"a" * (1 << 20))
        packed.write(b'"}\n' + make.lines(make.pair[1:]))
    tracemalloc.start()
    assert [number for number, _ in read(path)] == [1, 2, 3]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_too_many_bad_lines_refuse_the_run_and_too_few_votes_do_not(forum: Any, make: Any) -> None:
    _, tally = forum.collect([make.post()], make.lines([make.comment(f"r{i}", 1, i) for i in range(99)]) + b"{\n")
    tally.check(0.01)
    with pytest.raises(TallyError, match="1 of 101 rows cannot be used"):
        tally.check(0.009)


# Threads and mixtures ---------------------------------------------------------------------------------------------------


def test_a_thread_as_the_site_gives_it(forum: Any, make: Any) -> None:
    one, two = ({"kind": "t1", "data": row} for row in make.pair)
    reply = {"kind": "t1", "data": make.comment("re", 500, 30, parent_id="t1_one")}
    one["data"] |= {"replies": {"kind": "Listing", "data": {"children": [reply]}}}
    listings = [[{"kind": "t3", "data": make.post()}], [one, two, {"kind": "more", "data": {"count": 7}}]]
    thread = [{"kind": "Listing", "data": {"children": children}} for children in listings]
    for text in (json.dumps(thread), json.dumps(thread, indent=2)):
        records, tally = make.gathered(RedditVotes(threads=forum.file("thread.json", text.encode()), split="all"))
        assert make.ids(records) == [("two", "one")]
        assert (tally.read, make.filtered(tally)) == (4, {"nested": 1})
        assert tally.set_aside["nested"].places == ["thread.json:3"]  # the third row of the document


def test_lines_of_both_kinds_in_any_order_and_several_files(forum: Any, make: Any) -> None:
    mixed = forum.file("mixed.jsonl", [make.pair[1], make.post(), make.pair[0]])
    other = forum.file(
        "b.json", make.lines([make.post("bbb"), *(row | {"link_id": "t3_bbb", "parent_id": "t3_bbb"} for row in make.pair)])
    )
    records, _ = make.gathered(RedditVotes(threads=(mixed, other), split="all"))
    assert make.ids(records) == [("two", "one")] * 2
    assert {record.prompt.text[25:28] for record in records} == {"aaa", "bbb"}


def test_a_folder_is_its_files(forum: Any, make: Any) -> None:
    (forum.folder / "all").mkdir()
    forum.file("all/RC_2.jsonl", make.pair[1:])
    forum.file("all/RC_1.jsonl", make.pair[:1])
    forum.file("all/notes.txt", b"not a dump")
    source = RedditVotes(comments=forum.folder / "all", posts=forum.file("RS.jsonl", [make.post()]), split="all")
    assert [path.name for path in source.files] == ["RS.jsonl", "RC_1.jsonl", "RC_2.jsonl"]
    assert make.ids(make.gathered(source)[0]) == [("two", "one")]


def test_posts_among_the_comments_are_named(forum: Any, make: Any) -> None:
    _, tally = forum.collect([make.post()], [*make.pair, make.post("bbb")])
    assert tally.dropped["a post among the comments: name this file under threads"].places == ["RC.jsonl:3"]


# What is skimmed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" , ", " : ")])
def test_skimming_leaves_aside_what_reading_would(separators: tuple[str, str], forum: Any, make: Any) -> None:
    quoting = 'He said {"parent_id":"t1_x","link_id":"t3_zzz"} "parent_id":"t1_x"'
    rows = [
        make.pair[0] | {"body": f"{quoting} one."},
        make.pair[1],
        make.comment("re", 9, 5, parent_id="t1_one"),
        make.comment("el", 9, 5, to="zzz"),
    ]
    comments = "".join(json.dumps(row, separators=separators) + "\n" for row in rows).encode()
    records, tally = forum.collect([make.post()], comments)
    assert make.ids(records) == [("two", "one")]
    assert make.filtered(tally) == {"nested": 1, "its post is missing or left aside": 1}
    assert tally.set_aside["nested"].places == ["RC.jsonl:3"]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_post_of_a_link_is_skimmed_and_one_that_shows_another_is_read(
    separators: tuple[str, str], forum: Any, make: Any
) -> None:
    link = make.post("lnk", is_self=False, score="not looked at")
    across = make.post("aaa", crosspost_parent_list=[make.post("old", is_self=False)])
    posts = "".join(json.dumps(row, separators=separators) + "\n" for row in (across, link)).encode()
    records, tally = forum.collect(posts, make.pair)
    assert make.ids(records) == [("two", "one")]
    assert (make.filtered(tally), tally.read, tally.left_out) == ({"self_post": 1}, 4, 0)
    _, tally = forum.collect(posts, make.pair, rules=Rules(off=("self_post",)))
    assert tally.left_out == 1


def test_comments_on_a_post_that_is_left_aside_are_not_read(forum: Any, make: Any) -> None:
    unread = [make.comment(f"c{i}", 5, i, created_utc="not looked at") for i in range(9)]
    _, tally = forum.collect([make.post(score=9)], unread)
    assert (make.filtered(tally), tally.read) == ({"post_score": 1, "its post is missing or left aside": 9}, 10)
    assert forum.collect([make.post()], unread)[1].left_out == 9


@pytest.mark.parametrize("change", [{"parent_id": "t1_one"}, {"link_id": "t3_zzz"}])
def test_a_line_that_is_cut_short_is_not_left_aside(change: dict[str, str], forum: Any, make: Any) -> None:
    cut = make.lines([make.comment("re", 9, 5, **change)])[:-20]
    _, tally = forum.collect([make.post()], make.lines(make.pair) + cut)
    assert tally.dropped["not JSON, or cut short"].places == ["RC.jsonl:3"]


def test_a_file_that_is_cut_within_its_last_line_says_so_wherever_that_is(forum: Any, make: Any) -> None:
    last = json.dumps({"was": {"parent_id": "t1_one", "link_id": "t3_zzz"}} | make.comment("re", 9, 5)).encode()
    for size in range(1, len(last)):
        _, tally = forum.collect([make.post()], make.lines(make.pair) + last[:size])
        assert (tally.left_out, tally.read) == (1, 4), last[:size]


def test_an_empty_file_is_named(forum: Any, make: Any) -> None:
    forum.file("RC_1.zst", b"")
    source = RedditVotes(
        comments=(forum.folder / "RC_1.zst", forum.file("RC_2.jsonl", make.pair)), missing_post="?", split="all"
    )
    records, tally = make.gathered(source)
    assert (make.ids(records), [line for line in tally.said if "RC_" in line]) == (
        [("two", "one")],
        [f"{forum.folder / 'RC_1.zst'} is empty: if it should not be, fetch it again"],
    )


# Anything at all --------------------------------------------------------------------------------------------------------

ROW = b'{"id":"a","body":"b","score":5,"link_id":"t3_a","parent_id":"t3_a","created_utc":1550000000}'
POST = b'{"id":"a","title":"t","selftext":"s","score":50,"created_utc":1550000000}'
soup = st.lists(
    st.binary(max_size=30) | st.sampled_from([ROW, POST, b"\n", b"\n", b"\xef\xbb\xbf", b"[", b"{", DEEP[:99]]), max_size=12
)


@CALM
@given(soup, st.sampled_from(["jsonl", "json", "zst", "gz"]), st.integers(0, 60))
def test_any_bytes_are_accounted_for_or_refused(tmp_path: Path, parts: list[bytes], name: str, cut: int) -> None:
    data = b"".join(parts)
    path = tmp_path / f"x.{name}"
    packed = PACKED[name](data) if name in PACKED else data
    path.write_bytes(packed[: max(0, len(packed) - cut)])
    asking = Asking()
    try:
        source = RedditVotes(threads=path, split="all", cut_files="accept")
        records = list(source.collect(asking))
    except DumpError:
        return
    asking.tally.check(1.0)
    assert all(record.chosen.text != record.rejected.text for record in records)


@CALM
@given(st.binary(max_size=200))
def test_a_line_of_any_bytes_is_parsed_or_refused(line: bytes) -> None:
    with suppress(RowError):
        dumps.parsed(line)


@pytest.mark.parametrize("size", [1, 7, 64, 300])
@pytest.mark.parametrize("cut", [0, 9])
def test_lines_do_not_depend_on_blocks(forum: Any, monkeypatch: pytest.MonkeyPatch, size: int, cut: int) -> None:
    """Whatever the sizes: a mark of the byte order, empty lines, one that is too long, an end without a line end."""
    monkeypatch.setattr(dumps, "LONGEST", 400)
    monkeypatch.setattr(dumps, "BLOCK", size)
    lines = [b"{%d}" % i + b"x" * (i % 50) for i in range(200)]
    lines[20], lines[77] = b"", b"y" * 3000
    whole = gzip.compress(b"\xef\xbb\xbf" + b"\n".join(lines), mtime=0)
    path = forum.file("x.gz", whole[: len(whole) - cut])
    lines[77] = b"?"
    found: list[bytes] = []
    with pytest.raises(CutError, match="ends before its end; fetch it again") if cut else nullcontext():
        found.extend(line for block in blocks(path) for line in lines_of(block))
    assert (len(found), found[:-1]) == (200, lines[:-1])
    assert lines[-1].startswith(found[-1])
