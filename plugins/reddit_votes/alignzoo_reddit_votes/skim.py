"""Knowing by a few bytes that a row need not be read: most lines of a dump are replies, stand under posts that are left
aside, or are posts of a link, and reading a line costs more than unpacking it.

The bytes looked for begin and end with a quotation mark, and within a text of JSON every quotation mark has a backslash before
it: what somebody wrote cannot look like them. A line that is not as the dumps write it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from alignzoo.tally import Tally


@dataclass
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
    seen: dict[str, list[int]] = field(default_factory=dict)
    """How many lines each rule left aside, and the number of the first."""

    def left(self, first: int, lines: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """The lines that must be read, with their numbers. What does not end with a bracket is cut short, and is read."""
        rows = list(enumerate(lines, first))
        space = b" " if lines and b'": ' in lines[0][:200] else b""
        if self.reply:
            mark = b'"parent_id":' + space + b'"t1_'
            rows = self._less(self.reply, rows, [row for row in rows if mark not in row[1] or row[1][-1:] != b"}"])
        if self.elsewhere:
            mark = b'"link_id":' + space + b'"t3_'
            rows = self._less(self.elsewhere, rows, [row for row in rows if self._here(row[1], mark) or row[1][-1:] != b"}"])
        if self.link:
            # a crossposted post has another one within it: a line that says both is read
            no, yes = b'"is_self":' + space + b"false", b'"is_self":' + space + b"true"
            kept = [row for row in rows if no not in row[1] or yes in row[1] or row[1][-1:] != b"}"]
            rows = self._less(self.link, rows, kept)
        return rows

    def _here(self, line: bytes, mark: bytes) -> bool:
        """Whether a comment is on one of the posts; also where that is not plain to see."""
        start = line.find(mark) + len(mark)
        post = line[start : line.find(b'"', start)]
        return start < len(mark) or post in self.posts or not post.isalnum()

    def _less(self, rule: str, before: list[tuple[int, bytes]], after: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Count what a rule left aside, and go on with the rest."""
        if len(after) < len(before):
            if rule not in self.seen:
                kept = {number for number, _ in after}
                self.seen[rule] = [0, next(number for number, _ in before if number not in kept)]
            self.seen[rule][0] += len(before) - len(after)
        return after

    def tell(self, tally: Tally, file: str) -> None:
        """Account for the lines that were passed over."""
        for rule, (count, first) in self.seen.items():
            tally.read += count
            tally.put_aside(rule, f"{file}:{first}", count)
        self.seen.clear()
