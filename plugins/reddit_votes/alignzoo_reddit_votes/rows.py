"""A row of Reddit, as dumps of any year or the site itself give it, as a `Post` or a `Comment`.

What drifted over the years (after the month-by-month schemas of the dumps): times are numbers or text; `score` can be null;
`stickied`, `score_hidden`, `is_submitter`, `name`, `upvote_ratio` come and go; `edited` is false or a time; `_meta` tells
since 2023-11 when a score was read again, and what was deleted meanwhile.

Anything else than that is a `RowError`, which names the field. Names of users end here: what goes on is a hash with a key
that nobody keeps.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from alignzoo_reddit_votes.votes import Comment, Place, Post
from alignzoo_reddit_votes.words import NOBODYS, plain, sound

EARLIEST, LATEST = 1_100_000_000, 4_102_444_800
"""Between them (the end of 2004 and of 2099) a number of seconds can be a time of Reddit; milliseconds cannot."""
MOST = 10**9
"""More votes than there are."""
GONE = {"[deleted]", "[removed]", "[deleted by user]", "[unavailable]"}
BY_REDDIT = "[ removed by reddit"
"""How a text begins that the site itself took out: "… ]", "… in response to a copyright notice. ]", and others."""
REMOVED = ("removed_by_category", "removal_reason")
OFFICIAL = {"moderator", "admin"}
BOTS = ("bot", "automoderator")


class RowError(ValueError):
    """A row that cannot be read. It says what of it, never what stood there: the reasons are counted."""


@dataclass(frozen=True)
class Reader:
    """How rows are read."""

    links: bool = False
    """Whether links stay as they were written."""
    fetched: int = 0
    """When the scores were read, for rows that do not say; 0 if that is not known."""
    key: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)

    def __call__(self, row: Any, place: Place) -> Post | Comment:
        """What a row is; one that says neither "post" nor "comment" is known by its fields."""
        if not isinstance(row, dict):
            raise RowError("a row must be a table { … }")
        kind = row.get("kind")
        if kind in ("comment", "t1") or (kind is None and "body" in row):
            return self.comment(row, place)
        if kind in ("submission", "post", "t3") or "title" in row:
            return self.post(row, place)
        raise RowError("neither a post ('title') nor a comment ('body')")

    def comment(self, row: Mapping[str, Any], place: Place) -> Comment:
        link, parent = text(row, "link_id"), text(row, "parent_id")
        if parent != link and not parent.startswith(("t1_", "t3_")):
            raise RowError("'parent_id' must be t1_ or t3_ and an id of letters and digits")
        created, meta = moment(row, "created_utc"), meta_of(row)
        body, author = text(row, "body"), optional_text(row, "author")
        read, submitter = read_at(row, meta) or self.fetched, flag(row, "is_submitter")
        return Comment._make(  # by position: names would take longer than all the rest
            (
                number_of(link, "t3_", "link_id"),  # key
                identity(row, "t1_"),
                place,
                read,  # retrieved
                "",  # fault
                (),  # unknown
                created,
                score_of(row),
                plain(body, self.links),
                community(row),
                "" if parent == link else parent.removeprefix("t1_"),
                self.hashed(author) if submitter is None else None,
                ("[" in body and gone(body)) or bool(row.get("removal_reason") or (meta and meta_deleted(meta))),  # deleted
                None if author is None else author in GONE,  # author_deleted
                optional_text(row, "distinguished") in OFFICIAL,  # moderator
                submitter,
                flag(row, "stickied"),
                flag(row, "score_hidden"),
                edited(row),
                author is not None and author.lower().endswith(BOTS),  # machine
                author == "AutoModerator",
                read - created if read else None,  # age
                meta.get("note") != "no_2nd_retrieval",  # read_again
                "",  # licence
            )
        )

    def post(self, row: Mapping[str, Any], place: Place) -> Post:
        words, author, meta = optional_text(row, "selftext") or "", optional_text(row, "author"), meta_of(row)
        title = text(row, "title")
        id = identity(row, "t3_")
        return Post(
            key=number_of(id, "", "id"),
            id=id,
            place=place,
            retrieved=read_at(row, meta) or self.fetched,
            created=moment(row, "created_utc") if "created_utc" in row else None,
            score=score_of(row) if "score" in row else None,
            title=plain(title, self.links),
            text=plain(words, self.links),
            community=community(row),
            author=self.hashed(author),
            deleted=gone(words) or gone(title) or any(map(row.get, REMOVED)) or meta_deleted(meta),
            author_deleted=None if author is None else author in GONE,
            self_post=flag(row, "is_self"),
            over_18=flag(row, "over_18"),
            edited=edited(row),
            moderator=optional_text(row, "distinguished") in OFFICIAL,
            upvote_ratio=ratio(row),
        )

    def hashed(self, author: str | None) -> bytes | None:
        """The same author, the same hash, within this run; nothing for who deleted the account, for they are many."""
        if not author or author in GONE:
            return None
        return blake2b(author.encode("utf-8", "replace"), digest_size=8, key=self.key).digest()


def rows_in(value: Any) -> Iterable[Any]:
    """The rows in what a line or a file holds: one row, a list of them, listings as the site itself gives them, with replies
    in replies, or what an archive's service answers, {"data": [ … ]}. What the site did not send ("more") is no row."""
    if isinstance(value, dict) and "kind" not in value and "data" not in value:
        return (value,)  # most lines
    return _inside(value)


