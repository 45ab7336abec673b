"""`alignzoo judge`: score the answers and write the report."""

from __future__ import annotations

import argparse
from typing import Any

from alignzoo.cli.opening import add_run, dry, working

HELP = "score the answers and write the report"


def add(verbs: Any) -> None:
    page = verbs.add_parser("judge", help=HELP, description=HELP, allow_abbrev=False)
    add_run(page)
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if dry(args):
        return 0
    with working(args) as run:
        run.report()
        print(run.files.report)
    return 0
