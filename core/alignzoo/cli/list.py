"""`alignzoo list`: what is installed, and what of it is broken."""

from __future__ import annotations

from alignzoo.cli.naming import add_plugin
from alignzoo.seam.light import TYPE_CHECKING
from alignzoo.seam.vetting import KINDS

if TYPE_CHECKING:
    import argparse
    from typing import Any

    from alignzoo.seam.zoo import Found, Zoo


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "list",
        help="show the installed components",
        description="Show the installed components, and every fault in an installed plugin with its fix.",
        allow_abbrev=False,
    )
    page.add_argument("--kind", choices=KINDS, help="only components of this kind")
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
    from alignzoo.seam.kept import kept

    zoo, state = discover(files=args.plugins), kept()
    found = [f for f in zoo.components if not args.kind or f.component.kind == args.kind]
    if args.accepts:
        given = _given(args.accepts)
        found = [f for f in found if f.component.kind == "optimizer" and given.issuperset(f.component.needs)]
    plugins = {f.plugin: f for f in found}
    tiers = {name: state.tier(name, f.distribution, f.version, zoo.registry) for name, f in plugins.items()}
    if args.json:
        import json

        rows = [{**_row(f), "tier": tiers[f.plugin], "health": _health(f, zoo)} for f in found]
        faults, asleep = [_plain(fault) for fault in zoo.broken], [_plain(entry) for entry in zoo.disabled]
        print(json.dumps({"components": rows, "broken": faults, "disabled": asleep}, indent=2))
        return 0
    print(_shown(found, zoo, tiers))
    if zoo.broken:
        print(_shown_faults(zoo.broken))
    if zoo.disabled:
        print("\ndisabled (alignzoo enable NAME):")
        print("\n".join(f"  {entry.plugin} ({entry.distribution} {entry.version})" for entry in zoo.disabled))
    return 0


def _health(found: Found, zoo: Zoo) -> str:
    """Of a component that can be used: whether its plugin has a fault all the same."""
    return "fault" if any((f.plugin, f.distribution) == (found.plugin, found.distribution) for f in zoo.broken) else "ok"


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


def _shown(found: list[Found], zoo: Zoo, tiers: dict[str, str]) -> str:
    from alignzoo.cli.table import table

    if not found:
        return "nothing of this sort is installed"
    owners: dict[tuple[str, str], set[str]] = {}
    for f in found:
        owners.setdefault((f.component.kind, f.component.id), set()).add(f.plugin)
    rows = []
    for f in found:
        alone = len(owners[f.component.kind, f.component.id]) == 1
        name = f.component.id if alone else f"{f.plugin}/{f.component.id}"
        needs, gives = ", ".join(f.component.needs), ", ".join(f.component.gives)
        known = (tiers[f.plugin], _health(f, zoo))
        rows.append((f.component.kind, name, needs, gives, f.origin, *known, f.component.summary))
    return table(("KIND", "NAME", "NEEDS", "GIVES", "FROM", "TIER", "HEALTH", "SUMMARY"), rows)


def _shown_faults(broken: Any) -> str:
    lines = ["", f"{len(broken)} fault{'s' if len(broken) > 1 else ''} in installed plugins:"]
    for fault in broken:
        lines += [f"  {fault.plugin} ({fault.origin}): {fault.reason}", f"    fix: {fault.fix}"]
    return "\n".join(lines)


def _row(found: Found) -> dict[str, Any]:
    from dataclasses import asdict

    shown = {"name": found.full_name, "plugin": found.plugin, "distribution": found.distribution}
    return {**shown, "version": found.version, **asdict(found.component)}


def _plain(row: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(row)
