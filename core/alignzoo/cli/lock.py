"""`alignzoo lock`: write down which plugins there are, to the byte."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

FILE = "alignzoo.lock"


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "lock",
        help="write down which plugins are installed, to the byte",
        description="Write down which plugins are installed: version, and the digest of their bytes. alignzoo verify compares.",
        allow_abbrev=False,
    )
    page.add_argument("file", metavar="FILE", nargs="?", default=FILE, help=f"where to ({FILE})")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from alignzoo.shop.locking import write

    print(f"{len(write(Path(args.file)).plugin)} plugins → {args.file}")
    return 0
