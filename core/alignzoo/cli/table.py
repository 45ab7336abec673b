"""Plain tables: aligned columns, and no wider than the terminal where there is one."""

from __future__ import annotations

import sys

from alignzoo.seam.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LEAST_ROOM = 24


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under a heading. Empty columns are left out; in a terminal the last column is wrapped at its edge."""
    lines = [list(head), *(list(row) for row in rows)]
    *columns, last = [i for i in range(len(head)) if any(line[i] for line in lines[1:])] or [0]
    widths = {i: max(len(line[i]) for line in lines) for i in columns}
    indent = sum(widths.values()) + 2 * len(widths)
    room = max(_width() - indent, LEAST_ROOM)
    shown = []
    for line in lines:
        start = "".join(line[i].ljust(widths[i] + 2) for i in columns)
        for part in _wrapped(line[last], room):
            shown.append(f"{start}{part}".rstrip())
            start = " " * indent
    return "\n".join(shown)


def _width() -> int:
    """The terminal's width; without a terminal nothing is wrapped."""
    if not sys.stdout.isatty():
        return sys.maxsize
    from shutil import get_terminal_size

    return get_terminal_size().columns


def _wrapped(text: str, room: int) -> Iterator[str]:
    if len(text) <= room:
        yield text
        return
    from textwrap import wrap

    yield from wrap(text, room)
