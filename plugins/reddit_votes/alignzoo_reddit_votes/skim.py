"""Knowing by a few bytes that a row need not be read: most lines of a dump are replies, stand under posts that are left
aside, or are posts of a link, and reading a line costs more than unpacking it.

The bytes looked for begin and end with a quotation mark, and within a text of JSON every quotation mark has a backslash before
it: what somebody wrote cannot look like them. A line that is not as the dumps write it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

Numbered = tuple[int, bytes]


@dataclass(frozen=True)
class Passed:
    """The lines that a rule left aside."""

    rule: str
    before: Sequence[Numbered]
    after: Sequence[Numbered]

    def __len__(self) -> int:
        return len(self.before) - len(self.after)

    def numbers(self) -> Iterator[int]:
        """Of the lines that are there before, and not after."""
        left = iter(self.after)
        one = next(left, None)
        for row in self.before:
            if row is one:
                one = next(left, None)
            else:
                yield row[0]


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

    def over(self, first: int, lines: Sequence[bytes]) -> tuple[list[Numbered], list[Passed]]:
        """The lines that must be read, with their numbers, and what was passed over. What does not end with a bracket is cut
        short, and is read."""
        rows = list(enumerate(lines, first))
        space = b" " if lines and b'": ' in lines[0][:200] else b""
        passed = []
        if self.reply:
            mark = b'"parent_id":' + space + b'"t1_'
            kept = [row for row in rows if mark not in row[1] or row[1][-1:] != b"}"]
            passed.append(Passed(self.reply, rows, kept))
            rows = kept
        if self.elsewhere:
            mark = b'"link_id":' + space + b'"t3_'
            kept = [row for row in rows if self._here(row[1], mark) or row[1][-1:] != b"}"]
            passed.append(Passed(self.elsewhere, rows, kept))
            rows = kept
        if self.link:
            # a crossposted post has another one within it: a line that says both is read
            no, yes = b'"is_self":' + space + b"false", b'"is_self":' + space + b"true"
            kept = [row for row in rows if no not in row[1] or yes in row[1] or row[1][-1:] != b"}"]
            passed.append(Passed(self.link, rows, kept))
            rows = kept
        return rows, passed

    def _here(self, line: bytes, mark: bytes) -> bool:
        """Whether a comment is on one of the posts; also where that is not plain to see."""
        start = line.find(mark) + len(mark)
        post = line[start : line.find(b'"', start)]
        return start < len(mark) or post in self.posts or not post.isalnum()
