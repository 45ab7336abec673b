"""`alignzoo run`: the whole way from a run file to its report."""

from __future__ import annotations

import argparse
from typing import Any

from alignzoo.cli.opening import add_run, dry, working

HELP = "do everything: collect, train, answer, judge, and show the report"


def add(verbs: Any) -> None:
    page = verbs.add_parser("run", help=HELP, description=HELP, allow_abbrev=False)
    add_run(page)
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from alignzoo.cli.show import show

    if dry(args):
        return 0
    with working(args) as run:
        show(run.report(), run.files.root)
    return 0
