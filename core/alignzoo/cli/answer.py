"""`alignzoo answer`: what start and policy say to the test prompts."""

from __future__ import annotations

import argparse
from typing import Any

from alignzoo.cli.opening import add_run, dry, working

HELP = "have start and policy answer the test prompts"


def add(verbs: Any) -> None:
    page = verbs.add_parser("answer", help=HELP, description=HELP, allow_abbrev=False)
    add_run(page)
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if dry(args):
        return 0
    with working(args) as run:
        print(run.answer())
    return 0
