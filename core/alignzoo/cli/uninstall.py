"""`alignzoo uninstall NAME`: remove a plugin."""

from __future__ import annotations

import argparse
from typing import Any


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "uninstall",
        help="remove an installed plugin",
        description="Remove the distribution that brought a plugin, and what was remembered of it.",
        allow_abbrev=False,
    )
    page.add_argument("name", metavar="NAME", help="the plugin, or its distribution")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from alignzoo.shop.installing import uninstall

    dist, brought = uninstall(args.name)
    print(f"{dist} is removed")
    if brought:
        print(f"what came with it stays, because something else may need it: {', '.join(brought)}")
    return 0
