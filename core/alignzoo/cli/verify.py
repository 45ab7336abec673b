"""`alignzoo verify`: whether the installed plugins are those of a lock."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from alignzoo.cli.lock import FILE


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "verify",
        help="compare the installed plugins with a lock",
        description="Compare the installed plugins with a lock. Any difference is an error (exit code 2), and is named.",
        allow_abbrev=False,
    )
    page.add_argument("file", metavar="FILE", nargs="?", default=FILE, help=f"what alignzoo lock wrote ({FILE})")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from alignzoo.shop.locking import verify

    print(f"{len(verify(Path(args.file)).plugin)} plugins are as {args.file} says")
    return 0
