"""Bad input, put to every source that reads: whatever is wrong with a file or a row is told with its place, its field and what
to do, the other rows are read, and no row is lost without a word. The table of the sources is in `corpora.py`."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from corpora import CORPORA, Corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from alignzoo.interfaces import Asking
from alignzoo.records import Feedback, from_json, to_json
from alignzoo.rows import ReadError
from alignzoo.seam.settings import SettingsError
from alignzoo_reddit_votes.unpacking import DumpError

each = pytest.mark.parametrize("corpus", CORPORA, ids=[corpus.id for corpus in CORPORA])
LINES = [corpus for corpus in CORPORA if corpus.name.endswith(".jsonl")]
of_lines = pytest.mark.parametrize("corpus", LINES, ids=[corpus.id for corpus in LINES])

ODD: dict[str, Any] = {
    "null": None,
    "true": True,
    "a list": [],
    "a list of lists": [[[]]],
    "a table": {"strange": 1},
    "no words": "",
    "space": " \n ",
    "words": "odd",
    "a number": -7,
    "a fraction": 2.5,
    "NaN": math.nan,
    "infinity": math.inf,
    "a number without end": 10**400,
    "half a letter": "\ud800",
    "a time as text": "1550000000",
    "markers": "\n\nHuman: a\n\nAssistant:",
    "missing": ...,
}
NAMED = ("oasst-trees", "oasst-messages", "file-pairs")
"""Sources whose rows have ids of their own."""
DEEP = b'{"id":' + b"[" * 200_000 + b"]" * 200_000 + b"}"


def read(corpus: Corpus, path: Path) -> tuple[list[Feedback], Asking]:
    """The records, sound ones; every row accounted for, with a place in the file."""
    asking = Asking()
    records = list(corpus.made(path).collect(asking))
    for record in records:
        line = to_json(record)
        line.encode("utf-8")
        assert from_json(line) == record
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} in a record"))
    assert asking.tally.unexplained == 0
    for reasons in (asking.tally.dropped, asking.tally.set_aside):
        for reason, cases in reasons.items():
            assert reason
            assert all(re.fullmatch(rf"{path.name}:\d+", place) for place in cases.places)
    return records, asking


def broken(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every way of putting something odd in the place of one part of a row."""
    parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in parts:
        for odd in ODD.values():
            changed = deepcopy(value)
            if odd is ...:
                del changed[name]
            else:
                changed[name] = odd
            yield (*at, name), changed
        for place, changed_inner in broken(inner, (*at, name)):
            yield place, ({**value, name: changed_inner} if isinstance(value, Mapping) else _with(value, name, changed_inner))


def _with(items: list[Any], place: int, item: Any) -> list[Any]:
    return [*items[:place], item, *items[place + 1 :]]


@of_lines
def test_every_field_may_be_anything(corpus: Corpus, tmp_path: Path) -> None:
    """One part after another is something odd, in a file of its own threads; a sound thread at its end is read all the same."""
    sound, _ = read(corpus, corpus.file(tmp_path, [7], "sound.jsonl"))
    cases = [(place, case) for number in range(len(corpus.rows(3))) for place, case in _cases(corpus, number)]
    rows = [row for _, case in cases for row in case]
    path = tmp_path / "odd.jsonl"
    path.write_bytes(corpus.written([*rows, *corpus.rows(7)]))
    records, asking = read(corpus, path)
    assert set(map(_bare, sound)) <= set(map(_bare, records))
    assert asking.tally.left_out > 20
    for reason in asking.tally.dropped:
        assert len(reason) < 200
        assert "odd" not in reason.replace("odd.jsonl", "")  # nothing of the row itself, which may be private


def _cases(corpus: Corpus, number: int) -> Iterator[tuple[tuple[str | int, ...], list[Any]]]:
    """One row of a thread broken in every way; where rows belong together, the whole thread around it, under another name."""
    rows = corpus.rows(3)
    if not corpus.together:
        yield from ((place, [row]) for place, row in broken(dict(rows[number])))
        return
    for count, (place, row) in enumerate(broken(dict(rows[number]))):
        thread = json.loads(json.dumps([*rows[:number], None, *rows[number + 1 :]]).replace('"3-', f'"{count}x{number}-'))
        thread[number] = json.loads(json.dumps(row).replace('"3-', f'"{count}x{number}-'))
        yield place, thread


def _bare(record: Feedback) -> str:
    return re.sub(r'"source": "\w+"', "", to_json(record))


@of_lines
def test_what_has_the_wrong_type_is_told_by_its_name(corpus: Corpus, tmp_path: Path) -> None:
    """Text, number or list in whose place a table stands: where that costs the row, the reason names the field."""
    first = dict(corpus.rows(3)[0])
    for name, value in first.items():
        odd: Any = {"strange": 1} if not isinstance(value, Mapping) else "odd"
        path = tmp_path / "one.jsonl"
        path.write_bytes(corpus.written([{**first, name: odd}, *corpus.rows(3)[1:], *corpus.rows(7)]))
        _, asking = read(corpus, path)
        told = list(asking.tally.dropped)
        assert not told or any(re.search(rf"'([\w\[\]]+\.)*{name}\b", reason) for reason in told), told


