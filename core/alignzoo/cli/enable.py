"""`alignzoo enable NAME`: see a disabled plugin again."""

from __future__ import annotations

import argparse
from typing import Any


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "enable",
        help="see a disabled plugin again",
        description="See a disabled plugin again.",
        allow_abbrev=False,
    )
    page.add_argument("name", metavar="NAME", help="the plugin that was disabled")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from alignzoo.seam.kept import keep, kept
    from alignzoo.seam.nearest import nearest
    from alignzoo.shop import ShopError

    state = kept()
    if args.name not in state.disabled:
        raise ShopError(f"plugin '{args.name}' is not disabled{nearest(args.name, state.disabled)}")
    keep(replace(state, disabled=tuple(name for name in state.disabled if name != args.name)))
    print(f"plugin '{args.name}' is enabled")
    return 0
