"""Lines that are passed over by a few bytes are those that reading them would leave aside, and no others."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignzoo_reddit_votes.dumps import Lines, parsed
from alignzoo_reddit_votes.skim import Skim

CALM = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
HERE = frozenset({b"aaa", b"b1"})
MARKS = '{"parent_id":"t1_x","link_id":"t3_zzz"} "parent_id":"t1_x" "is_self":false \\" \\\\'
ids = st.sampled_from(["t1_one", "t3_aaa", "t3_zzz", "t3_b1", "t3_", "t3_a b", "t5_x", "", None, 7])
inner = st.dictionaries(st.sampled_from(["parent_id", "link_id", "is_self", "x"]), ids | st.booleans(), max_size=2)
values: dict[str, st.SearchStrategy[Any]] = {
    "parent_id": ids | inner,
    "link_id": ids,
    "is_self": st.booleans() | st.none(),
    "body": st.sampled_from(["words", MARKS, "}", "{", "a } b {", "漢字\n"]) | st.text(max_size=9),
    "other": inner | st.lists(inner, max_size=2) | st.integers(),
}
row = st.lists(st.sampled_from([*values]).flatmap(lambda name: st.tuples(st.just(name), values[name])), max_size=7)


def line_of(fields: Sequence[tuple[str, Any]], colon: str, comma: str, ascii: bool) -> bytes:
    """As JSON, with fields that may come twice."""
    said = (f"{json.dumps(name)}{colon}{json.dumps(value, ensure_ascii=ascii)}" for name, value in fields)
    return ("{" + comma.join(said) + "}").encode()


def cut(line: bytes, by: int) -> bytes:
    """Without its end; one that is cut right behind a bracket cannot be told from a whole one by its last bytes."""
    return line[:-by].rstrip(b"}")


lines = st.one_of(
    st.builds(line_of, row, st.sampled_from([":", ": ", " : "]), st.sampled_from([",", ", "]), st.booleans()).flatmap(
        lambda line: st.sampled_from(
            [
                line,
                line,
                line,
                line + b"\r",
                b"[" + line + b"]",
                b" " + line,
                cut(line, 1),
                cut(line, 9),
                b'{"x":' + line + b"}",
            ]
        )
    ),
    st.sampled_from([b"", b"  ", b"}", b"nothing", b'"parent_id":"t1_x"']),
)
blocks = st.lists(lines, min_size=1, max_size=8)


def whole(block: Sequence[bytes]) -> Lines:
    """Lines in memory that was used before: nothing may be read behind their end."""
    said = b"\n".join(block)
    return Lines(bytearray(said + b'\n{"link_id":"t3_zzz","parent_id":"t1_x","is_self":false}e{"x":1}'), 0, len(said))


def divided(skim: Skim, first: int, block: list[bytes]) -> tuple[dict[int, bytes], dict[str, list[bytes]]]:
    """What must be read, by its number, and what was passed over, by the rule. Every line that says something is in one."""
    rows, passed, behind = skim.over(first, whole(block))
    read = dict(rows)
    assert behind == first + len(block)
    unread = {number: line for number, line in enumerate(block, first) if number not in read}
    assert {number: line for number, line in enumerate(block, first) if number in read} == read
    said = [number for number, line in unread.items() if line.strip()]
    assert sum(rule.lines for rule in passed) == len(said)
    assert all(list(rule.first) == sorted(rule.first) and len(rule.first) == min(rule.lines, 3) for rule in passed)
    assert {number for rule in passed for number in rule.first} <= set(said)
    alone = {rule.rule: [unread[number] for number in rule.first] for rule in passed}
    return read, alone


@CALM
@given(blocks, st.integers(1, 10**6))
def test_what_is_passed_over_is_a_reply_or_on_another_post(block: list[bytes], first: int) -> None:
    _, passed = divided(Skim("", "nested", "elsewhere", HERE), first, block)
    assert all(parsed(line)["parent_id"].startswith("t1_") for line in passed["nested"])
    assert all(parsed(line)["link_id"].removeprefix("t3_").encode() not in HERE for line in passed["elsewhere"])
    _, passed = divided(Skim("", "", "elsewhere", HERE), first, block)
    assert all(parsed(line)["link_id"].removeprefix("t3_").encode() not in HERE for line in passed["elsewhere"])


@CALM
@given(blocks, st.integers(1, 10**6))
def test_a_post_that_is_passed_over_says_it_is_none_of_its_own(block: list[bytes], first: int) -> None:
    _, passed = divided(Skim("self_post"), first, block)
    assert all(parsed(line) and line.count(b'"is_self"') == 1 for line in passed["self_post"])
    assert all(re.search(rb'"is_self": ?false', line) for line in passed["self_post"])


def test_as_dumps_write_them_none_is_read_in_vain() -> None:
    """Whatever the words, the order of the fields, and what other tables stand before the marks."""
    for separators in ((",", ":"), (", ", ": ")):
        one, two = ("parent_id", "t1_one"), ("link_id", "t3_zzz")
        rows = [
            {"gildings": {}, "body": f"{MARKS} }} {{", **dict([two, one]), "score": 5},
            {"gildings": {"a": 1}, **dict([one, two]), "body": "words"},
            {"link_id": "t3_zzz", "parent_id": "t3_zzz", "score": 1},
            {"link_id": "t3_aaa", "parent_id": "t3_aaa", "score": 1},
        ]
        block = [json.dumps(row, separators=separators).encode() for row in rows]
        read, passed = divided(Skim("", "nested", "elsewhere", HERE), 11, block)
        assert (list(read), passed) == ([14], {"nested": block[:2], "elsewhere": block[2:3]})


def test_without_a_rule_every_line_is_read() -> None:
    block = [b'{"parent_id":"t1_one","is_self":false}', b"", b" \r", b'{"link_id":"t3_zzz"}']
    assert divided(Skim(), 5, block) == ({5: block[0], 8: block[3]}, {})


@pytest.mark.parametrize(
    "line",
    [
        b'{"link_id":"t3_aaa","parent_id":"t1_one","parent_id":"t3_aaa"}',
        b'{"parent_id":"t3_aaa","link_id":"t3_zzz","link_id":"t3_aaa"}',
        b'{"parent_id":"t3_zzz","link_id":"t3_zzz","link_id":null}',
        b'{"link_id":"t3_aaa","parent_id":"t3_aaa","was":{"parent_id":"t1_one","link_id":"t3_zzz"}}',
        b'{"link_id":"t3_aaa","was":{"parent_id":"t1_one"},"score":3}',
        b'{"link_id":"t3_zzz","parent_id":"t1_one","gildings":{}',
        b'{"parent_id":"t3_zzz","link_id":"t3_zzz","gildings":{}',
        b'{"parent_id":"t3_z z","link_id":"t3_z z"}',
        b'{"link_id":"t3_zzz","parent_id" :"t1_one"',
        b'[{"link_id":"t3_zzz","parent_id":"t1_one"}]',
    ],
)
def test_what_is_not_as_dumps_write_it_is_read(line: bytes) -> None:
    """Fields that come twice, that are of a table within the row, lines that are cut behind a bracket, ids that are none."""
    replies = [b'{"link_id":"t3_aaa","parent_id":"t1_one"}'] * 5
    read, passed, _ = Skim("", "nested", "elsewhere", HERE).over(1, whole([*replies, line]))
    assert (read, passed) == ([(6, line)], (("nested", 5, [1, 2, 3]), ("elsewhere", 0, [])))


def test_a_line_without_its_end_is_read() -> None:
    """It may be cut: right behind an inner bracket its last bytes look like those of a whole one."""
    for line in (b'{"x":{"parent_id":"t1_a"}', b'{"x":{"link_id":"t3_zzz"}', b'{"x":{"is_self":false}'):
        for skim in (Skim("", "nested", "elsewhere", HERE), Skim("self_post")):
            assert skim.over(7, Lines(line, 0, len(line), ended=False)).rows == [(7, line)]


@pytest.mark.parametrize("skim", [Skim("", "nested", "elsewhere", HERE), Skim("self_post")])
@pytest.mark.parametrize(
    "after", [b"", b'"body":"cut he', b'"body":"cut ', b'"gildings":', b'"edited":false,', b'"all":[', b'"a":1}']
)
@pytest.mark.parametrize("far", [0, 70_000])
def test_a_line_in_which_another_row_begins_is_read(skim: Skim, after: bytes, far: int) -> None:
    """Its first row was cut with its line end, so the second one's fields are not all that it says."""
    row = b'{"author":"a","x":"' + b"o" * far + b'","link_id":"t3_zzz","parent_id":"t1_one","is_self":false}'
    torn = b'{"author":"a",' + after + row
    other = b'{"author":"a","body":"cut he' + row.replace(b"author", b"archived")
    read, passed, _ = skim.over(1, whole([row, torn, row, other, row]))
    assert read == [(2, torn), (4, other)]
    assert [rule.first for rule in passed if rule.lines] == [[1, 3, 5]]


def test_tables_within_a_row_are_no_other_rows() -> None:
    said = {
        "author": "a",
        "_meta": {"x": 1},
        "all": [{"x": 1}, {"x": {"y": 2}}],
        "body": 'say {"x":1}{"x"',
        "parent_id": "t1_one",
    }
    for separators in ((",", ":"), (", ", ": ")):
        within = json.dumps(said, separators=separators).encode()
        assert not Skim("", "nested", "elsewhere", HERE).over(1, whole([b"", within, within])).rows