@of_lines
@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"cut": "sho', "JSON"),
        (b'{"bytes": "\xff\xfe"}', "UTF-8"),
        (DEEP, "nested too deeply"),
        (b'{"long": "' + b"a" * (17 << 20) + b'"}', "16 MB"),
        (b"[1]", "must be a"),
        (b"null", "must be a"),
        (b"{}", ""),
        (b'{"number": ' + b"9" * 5000 + b"}", "JSON"),
    ],
    ids=["cut", "bytes", "deep", "long", "list", "null", "empty", "digits"],
)
def test_a_line_that_is_no_row_is_told_and_the_rest_is_read(corpus: Corpus, line: bytes, said: str, tmp_path: Path) -> None:
    whole = corpus.file(tmp_path, range(3))
    records, _ = read(corpus, whole)
    path = tmp_path / "bad" / "rows.jsonl"
    path.parent.mkdir()
    path.write_bytes(whole.read_bytes() + line + b"\r\n\n" + corpus.file(tmp_path, [7], "more.jsonl").read_bytes())
    found, asking = read(corpus, path)
    assert len(found) > len(records)
    [(reason, cases)] = asking.tally.dropped.items()
    assert said in reason
    assert cases.places == [f"rows.jsonl:{whole.read_text().count(chr(10)) + 1}"]


@of_lines
def test_a_mark_of_the_byte_order_and_line_ends_of_windows_change_nothing(corpus: Corpus, tmp_path: Path) -> None:
    whole = corpus.file(tmp_path, range(3))
    records, _ = read(corpus, whole)
    whole.write_bytes(b"\xef\xbb\xbf" + whole.read_bytes().replace(b"\n", b"\r\n").rstrip())
    assert read(corpus, whole)[0] == records


@of_lines
def test_the_last_line_is_cut(corpus: Corpus, tmp_path: Path) -> None:
    whole = corpus.file(tmp_path, range(3))
    whole.write_bytes(whole.read_bytes()[:-12])
    _, asking = read(corpus, whole)
    [reason] = [reason for reason in asking.tally.dropped if "cut" in reason]
    assert asking.tally.dropped[reason].places == [f"rows.jsonl:{whole.read_text().count(chr(10)) + 1}"]


@of_lines
def test_a_row_that_comes_twice_is_told_where_rows_have_ids_and_votes_count_it_once(corpus: Corpus, tmp_path: Path) -> None:
    """What has no id may be two people's word for the same; the filter `duplicates` is for who wants it once."""
    whole = corpus.file(tmp_path, range(3))
    records, _ = read(corpus, whole)
    whole.write_bytes(whole.read_bytes() * 2)
    again, asking = read(corpus, whole)
    assert set(map(to_json, again)) == set(map(to_json, records))
    once = corpus.source == "reddit-votes"
    assert len(again) == len(records) * (1 if once else 2)
    assert (asking.tally.aside >= 3) == once
    assert ("an id that was there before" in asking.tally.noticed) == (corpus.id in NAMED)


@each
@pytest.mark.parametrize("packed", ["gz", "zst"])
def test_an_archive_gives_the_same_and_a_cut_one_says_where_it_ends(corpus: Corpus, packed: str, tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    plain = corpus.file(tmp_path, range(60))
    (tmp_path / "packed").mkdir()
    path = tmp_path / "packed" / f"{corpus.name}.{packed}"
    data = gzip.compress(plain.read_bytes(), mtime=0) if packed == "gz" else zstandard.compress(plain.read_bytes())
    path.write_bytes(data)
    records, _ = read(corpus, plain)
    assert records
    assert read(corpus, path)[0] == records
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises((ReadError, DumpError, SettingsError), match=r"(?i)fetch it again") as told:
        read(corpus, path)
    assert re.search(rf"{path.name}(:\d+| ends before its end.*line \d+)", str(told.value))


PIECES = [b"\n", b"\r\n", b"[", b"]", b"{", b"}", b'"', b",", b"\xff", b"\xef\xbb\xbf", b"\x00", b"null", b"NaN", b"\\ud800"]


@each
@settings(max_examples=25)
@given(data=st.data())
def test_any_damage_is_a_named_error_or_a_named_drop(
    corpus: Corpus, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"fuzz-{corpus.id}"
    folder.mkdir(exist_ok=True)
    whole = corpus.file(folder, range(2)).read_bytes()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole)))
        piece = data.draw(st.sampled_from(PIECES) | st.binary(max_size=4))
        whole = whole[:at] + piece + whole[at + data.draw(st.sampled_from([0, 1, 2, 9, 99])) :]
    path = folder / corpus.name
    path.write_bytes(whole)
    said = path.name
    try:
        read(corpus, path)
    except (ReadError, DumpError, SettingsError) as error:
        said = str(error)
    assert path.name in said
