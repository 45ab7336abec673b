"""`alignzoo list`: what is installed, and what of it is broken."""

from __future__ import annotations

import argparse
from typing import Any, get_args

from alignzoo.cli.opening import add_plugin
from alignzoo.seam.hookspecs import Kind


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "list",
        help="show the installed components",
        description="Show the installed components, and every fault in an installed plugin with its fix.",
        allow_abbrev=False,
    )
    page.add_argument("--kind", choices=get_args(Kind), help="only components of this kind")
    page.add_argument(
        "--accepts",
        metavar="DATA",
        action="append",
        help="only optimizers that this is enough for: comparisons, or prompts,reward",
    )
    add_plugin(page)
    page.add_argument("--json", action="store_true", help="print JSON")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from alignzoo.seam.discovery import discover

    zoo = discover(files=args.plugins)
    found = [f for f in zoo.components if not args.kind or f.component.kind == args.kind]
    if args.accepts:
        given = _given(args.accepts)
        found = [f for f in found if f.component.kind == "optimizer" and given.issuperset(f.component.needs)]
    if args.json:
        import json

        print(json.dumps({"components": [_row(f) for f in found], "broken": [_fault(b) for b in zoo.broken]}, indent=2))
        return 0
    print(_shown(found))
    if zoo.broken:
        print(_shown_faults(zoo.broken))
    return 0


def _given(options: list[str]) -> set[str]:
    """What the user has, spelled as a lesson spells it."""
    from dataclasses import fields

    from alignzoo.cli.parser import UsageError
    from alignzoo.interfaces import Lesson
    from alignzoo.seam.nearest import nearest

    words = {word.strip() for option in options for word in option.split(",") if word.strip()}
    known = [f.name for f in fields(Lesson)]
    for word in sorted(words - set(known)):
        raise UsageError(f"--accepts {word}: a lesson holds no such thing{nearest(word, known)}")
    return words


def _shown(found: list[Any]) -> str:
    from alignzoo.cli.table import table

    if not found:
        return "nothing of this sort is installed"
    ids = [(f.component.kind, f.component.id) for f in found]
    rows = []
    for f in found:
        alone = ids.count((f.component.kind, f.component.id)) == 1
        name = f.component.id if alone else f"{f.plugin}/{f.component.id}"
        needs, gives = ", ".join(f.component.needs), ", ".join(f.component.gives)
        rows.append((f.component.kind, name, needs, gives, f.origin, f.component.summary))
    return table(("KIND", "NAME", "NEEDS", "GIVES", "FROM", "SUMMARY"), rows)


def _shown_faults(broken: Any) -> str:
    lines = ["", f"{len(broken)} fault{'s' if len(broken) > 1 else ''} in installed plugins:"]
    for fault in broken:
        lines += [f"  {fault.plugin} ({fault.origin}): {fault.reason}", f"    fix: {fault.fix}"]
    return "\n".join(lines)


def _row(found: Any) -> dict[str, Any]:
    from dataclasses import asdict

    shown = {"name": found.full_name, "plugin": found.plugin, "distribution": found.distribution}
    return {**shown, "version": found.version, **asdict(found.component)}


def _fault(broken: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(broken)
