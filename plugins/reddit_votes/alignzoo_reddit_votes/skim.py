"""Knowing by a few bytes that a row need not be read: most lines of a dump are replies, stand under posts that are left
aside, or are posts of a link, and reading a line costs more than unpacking it.

The bytes looked for begin and end with a quotation mark, and within a text of JSON every quotation mark has a backslash before
it: what somebody wrote cannot look like them. A line that is not as the dumps write it is read. No line is cut out of its
block before it is known that it must be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

from alignzoo_reddit_votes.harvest import FEW

Numbered = tuple[int, bytes]
_CLOSING = ord("}")


class Passed(NamedTuple):
    """The lines that a rule left aside: how many, and the numbers of the first."""

    rule: str
    lines: int
    first: Sequence[int]


class Skimmed(NamedTuple):
    """A block of lines, of which few are left."""

    rows: Sequence[Numbered]
    """The lines that must be read, with their numbers."""
    passed: Sequence[Passed]
    next: int
    """The number of the line behind them."""


@dataclass(frozen=True)
class Skim:
    """Passes over lines; none of them if it is made without arguments. Each field is the name of a rule, or empty where
    that rule does not apply."""

    link: str = ""
    """Leaves posts aside that are no self-posts."""
    reply: str = ""
    """Leaves replies to comments aside."""
    elsewhere: str = ""
    """Leaves comments aside that are on other posts than `posts`."""
    posts: AbstractSet[bytes] = frozenset()
    """Ids of posts."""

    def over(self, first: int, text: bytes) -> Skimmed:
        """What there is in whole lines, of which the first has this number."""
        colon = b": " if b'": ' in text[:200] else b":"
        if self.link:
            return self._posts(first, text, colon)
        if self.reply or self.elsewhere:
            return self._comments(first, text, colon)
        rows = list(enumerate(text.split(b"\n"), first))
        return Skimmed(_spoken(rows), (), first + len(rows))

    def _comments(self, first: int, text: bytes, colon: bytes) -> Skimmed:
        """Of fields of one name the last counts. Where a bracket opens behind it, or closes before the line does, it may be of
        something within the row, or of a row that is cut short: then the line is read."""
        find, rfind, begins, reply, elsewhere, posts = (
            text.find,
            text.rfind,
            text.startswith,
            self.reply,
            self.elsewhere,
            self.posts,
        )
        answers, stands = b'"parent_id"' + colon + b'"t1_', b'"link_id"' + colon + b'"t3_'
        rows: list[Numbered] = []
        replies: list[int] = []
        others: list[int] = []
        number = first
        for number, start, end in _lines(first, text):
            if reply:
                at = rfind(b'"parent_id"', start, end)
                if at >= 0 and begins(answers, at) and find(b"}", at, end) == end - 1 and find(b"{", at, end) < 0:
                    replies.append(number)
                    continue
            if elsewhere:
                at = rfind(b'"link_id"', start, end)
                id = at + len(stands)
                post = text[id : find(b'"', id, end)] if at >= 0 and begins(stands, at) else b""
                if post.isalnum() and post not in posts and find(b"}", at, end) == end - 1 and find(b"{", at, end) < 0:
                    others.append(number)
                    continue
            rows.append((number, text[start:end]))
        return Skimmed(_spoken(rows), (_passed(self.reply, replies), _passed(self.elsewhere, others)), number + 1)

    def _posts(self, first: int, text: bytes, colon: bytes) -> Skimmed:
        """A crossposted post has another one within it: a line that says it twice is read."""
        find, no = text.find, b'"is_self"' + colon + b"false"
        rows: list[Numbered] = []
        links: list[int] = []
        for number, start, end in _lines(first, text):
            at = find(b'"is_self"', start, end)
            if at >= 0 and text.startswith(no, at) and find(b'"is_self"', at + 1, end) < 0 and text[end - 1] == _CLOSING:
                links.append(number)
            else:
                rows.append((number, text[start:end]))
        return Skimmed(_spoken(rows), (_passed(self.link, links),), number + 1)


def _lines(number: int, text: bytes) -> Iterator[tuple[int, int, int]]:
    """The number of each line, and from where to where it is."""
    find, start = text.find, 0
    while (end := find(b"\n", start)) >= 0:
        yield number, start, end
        number, start = number + 1, end + 1
    yield number, start, len(text)


def _spoken(rows: Iterable[Numbered]) -> list[Numbered]:
    """Without the lines that say nothing."""
    return [row for row in rows if row[1] and not row[1].isspace()]


def _passed(rule: str, numbers: Sequence[int]) -> Passed:
    return Passed(rule, len(numbers), numbers[:FEW])
