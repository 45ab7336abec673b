"""`alignzoo disable NAME`: leave a plugin installed and unseen."""

from __future__ import annotations

import argparse
from typing import Any


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "disable",
        help="leave a plugin installed, and unseen",
        description="Leave a plugin installed and unseen in this environment: until it is enabled, nothing imports it.",
        allow_abbrev=False,
    )
    page.add_argument("name", metavar="NAME", help="the plugin, or a component of it: all of the plugin is disabled")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from alignzoo.seam.discovery import discover
    from alignzoo.seam.installed import entries
    from alignzoo.seam.kept import keep, kept, place

    there = {entry.plugin for entry in entries()}
    plugin = args.name if args.name in there else discover().lookup(args.name).plugin
    state = kept()
    keep(replace(state, disabled=tuple(sorted({*state.disabled, plugin}))))
    print(f"plugin '{plugin}' is disabled in this environment ({place()}); back again: alignzoo enable {plugin}")
    return 0
