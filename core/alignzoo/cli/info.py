"""`alignzoo info NAME`: one component with its settings, or a plugin that the registry lists."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from alignzoo.cli.naming import add_plugin

if TYPE_CHECKING:
    from alignzoo.seam.described import Setting
    from alignzoo.seam.zoo import Found
    from alignzoo.shop.facts import Facts


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "info",
        help="show one component and its settings",
        description="Show one component: what it needs and gives, where it comes from, what is known of it, and its settings. "
        "Of a plugin that is not installed: what the registry says.",
        allow_abbrev=False,
    )
    page.add_argument("name", metavar="NAME", help="dpo, optimizer:dpo, or in full optimizer:dpo/dpo; or a listed plugin")
    page.add_argument("--readme", action="store_true", help="show the plugin's own page, and nothing else")
    page.add_argument("--registry", metavar="PATH", default="", help="a private registry, beside alignzoo's own")
    add_plugin(page)
    page.add_argument("--json", action="store_true", help="print JSON")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from alignzoo.seam.described import described
    from alignzoo.seam.discovery import discover
    from alignzoo.seam.zoo import ZooError
    from alignzoo.shop.catalogue import catalogue
    from alignzoo.shop.facts import facts

    registry = catalogue(args.registry)
    zoo = discover(files=args.plugins)
    settings: list[Setting] | None = None
    try:
        found = zoo.lookup(args.name)
        known = facts(found.plugin, registry)
        said, settings = _facts(found, known), described(found.component.object)
    except ZooError:
        listed = registry.entry(args.name)
        if listed is None or any(fault.plugin == listed.id for fault in zoo.broken):
            raise
        known = facts(args.name, registry)
        said = {"name": listed.id, "summary": listed.summary, "distribution": listed.dist, "components": listed.components}
        said |= {"needs": listed.needs, **_more(known)}
    if args.readme:
        print(known.readme or f"plugin '{known.plugin}' has no page of its own here")
        return 0
    if args.json:
        import json
        from dataclasses import asdict

        rows = {"settings": [asdict(setting) for setting in settings]} if settings is not None else {}
        print(json.dumps({**said, "readme": known.readme, **rows}, indent=2))
        return 0
    _show(said, known, settings)
    return 0


def _show(said: dict[str, Any], known: Facts, settings: list[Setting] | None) -> None:
    from textwrap import fill

    print(f"{said.pop('name')}\n{fill(said.pop('summary'), 100)}\n")
    lines = {key: ", ".join(value) if isinstance(value, tuple) else value for key, value in said.items()}
    if known.readme:
        lines["readme"] = f"{known.readme.splitlines()[0].lstrip('# ')}, {len(known.readme.splitlines())} lines (--readme)"
    print("\n".join(f"{key + ':':<13} {value}" for key, value in lines.items() if value))
    if settings is not None:
        print(f"\n{_settings(settings)}")


def _facts(found: Found, known: Facts) -> dict[str, Any]:
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
        **{key: value for key, value in _more(known).items() if key != "paper" or not component.paper},
    }


def _more(known: Facts) -> dict[str, Any]:
    """What is known of the plugin, its page apart."""
    from dataclasses import asdict

    return {key: value for key, value in asdict(known).items() if key not in ("readme", "plugin")}


def _settings(settings: list[Setting]) -> str:
    from alignzoo.cli.table import table

    if not settings:
        return "no settings"
    head = ("SETTING", "TYPE", "DEFAULT", "RANGE", "MEANING")
    return table(head, ((s.name, s.type, s.default or "(required)", s.range, s.doc) for s in settings))
