"""Plain tables: aligned columns, and no wider than the terminal where there is one."""

from __future__ import annotations

import sys

from alignzoo.seam.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LEAST_ROOM = 24


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under a heading. Empty columns are left out; in a terminal the last column is wrapped at its edge."""
    columns = [column for column in zip(head, *rows, strict=True) if any(column[1:])] or [tuple(head[:1])]
    *widths, _ = [max(map(len, column)) for column in columns]
    start = "".join(f"{{:{width}}}  " for width in widths)
    indent = sum(widths) + 2 * len(widths)
    room = max(_width() - indent, LEAST_ROOM)
    shown = []
    for *words, last in zip(*columns, strict=True):
        first, *more = _wrapped(last, room)
        shown.append(f"{start.format(*words)}{first}".rstrip())
        shown += [f"{' ' * indent}{part}" for part in more]
    return "\n".join(shown)


def _width() -> int:
    """The terminal's width; without a terminal nothing is wrapped."""
    if not sys.stdout.isatty():
        return sys.maxsize
    from shutil import get_terminal_size

    return get_terminal_size().columns


def _wrapped(text: str, room: int) -> list[str]:
    if len(text) <= room:
        return [text]
    from textwrap import wrap

    return wrap(text, room) or [""]
