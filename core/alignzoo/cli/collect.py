"""`alignzoo collect`: gather the feedback that a run learns from."""

from __future__ import annotations

import argparse
from typing import Any

from alignzoo.cli.opening import add_run, dry, looking, working

HELP = "gather the feedback that a run learns from"


def add(verbs: Any) -> None:
    page = verbs.add_parser("collect", help=HELP, description=HELP, allow_abbrev=False)
    add_run(page)
    page.add_argument(
        "--preview",
        type=int,
        nargs="?",
        const=3,
        metavar="N",
        help="show the first N records (3) and what was left out and why; keep nothing, train nothing",
    )
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if dry(args):
        return 0
    if args.preview is not None:
        return _preview(args)
    with working(args) as run:
        print(run.collect())
    return 0


def _preview(args: argparse.Namespace) -> int:
    from alignzoo.cli.parser import UsageError
    from alignzoo.records import to_json
    from alignzoo.tally import TallyError

    if args.preview < 0:
        raise UsageError(f"--preview shows 0 records or more; got {args.preview}")
    run = looking(args)
    records, tally = run.preview(args.preview)
    print(*map(to_json, records), sep="\n")
    print(*(tally.lines() or ["the source makes up its records: there are no rows to account for"]), sep="\n")
    try:
        tally.check(run.plan.intake.dropped)
    except TallyError as error:
        print(f"A run would refuse this: {str(error).partition(':')[0]}.")
    else:
        if args.preview and not records:
            print("A run would refuse this: no record is left.")
    return 0
