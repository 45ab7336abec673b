"""Blocks, skimming and processes change nothing: the same records, counts and places as row by row."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignzoo.interfaces import Asking
from alignzoo_reddit_votes import dumps
from alignzoo_reddit_votes.crew import CrewError, crew
from alignzoo_reddit_votes.harvest import Harvest, Site
from alignzoo_reddit_votes.reddit import LICENCE, RedditVotes, _base36
from alignzoo_reddit_votes.rows import Reader, RowError, rows_in
from alignzoo_reddit_votes.rules import Rules
from alignzoo_reddit_votes.votes import Comment, Pairing, Post

STRANGE: list[Any] = [
    None,
    True,
    0,
    -3,
    2.5,
    float("nan"),
    10**400,
    "",
    "[deleted]",
    [1],
    {"a": 1},
    "t1_c9",
    "\ud83d",
    "u/jane",
]


def thread_rows(make: Any, count: int) -> Iterator[dict[str, Any]]:
    """Comments of all years on forty posts: fields come and go, ids come again, some values are strange."""
    dice = random.Random(7)
    for i in range(count):
        to = f"p{dice.randrange(40):x}"
        row = make.comment(f"c{dice.randrange(count):x}", dice.randrange(-3, 60), i % 999, to=to, body=f"words {i} &amp; u/bob")
        if dice.random() < 0.3:
            row["parent_id"] = f"t1_c{dice.randrange(count):x}"
        drift: dict[str, Any] = {
            "created_utc": str(row["created_utc"]),
            "retrieved_on": row["retrieved_on"] + i,
            "score": None,
            "edited": 1_550_000_001.0,
            "distinguished": "moderator",
            "_meta": {"was_deleted_later": True},
            "body": "[removed]",
        }
        for name, value in drift.items():
            if dice.random() < 0.1:
                row[name] = value
        for name in ("retrieved_on", "is_submitter", "stickied", "score_hidden", "subreddit"):
            if dice.random() < 0.1:
                del row[name]
        if dice.random() < 0.1:
            row[dice.choice([*row])] = dice.choice(STRANGE)
        yield row


def dump_of(make: Any, count: int = 1500) -> bytes:
    rows = [json.dumps(row, separators=(",", ":")).encode() for row in thread_rows(make, count)]
    rows[11], rows[50], rows[90], rows[130] = rows[11][:-9], b"[" * 3000, b"  ", rows[130] + b"\r"
    rows[170] = b"[" + rows[170] + b"," + rows[171] + b"]"
    return b"\xef\xbb\xbf" + b"\n".join(rows)


def row_by_row(source: RedditVotes, path: Path) -> tuple[list[Any], Any]:
    """What the rows of a file give, with the parser of the standard library, one at a time, and no bytes looked at."""
    asking = Asking()
    site = Site("reddit", LICENCE, "t3_", "t1_", _base36, source.missing_post)
    harvest = Harvest(site, source.rules, source.pairing, source.splits, (path.name,), asking.tally)

    def read() -> Iterator[Post | Comment]:
        for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
            if line.strip():
                try:
                    rows = rows_in(json.loads(line.decode()))
                except (RecursionError, ValueError) as error:
                    asking.tally.read += 1
                    deep = isinstance(error, RecursionError)
                    why = "JSON that is nested too deeply" if deep else "not JSON, or cut short"
                    asking.tally.drop(why, f"{path.name}:{number}")
                    continue
                for row in rows:
                    asking.tally.read += 1
                    try:
                        yield source.reader(row, (0, number))
                    except RowError as error:
                        asking.tally.drop(str(error), f"{path.name}:{number}")

    return list(harvest.comparisons(harvest.admitted(read()))), asking.tally.row()


@pytest.mark.parametrize("block", [1, 5000, 1 << 20])
def test_what_is_strange_is_told_as_row_by_row(block: int, forum: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "BLOCK", block)
    path = forum.file("RC.jsonl", dump_of(make))
    rules = Rules(off=("nested",), unknown="leave out" if block == 1 else "keep")
    source = RedditVotes(comments=path, missing_post="In r/{subreddit}?", split="all", rules=rules, pairing=Pairing(ratio=1.0))
    asking = Asking()
    records = list(source.collect(asking))
    expected, tally = row_by_row(source, path)
    assert records == expected
    assert len(records) > 20
    assert asking.tally.row() == tally
    assert asking.tally.left_out > 40


def test_what_is_skimmed_is_counted_as_if_it_had_been_read(forum: Any, make: Any) -> None:
    """Of rows that can be read, each once: what is passed over is not looked at for anything else."""
    rows = {row.get("id"): row for row in thread_rows(make, 1500) if reads(row)}
    path = forum.file("RC.jsonl", rows.values())
    source = RedditVotes(comments=path, missing_post="In r/{subreddit}?", split="all")
    asking = Asking()
    records = list(source.collect(asking))
    expected, tally = row_by_row(source, path)
    assert records == expected
    found = asking.tally.row()
    assert (found["read"], found["kept"], found["noticed"]) == (tally["read"], tally["kept"], tally["noticed"])
    counts = [{rule: cases["count"] for rule, cases in one["set_aside"].items()} for one in (found, tally)]
    assert counts[0] == counts[1]
    assert counts[0]["nested"] > 100


def reads(row: dict[str, Any]) -> bool:
    try:
        Reader()(row, (0, 1))
    except RowError:
        return False
    return True


def test_several_processes_give_the_same(forum: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "BLOCK", 20_000)
    posts = [make.post(f"p{i:x}", is_self=i % 5 > 0) for i in range(38)]
    files = {"posts": forum.file("RS.jsonl", posts), "comments": forum.file("RC.jsonl", dump_of(make))}
    found = []
    for processes in (1, 2):
        asking = Asking()
        records = list(RedditVotes(**files, split="all", pairing=Pairing(ratio=1.0), processes=processes).collect(asking))
        found.append((records, asking.tally.row()))
    assert found[0] == found[1]
    assert len(found[0][0]) > 20


def half_or_end(number: int) -> float:
    """Work for a crew: half of a number, no half of nothing, and at 13 the worker is ended as the system ends it."""
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return number / 2 if number else 1 / number


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_crew_works_in_order_and_its_faults_and_its_death_are_told() -> None:
    with crew(2) as each:
        assert list(each(half_or_end, range(1, 12))) == [number / 2 for number in range(1, 12)]
        with pytest.raises(ZeroDivisionError):
            list(each(half_or_end, [4, 0, 6]))
    with pytest.raises(CrewError, match=r"perhaps for want of memory: write processes = 1"), crew(2) as each:
        list(each(half_or_end, [1, 2, 13, 4, 5, 6]))


def test_replies_that_go_in_a_ring_have_no_question(forum: Any, make: Any) -> None:
    """Two comments that reply to each other, as no site has them: the way up to the post has no end."""
    ring = [make.comment("aa", 9, 1, parent_id="t1_bb"), make.comment("bb", 3, 2, parent_id="t1_aa")]
    answers = [make.comment("cc", 4, 3, parent_id="t1_aa"), make.comment("dd", 40, 4, parent_id="t1_aa")]
    records, tally = forum.collect([make.post()], [*ring, *answers], rules=Rules(off=("nested",)))
    assert (records, make.filtered(tally)) == ([], {"a comment that it replies to is missing": 4, "in no pair": 1})


def test_a_stand_in_names_the_community_also_where_the_first_comment_does_not_count(forum: Any, make: Any) -> None:
    poor = make.comment("poor", 1, 0)
    source = RedditVotes(
        comments=forum.file("RC.jsonl", [poor, *make.pair]), missing_post="A post in r/{subreddit}", split="all"
    )
    records, _ = make.gathered(source)
    assert [record.prompt.text for record in records] == ["A post in r/succulents"]
