"""`alignzoo train`: align. Called again after an interruption, it goes on where it was."""

from __future__ import annotations

import argparse
from typing import Any

from alignzoo.cli.opening import add_run, dry, working

HELP = "align the policy, after making its start and its feedback where that is still to be done"


def add(verbs: Any) -> None:
    page = verbs.add_parser("train", help=HELP, description=HELP, allow_abbrev=False)
    add_run(page)
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if dry(args):
        return 0
    with working(args) as run:
        run.train()
        print(run.files.train.adapter)
    return 0
