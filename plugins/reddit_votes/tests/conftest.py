"""A small invented forum: rows as a dump of 2019 has them, and what the source makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison
from alignzoo.tally import Tally
from alignzoo_reddit_votes.reddit import RedditVotes

NOON = 1_550_000_000
WEEK = 7 * 86_400
Row = dict[str, Any]


def post(id: str = "aaa", **changes: Any) -> Row:
    """A post that every rule lets pass."""
    row = {
        "id": id,
        "author": "asker_of_things",
        "title": f"How do I repot a cactus ({id})?",
        "selftext": "It is round and full of thorns.",
        "created_utc": NOON,
        "retrieved_on": NOON + WEEK,
        "score": 50,
        "is_self": True,
        "over_18": False,
        "edited": False,
        "distinguished": None,
        "subreddit": "succulents",
    }
    return row | changes


def comment(id: str, score: int | None, minute: int, to: str = "aaa", **changes: Any) -> Row:
    """A comment on a post, so many minutes after it, that every rule lets pass."""
    row = {
        "id": id,
        "author": f"writer_{id}",
        "body": f"Wrap it in paper, says {id}.",
        "created_utc": NOON + 60 * minute,
        "retrieved_on": NOON + WEEK,
        "score": score,
        "link_id": f"t3_{to}",
        "parent_id": f"t3_{to}",
        "is_submitter": False,
        "stickied": False,
        "score_hidden": False,
        "edited": False,
        "distinguished": None,
        "subreddit": "succulents",
    }
    return row | changes


def lines(rows: Iterable[Row], **how: Any) -> bytes:
    """Rows as a dump writes them, without spaces."""
    return "".join(json.dumps(row, separators=(",", ":"), **how) + "\n" for row in rows).encode()


@dataclass
class Forum:
    """A folder to write dumps into."""

    folder: Path

    def file(self, name: str, rows: Iterable[Row] | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(rows if isinstance(rows, bytes) else lines(rows))
        return path

    def collect(
        self, posts: Iterable[Row] | bytes, comments: Iterable[Row] | bytes, **settings: Any
    ) -> tuple[list[Comparison], Tally]:
        """What a dump of posts and one of comments give, from all splits."""
        files = {"posts": self.file("RS.jsonl", posts), "comments": self.file("RC.jsonl", comments)}
        return gathered(RedditVotes(**{**files, "split": "all", **settings}))


def gathered(source: Any) -> tuple[list[Comparison], Tally]:
    """The records of a source, and its tally, which must be complete."""
    asking = Asking()
    records = list(source.collect(asking))
    asking.tally.check(1.0)
    return records, asking.tally


def ids(records: Iterable[Comparison]) -> list[tuple[str, str]]:
    """The chosen and the rejected comment of each pair, by the last word of their text."""
    return [(_last(record.chosen.text), _last(record.rejected.text)) for record in records]


def _last(text: str) -> str:
    return text.rstrip(".").rpartition(" ")[2]


def filtered(tally: Tally) -> dict[str, int]:
    return {rule: cases.count for rule, cases in tally.set_aside.items()}


@dataclass(frozen=True)
class Make:
    """What tests need, in one fixture: this folder's tests share no module."""

    post: Callable[..., Row] = staticmethod(post)
    comment: Callable[..., Row] = staticmethod(comment)
    lines: Callable[..., bytes] = staticmethod(lines)
    gathered: Callable[[Any], tuple[list[Comparison], Tally]] = staticmethod(gathered)
    ids: Callable[[Iterable[Comparison]], list[tuple[str, str]]] = staticmethod(ids)
    filtered: Callable[[Tally], dict[str, int]] = staticmethod(filtered)

    @property
    def pair(self) -> tuple[Row, Row]:
        """A pair: "two" is later, and ahead all the same."""
        return comment("one", 4, 1), comment("two", 40, 9)


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def forum(tmp_path: Path) -> Forum:
    return Forum(tmp_path)
