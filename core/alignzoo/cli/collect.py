"""`alignzoo collect`: gather the feedback that a run learns from."""

from __future__ import annotations

import argparse
from typing import Any

from alignzoo.cli.opening import add_run, dry, working

HELP = "gather the feedback that a run learns from"


def add(verbs: Any) -> None:
    page = verbs.add_parser("collect", help=HELP, description=HELP, allow_abbrev=False)
    add_run(page)
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if dry(args):
        return 0
    with working(args) as run:
        print(run.collect())
    return 0
