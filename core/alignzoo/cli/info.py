"""`alignzoo info NAME`: one component, with its settings."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from alignzoo.cli.opening import add_plugin

if TYPE_CHECKING:
    from alignzoo.seam.described import Setting


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "info",
        help="show one component and its settings",
        description="Show one component: what it needs and gives, where it comes from, and its settings.",
        allow_abbrev=False,
    )
    page.add_argument("name", metavar="NAME", help="dpo, optimizer:dpo, or in full optimizer:dpo/dpo")
    add_plugin(page)
    page.add_argument("--json", action="store_true", help="print JSON")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from alignzoo.seam.described import described
    from alignzoo.seam.discovery import discover

    found = discover(files=args.plugins).lookup(args.name)
    facts, settings = _facts(found), described(found.component.object)
    if args.json:
        import json
        from dataclasses import asdict

        print(json.dumps({**facts, "settings": [asdict(setting) for setting in settings]}, indent=2))
        return 0
    from textwrap import fill

    print(f"{facts.pop('name')}\n{fill(facts.pop('summary'), 100)}\n")
    lines = {key: ", ".join(value) if isinstance(value, tuple) else value for key, value in facts.items()}
    print("\n".join(f"{key + ':':<13} {value}" for key, value in lines.items() if value))
    print(f"\n{_settings(settings)}")
    return 0


def _facts(found: Any) -> dict[str, Any]:
    component = found.component
    return {
        "name": found.full_name,
        "summary": component.summary,
        "distribution": found.distribution,
        "version": found.version,
        "api": component.api,
        "object": component.object,
        "digest": found.digest(),
        "needs": component.needs,
        "gives": component.gives,
        "paper": component.paper,
    }


def _settings(settings: list[Setting]) -> str:
    from alignzoo.cli.table import table

    if not settings:
        return "no settings"
    head = ("SETTING", "TYPE", "DEFAULT", "RANGE", "MEANING")
    return table(head, ((s.name, s.type, s.default or "(required)", s.range, s.doc) for s in settings))
