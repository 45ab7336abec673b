"""Knowing by a few bytes that a row need not be read: most lines of a dump are replies, stand under posts that are left
aside, or are posts of a link, and reading a line costs more than unpacking it.

The bytes looked for begin and end with a quotation mark, and within a text of JSON every quotation mark has a backslash before
it: what somebody wrote cannot look like them. A line that is not as the dumps write it is read, and so is one without a line
end: it may be cut. So is one in which another row begins: the first was cut, and its line end with it. No line is cut out of
its block before it is known that it must be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from alignzoo_reddit_votes.dumps import Lines
from alignzoo_reddit_votes.harvest import FEW

Numbered = tuple[int, bytes]
_OPENING, _CLOSING, _QUOTE, _NEWLINE = (ord(letter) for letter in '{}"\n')
_PIECE = 1 << 16
"""Bytes that are looked at together for tables: what is made of so many has room in a processor's cache."""


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

    def over(self, first: int, lines: Lines) -> Skimmed:
        """What there is in whole lines, of which the first has this number."""
        held, start, end, ended = lines
        colon = b": " if held.find(b'": ', start, min(start + 200, end)) >= 0 else b":"
        if self.link and ended:
            return self._posts(first, lines, colon)
        if (self.reply or self.elsewhere) and ended:
            return self._comments(first, lines, colon)
        rows = list(enumerate(lines.text.split(b"\n"), first))
        return Skimmed(_spoken(rows), (), first + len(rows))

    def _comments(self, first: int, lines: Lines, colon: bytes) -> Skimmed:
        """Of fields of one name the last counts. Where a bracket opens behind it, or closes before the line does, it may be of
        something within the row, or of a row that is cut short: then the line is read."""
        held, reply, elsewhere, posts = lines.held, self.reply, self.elsewhere, self.posts
        find, rfind, begins = held.find, held.rfind, held.startswith
        answers, stands = b'"parent_id"' + colon + b'"t1_', b'"link_id"' + colon + b'"t3_'
        torn = _torn(lines)
        rows: list[Numbered] = []
        replies: list[int] = []
        others: list[int] = []
        number = first
        for number, start, end in _bounds(first, lines):
            if end in torn:
                rows.append((number, bytes(held[start:end])))
                continue
            if reply:
                at = rfind(b'"parent_id"', start, end)
                if at >= 0 and begins(answers, at) and find(b"}", at, end) == end - 1 and find(b"{", at, end) < 0:
                    replies.append(number)
                    continue
            if elsewhere:
                at = rfind(b'"link_id"', start, end)
                id = at + len(stands)
                post = bytes(held[id : find(b'"', id, end)]) if at >= 0 and begins(stands, at) else b""
                if post.isalnum() and post not in posts and find(b"}", at, end) == end - 1 and find(b"{", at, end) < 0:
                    others.append(number)
                    continue
            rows.append((number, bytes(held[start:end])))
        return Skimmed(_spoken(rows), (_passed(self.reply, replies), _passed(self.elsewhere, others)), number + 1)

    def _posts(self, first: int, lines: Lines, colon: bytes) -> Skimmed:
        """A crossposted post has another one within it: a line that says it twice is read."""
        held, find, no = lines.held, lines.held.find, b'"is_self"' + colon + b"false"
        rows: list[Numbered] = []
        links: list[int] = []
        torn = _torn(lines)
        for number, start, end in _bounds(first, lines):
            at = find(b'"is_self"', start, end)
            alone = at >= 0 and held.startswith(no, at) and find(b'"is_self"', at + 1, end) < 0
            if alone and held[end - 1] == _CLOSING and end not in torn:
                links.append(number)
            else:
                rows.append((number, bytes(held[start:end])))
        return Skimmed(_spoken(rows), (_passed(self.link, links),), number + 1)


def _bounds(number: int, lines: Lines) -> Iterator[tuple[int, int, int]]:
    """The number of each line, and from where to where it is."""
    held, start, last, _ = lines
    find = held.find
    while (end := find(b"\n", start, last)) >= 0:
        yield number, start, end
        number, start = number + 1, end + 1
    yield number, start, last


def _torn(lines: Lines) -> set[int]:
    """The ends of the lines in which another row begins. A table within a row stands behind a colon, a comma or a bracket; one
    that stands elsewhere, or begins as the first row of these lines does, is another row."""
    held, first, last, _ = lines
    letters = np.frombuffer(held, np.uint8, last - first, first)
    opening = bytes(held[held.find(b"{", first, last) : held.find(b'":', first, last) + 1])
    places: list[int] = []
    for at in range(0, len(letters) - 2, _PIECE):
        piece = letters[at : at + _PIECE + 2]
        inner = piece[1:-1] == _OPENING
        inner &= piece[2:] == _QUOTE
        inner &= piece[:-2] != _NEWLINE
        if inner.any():
            places += (first + at + 1 + int(place) for place in np.flatnonzero(inner))
    those = (place for place in places if held[place - 1] not in b":,[ " or held.startswith(opening, place))
    return {last if (end := held.find(b"\n", place, last)) < 0 else end for place in those}


def _spoken(rows: Iterable[Numbered]) -> list[Numbered]:
    """Without the lines that say nothing."""
    return [row for row in rows if row[1] and not row[1].isspace()]


def _passed(rule: str, numbers: Sequence[int]) -> Passed:
    return Passed(rule, len(numbers), numbers[:FEW])
