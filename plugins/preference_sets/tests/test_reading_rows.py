"""Files of rows: every row with its place, every fault with its reason, in constant memory."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from alignzoo import rows as reading
from alignzoo.rows import Fault, ReadError, rows_in

ROWS = [{"prompt": f"Question {number}?", "n": number} for number in range(1, 6)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def zst(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def written(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def faults(path: Path) -> list[tuple[str, str]]:
    return [(place, row.reason) for place, row in rows_in(path) if isinstance(row, Fault)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zst, lambda data: gzip.compress(data[:40]) + gzip.compress(data[40:])])
@pytest.mark.parametrize(
    ("name", "text", "first"),
    [
        ("a.jsonl", LINES, 1),
        ("a.ndjson", "\n  \n" + LINES.replace("\n", "\r\n"), 3),
        ("a.json", LINES, 1),
        ("a.json", json.dumps(ROWS), 1),
        ("a.json", json.dumps(ROWS, indent=1), 2),
        ("a.jsonl", "\ufeff" + LINES, 1),
        ("a.jsonl", LINES.rstrip("\n"), 1),
    ],
)
def test_rows_and_their_places(pack: Callable[[bytes], bytes], name: str, text: str, first: int, tmp_path: Path) -> None:
    path = written(tmp_path, name, pack(text.encode()))
    found = list(rows_in(path))
    assert [row for _, row in found] == ROWS
    assert found[0][0] == f"{name}:{first}"


def test_places_in_an_array_are_where_its_elements_begin(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", '[\n {"a": 1},\n\n {"a":\n 2},{"a": 3}, 4]\n')
    assert [place for place, _ in rows_in(path)] == ["a.json:2", "a.json:4", "a.json:5", "a.json:5"]
    assert faults(path) == [("a.json:5", "a row must be a JSON object")]


def test_a_field_that_is_there_twice_costs_one_element_of_an_array(tmp_path: Path) -> None:
    """However its parts come, which are read a piece at a time."""
    long = '{"a": {"n": 1, "n": 2}, "long": "' + "o" * 600_000 + '"}'
    path = written(tmp_path, "a.json", f'[{{"a": 1}},\n{long},\n{{"a": 1, "a": 2}}, {{"a": 3}}]')
    assert faults(path) == [("a.json:2", "'n' is there twice"), ("a.json:3", "'a' is there twice")]
    assert [row for _, row in rows_in(path) if not isinstance(row, Fault)] == [{"a": 1}, {"a": 3}]


def test_an_archive_is_told_by_its_bytes(tmp_path: Path) -> None:
    assert [row for _, row in rows_in(written(tmp_path, "a.jsonl", gzip.compress(LINES.encode())))] == ROWS
    assert [row for _, row in rows_in(written(tmp_path, "a.jsonl.gz", LINES))] == ROWS


BAD_LINES = {
    b'{"prompt": "caf\xe9"}': "invalid UTF-8",
    b"[" * 100_000 + b"]" * 100_000: "JSON nested too deeply",
    b'{"prompt": "a"': "not JSON",
    b"null": "a row must be a JSON object",
    b'"text"': "a row must be a JSON object",
    b'{"n": ' + b"1" * 5000 + b"}": "not JSON",
    b"\x00\x01": "not JSON",
    b'{"chosen": "a", "rejected": "b", "chosen": "c"}': "'chosen' is there twice",
    b'{"a": [{"text": "a", "text": "a"}], "b": 1}': "'text' is there twice",
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.items(), ids=range(len(BAD_LINES)))
def test_a_bad_line_costs_only_itself(line: bytes, reason: str, tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
    assert faults(path) == [("a.jsonl:2", reason)]
    assert sum(not isinstance(row, Fault) for _, row in rows_in(path)) == 2


def test_a_cut_last_line_is_told_as_that(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", LINES[:-9])
    assert faults(path) == [("a.jsonl:5", "the last line is cut, or no JSON")]


@pytest.mark.parametrize("pack", [gzip.compress, zst])
@pytest.mark.parametrize("text", [LINES * 3000, json.dumps(ROWS * 3000)])
def test_an_archive_that_ends_early_is_an_error_after_its_rows(
    pack: Callable[[bytes], bytes], text: str, tmp_path: Path
) -> None:
    whole = pack(text.encode())
    path = written(tmp_path, "a.jsonl.gz", whole[: len(whole) // 2])
    kept = []
    with pytest.raises(ReadError, match=r"a.jsonl.gz:\d+: the archive ends early or is damaged"):
        kept += [row for _, row in rows_in(path)]
    wrong = bytearray(whole)
    wrong[len(wrong) // 2] ^= 0xFF
    with pytest.raises(ReadError, match=r"damaged|broken|UTF-8"):
        kept += [row for _, row in rows_in(written(tmp_path, "b.jsonl", bytes(wrong)))]


def test_an_archive_with_a_wide_window_is_not_called_damaged(tmp_path: Path) -> None:
    block = (len(LINES) << 3 | 1).to_bytes(3, "little") + LINES.encode()  # the last one, not compressed
    path = written(tmp_path, "a.jsonl.zst", b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([18 << 3]) + block)  # a window of 2^28
    with pytest.raises(ReadError, match=r"a.jsonl.zst:1: .* window .* zstd -d --long=31 a.jsonl.zst"):
        list(rows_in(path))
    narrow = written(tmp_path, "b.zst", path.read_bytes().replace(b"\x90", b"\x88", 1))  # of 2^27, the widest
    assert [row for _, row in rows_in(narrow, ".jsonl")] == ROWS


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[{"a": 1}, {"a": ', "a.json:1: the JSON array breaks off or is broken"),
        ('[{"a": 1},\n{"a" 2}]', "a.json:2: the JSON array breaks off or is broken"),
        ('[{"a": 1},', "a.json:1: the JSON array breaks off here"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_an_array_that_breaks_off_is_an_error(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=complaint):
        list(rows_in(written(tmp_path, "a.json", text)))


def test_an_array_with_bad_letters_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"a.json:1: invalid UTF-8"):
        list(rows_in(written(tmp_path, "a.json", b'[{"a": "\xe9"}]')))


def test_what_is_no_file_of_rows(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"'.txt' is no ending known here; there are .jsonl"):
        list(rows_in(written(tmp_path, "a.txt.gz", LINES)))
    with pytest.raises(ReadError, match="the file is UTF-16; save it as UTF-8"):
        list(rows_in(written(tmp_path, "a.jsonl", LINES.encode("utf-16"))))
    assert list(rows_in(written(tmp_path, "a.jsonl", ""))) == []
    assert list(rows_in(written(tmp_path, "a.csv", ""))) == []


# Tables ---------------------------------------------------------------------------------------------------------------


def test_a_table(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", '\ufeffprompt,score\r\n"Why,\nthen?",3\n\nHow?,4\n"a ""b""",5\n')
    assert list(rows_in(path)) == [
        ("a.csv:2", {"prompt": "Why,\nthen?", "score": "3"}),
        ("a.csv:5", {"prompt": "How?", "score": "4"}),
        ("a.csv:6", {"prompt": 'a "b"', "score": "5"}),
    ]
    assert [row for _, row in rows_in(written(tmp_path, "a.tsv", "a\tb\n1,5\t2\n"))] == [{"a": "1,5", "b": "2"}]


