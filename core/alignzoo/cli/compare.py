"""`alignzoo compare`: finished runs side by side."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "compare",
        help="put finished runs side by side",
        description="Put finished runs side by side: who is better, by how much, and whether that can be believed. Runs that "
        "differ in nothing but the seed are one contestant.",
        allow_abbrev=False,
    )
    page.add_argument("runs", metavar="RUN", nargs="+", help="the folder of a finished run")
    page.add_argument("--out", metavar="DIR", help="write report.html, report.md and report.json there")
    page.add_argument(
        "--duels", metavar="FILE", help="a file with a table [duels]: who decides between two answers (needs --out)"
    )
    page.add_argument("--name", default="comparison", help="the title of the report")
    page.add_argument("--json", action="store_true", help="print JSON")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from alignzoo.lab.compare.together import together
    from alignzoo.lab.compare.words import markdown

    out = Path(args.out) if args.out else None
    duels = Path(args.duels) if args.duels else None
    found = together([Path(root) for root in args.runs], args.name, out, duels, _tell)
    if args.json:
        import json

        print(json.dumps(found.row(), indent=1))
        return 0
    print(markdown(found), end="")
    if out:
        print(f"\nwritten: {out / 'report.html'}, report.md, report.json")
    return 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
