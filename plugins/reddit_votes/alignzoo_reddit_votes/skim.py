"""Knowing by a few bytes that a comment need not be read: most lines of a dump are replies, or stand under posts that are
left aside, and reading a line costs more than unpacking it.

The bytes looked for begin and end with a quotation mark, and within a text of JSON every quotation mark has a backslash before
it: what somebody wrote cannot look like them. A line that is not as the dumps write it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from alignzoo.tally import Tally


@dataclass
class Skim:
    """Passes over lines; none of them if it is made without arguments."""

    reply: str = ""
    """The rule that leaves replies to comments aside; empty if none does."""
    elsewhere: str = ""
    """The rule that leaves comments on other posts than `posts` aside; empty if none does."""
    posts: AbstractSet[int] = frozenset()
    seen: dict[str, list[int]] = field(default_factory=dict)
    """How many lines each rule left aside, and the number of the first."""

    def left(self, first: int, lines: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        """The lines that must be read, with their numbers."""
        space = b" " if lines and b'": ' in lines[0][:200] else b""
        reply, link = b'"parent_id":' + space + b'"t1_', b'"link_id":' + space + b'"t3_'
        for number, line in enumerate(lines, first):
            if line[-1:] == b"}" and line[:1] == b"{":
                if self.reply and reply in line:
                    self._count(self.reply, number)
                    continue
                if self.elsewhere and (post := _number(line, link)) is not None and post not in self.posts:
                    self._count(self.elsewhere, number)
                    continue
            yield number, line

    def _count(self, rule: str, number: int) -> None:
        self.seen.setdefault(rule, [0, number])[0] += 1

    def tell(self, tally: Tally, file: str) -> None:
        """Account for the lines that were passed over."""
        for rule, (count, first) in self.seen.items():
            tally.read += count
            tally.set_aside(rule, f"{file}:{first}", count)
        self.seen.clear()


def _number(line: bytes, mark: bytes) -> int | None:
    """The number in base 36 that comes after a mark, if there is one."""
    start = line.find(mark)
    if start < 0:
        return None
    start += len(mark)
    digits = line[start : line.find(b'"', start)]
    return int(digits, 36) if digits.isalnum() and len(digits) <= 13 else None