def test_bad_rows_of_a_table(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b'a,b\n1\n1,2,3\n"x"y,2\ncaf\xe9,2\n1,2\n"open,2\n')
    assert faults(path) == [
        ("a.csv:2", "fewer cells than columns"),
        ("a.csv:3", "more cells than columns"),
        ("a.csv:4", "no row of a table: ',' expected after '\"'"),
        ("a.csv:5", "invalid UTF-8"),
        ("a.csv:7", "no row of a table: unexpected end of data"),
    ]
    open_quote = written(tmp_path, "c.csv", 'a,b\n"x,1\ny,2\n"z,3\n5,6\n')
    [(place, reason)] = faults(open_quote)
    assert (place, reason.endswith("(an open quote takes the next lines with it)")) == ("c.csv:2", True)
    with pytest.raises(ReadError, match="two columns are called 'a'"):
        list(rows_in(written(tmp_path, "b.csv", "a,b,a\n1,2,3\n")))


# Memory ---------------------------------------------------------------------------------------------------------------


def peak(path: Path) -> int:
    for _ in rows_in(path):  # what is imported and cached on the way is not the file's
        break
    tracemalloc.start()
    try:
        for _ in rows_in(path):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", ["jsonl", "json", "csv"])
def test_memory_does_not_grow_with_the_file(form: str, tmp_path: Path) -> None:
    row = {"prompt": "why? " * 20, "answer": "because " * 20}
    made: dict[str, Callable[[int], str]] = {
        "jsonl": lambda count: (json.dumps(row) + "\n") * count,
        "json": lambda count: json.dumps([row] * count),
        "csv": lambda count: "prompt,answer\n" + f"{row['prompt']},{row['answer']}\n" * count,
    }
    packed = {count: gzip.compress(made[form](count).encode(), 1) for count in (3_000, 12_000)}
    small, large = (written(tmp_path, f"{count}.{form}.gz", data) for count, data in packed.items())
    assert peak(large) < peak(small) + 200_000
    assert peak(large) < 2_500_000


def test_a_line_that_is_too_long_is_passed_over_and_not_held(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"a": 1}\n{"a": "')
        for _ in range(100):
            file.write(b"x" * 2**20)
        file.write(b'"}\n{"a": 2}\n')
    assert faults(path) == [("a.jsonl:2", "a line longer than 16 MB")]
    assert [row for _, row in rows_in(path) if not isinstance(row, Fault)] == [{"a": 1}, {"a": 2}]
    assert peak(path) < 3 * reading.LONGEST
