"""`alignzoo search WORD`: what the registry knows."""

from __future__ import annotations

from alignzoo.seam.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from typing import Any


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "search",
        help="look for plugins in the registry",
        description="Look for plugins in the registry: by name, component, need or summary. Nothing is asked over the network.",
        allow_abbrev=False,
    )
    page.add_argument("word", metavar="WORD", nargs="*", help="all of them must occur; without any, everything is shown")
    page.add_argument("--registry", metavar="PATH", default="", help="a private registry, beside alignzoo's own")
    page.add_argument("--json", action="store_true", help="print JSON")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from alignzoo.seam.installed import entries
    from alignzoo.shop.catalogue import catalogue, search

    registry = catalogue(args.registry)
    found = search(registry, args.word)
    here = {entry.plugin: entry.version for entry in entries()}
    if args.json:
        import json
        from dataclasses import asdict

        print(json.dumps([{**asdict(plugin), "installed": here.get(plugin.id, "")} for plugin in found], indent=2))
        return 0
    from alignzoo.cli.table import table

    if not found:
        from alignzoo.seam.nearest import nearest

        print(f"nothing in the registry is about {' '.join(args.word)}{nearest(args.word[0], [p.id for p in registry.plugin])}")
        return 0
    rows = [(p.id, p.tier, here.get(p.id, ""), _kinds(p.components), p.summary) for p in found]
    print(table(("PLUGIN", "TIER", "INSTALLED", "OFFERS", "SUMMARY"), rows))
    return 0


def _kinds(components: tuple[str, ...]) -> str:
    """ "optimizer, 3 reward": a plugin may have dozens of components."""
    kinds = [component.partition(":")[0] for component in components]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    return ", ".join(kind if count == 1 else f"{count} {kind}" for kind, count in counts.items())
