"""Plain tables: aligned columns, and no wider than the terminal where there is one."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under a heading. Empty columns are left out, and in a terminal the last column is cut at its edge."""
    lines = [list(head), *(list(row) for row in rows)]
    kept = [i for i in range(len(head)) if any(line[i] for line in lines[1:])]
    widths = {i: max(len(line[i]) for line in lines) for i in kept}
    whole = ("  ".join(line[i].ljust(widths[i]) for i in kept).rstrip() for line in lines)
    return "\n".join(_cut(line) for line in whole)


def _cut(line: str) -> str:
    if not sys.stdout.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return line if len(line) <= width else f"{line[: width - 1]}…"
