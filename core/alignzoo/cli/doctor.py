"""`alignzoo doctor`: what ails this environment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from alignzoo.cli import USER_ERROR
from alignzoo.cli.lock import FILE


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "doctor",
        help="examine the plugins and the GPU stack",
        description="Import each plugin in a process of its own, with a time limit; look at names, files, the lock and the GPU "
        "stack. Exit code 2 if there is a fault.",
        allow_abbrev=False,
    )
    page.add_argument("name", metavar="NAME", nargs="?", default="", help="only this plugin")
    page.add_argument("--deep", action="store_true", help="also import what the components name, torch and all; slow")
    page.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="how long one plugin may take")
    page.add_argument("--lock", default=FILE, metavar="FILE", help=f"the lock to compare with, if it is there ({FILE})")
    page.add_argument("--json", action="store_true", help="print JSON")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from alignzoo.shop.doctor import Visit, examination

    findings = []
    for finding in examination(Visit(args.name, args.deep, args.timeout, Path(args.lock))):
        findings.append(finding)
        if not args.json:
            print(f"{finding.level:<6} {finding.about}: {finding.words}", flush=True)
            if finding.fix:
                print(f"       fix: {finding.fix}", flush=True)
    faults = [finding for finding in findings if finding.level == "fault"]
    if args.json:
        import json
        from dataclasses import asdict

        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print(f"{len(faults)} fault{'s' if len(faults) != 1 else ''}")
    return USER_ERROR if faults else 0
