"""Knowing by a few bytes that a row need not be read: most lines of a dump are replies, stand under posts that are left
aside, or are posts of a link, and reading a line costs more than unpacking it.

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

    def left(self, first: int, lines: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        """The lines that must be read, with their numbers."""
        space = b" " if lines and b'": ' in lines[0][:200] else b""
        reply, on = b'"parent_id":' + space + b'"t1_', b'"link_id":' + space + b'"t3_'
        # a crossposted post has another one within it: a line that says both is read
        other, own = b'"is_self":' + space + b"false", b'"is_self":' + space + b"true"
        for number, line in enumerate(lines, first):
            if line[-1:] == b"}":  # not cut short
                if self.reply and reply in line:
                    self._count(self.reply, number)
                    continue
                if self.elsewhere and (start := line.find(on) + len(on)) >= len(on):
                    post = line[start : line.find(b'"', start)]
                    if post not in self.posts and post.isalnum():
                        self._count(self.elsewhere, number)
                        continue
                if self.link and other in line and own not in line:
                    self._count(self.link, number)
                    continue
            yield number, line

    def _count(self, rule: str, number: int) -> None:
        if rule in self.seen:
            self.seen[rule][0] += 1
        else:
            self.seen[rule] = [1, number]

    def tell(self, tally: Tally, file: str) -> None:
        """Account for the lines that were passed over."""
        for rule, (count, first) in self.seen.items():
            tally.read += count
            tally.set_aside(rule, f"{file}:{first}", count)
        self.seen.clear()