def _inside(value: Any) -> Iterator[Any]:
    ahead = [value]
    while ahead:
        value = ahead.pop()
        if isinstance(value, list):
            ahead += reversed(value)
            continue
        kind = value.get("kind") if isinstance(value, dict) else None
        data = value.get("data") if kind in (None, "Listing", "t1", "t3") and isinstance(value, dict) else None
        if kind is None and isinstance(data, list):
            ahead += reversed(data)
        elif kind is None or not isinstance(data, dict):
            if kind != "more":
                yield value
        elif kind == "Listing":
            children = data.get("children")
            ahead += reversed(children) if isinstance(children, list) else []
        else:
            if isinstance(data.get("replies"), dict):
                ahead.append(data["replies"])
            yield {**data, "kind": kind}


# Fields ---------------------------------------------------------------------------------------------------------------


def gone(text: str) -> bool:
    """Whether this is what stands in the place of a text that was deleted or removed."""
    said = text.strip()
    return said[:1] == "[" and said[-1] == "]" and (said in GONE or said.lower().startswith(BY_REDDIT))


def text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise RowError(f"'{name}' must be text" if name in row else f"'{name}' is missing")
    return value


def optional_text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise RowError(f"'{name}' must be text or null")
    return value


def community(row: Mapping[str, Any]) -> str:
    """Where it was written, without a name: of a user's own page none is told."""
    name = sound(optional_text(row, "subreddit") or "")
    return NOBODYS if name[:2] in ("u_", "U_") else name


def flag(row: Mapping[str, Any], name: str) -> bool | None:
    value = row.get(name)
    if value is not None and not isinstance(value, bool):
        raise RowError(f"'{name}' must be true, false or null")
    return value


def moment(row: Mapping[str, Any], name: str) -> int:
    """Seconds since 1970, as a number or as text (2007-11 to 2015-11)."""
    value = row.get(name)
    if type(value) is int and EARLIEST <= value <= LATEST:
        return value  # most rows
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        seconds = int(float(value))
    except (ValueError, OverflowError):
        raise RowError(f"'{name}' must be a time in seconds since 1970" if name in row else f"'{name}' is missing") from None
    if not EARLIEST <= seconds <= LATEST:
        raise RowError(f"'{name}' is no time between 2005 and 2099 in seconds since 1970")
    return seconds


def score_of(row: Mapping[str, Any]) -> int | None:
    """A whole number, or null (2017-10 and 2017-11)."""
    if "score" not in row:
        raise RowError("'score' is missing")
    value = row["score"]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is not None and (type(value) is not int or abs(value) > MOST):
        raise RowError("'score' must be a whole number or null")
    return value


def ratio(row: Mapping[str, Any]) -> float | None:
    """The share of up-votes (since 2020-04)."""
    value = row.get("upvote_ratio")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise RowError("'upvote_ratio' must be a number from 0 to 1")
    return float(value)


def edited(row: Mapping[str, Any]) -> bool | None:
    """False, or the time of the edit as a number or text."""
    value = row.get("edited")
    if value is False:
        return False  # most rows
    if isinstance(value, dict | list) or value != value:
        raise RowError("'edited' must be false or a time")
    return None if value is None else bool(value)


def identity(row: Mapping[str, Any], prefix: str) -> str:
    """The id without its prefix; `name` has the prefix, and is missing for years."""
    id = (text(row, "name") if "id" not in row and "name" in row else text(row, "id")).removeprefix(prefix)
    number_of(id, "", "id")
    return id


def number_of(id: str, prefix: str, name: str) -> int:
    """An id is a number written with the digits 0-9a-z."""
    bare = id.removeprefix(prefix)
    if not id.startswith(prefix) or not (bare.isascii() and bare.isalnum()) or len(bare) > 13:
        raise RowError(f"'{name}' must be {prefix and prefix + ' and '}an id of letters and digits")
    return int(bare, 36)


def meta_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    value = row.get("_meta")
    if value is not None and not isinstance(value, dict):
        raise RowError("'_meta' must be a table or null")
    return value or {}


def meta_deleted(meta: Mapping[str, Any]) -> bool:
    """Whether the archive saw a text vanish: it may still have it, and we do not take it."""
    return bool(meta.get("was_deleted_later") or meta.get("was_initially_deleted") or meta.get("removal_type"))


def read_at(row: Mapping[str, Any], meta: Mapping[str, Any]) -> int:
    """When the score was read, the last time; 0 if the row does not say."""
    if meta and meta.get("retrieved_2nd_on") is not None:
        return moment(meta, "retrieved_2nd_on")
    for name in ("retrieved_on", "retrieved_utc"):
        if row.get(name) is not None:
            return moment(row, name)
    return 0
