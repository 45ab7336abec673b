"""`alignzoo annotators`: who judged, how far they agree, what draws them, and whom to rely on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from alignzoo.records import Feedback, RecordError, record_from_row
from alignzoo.rows import Fault, rows_in
from alignzoo.who import Place, Who, WhoError

DEFAULT = Who()


def arguments(page: argparse.ArgumentParser) -> None:
    page.add_argument("target", metavar="RUN", help="feedback (.jsonl), the folder of a run, or a run file (.toml) to collect")
    page.add_argument("--gold", metavar="FILE", help="judgements of some of the same answers by somebody who knows (.jsonl)")
    page.add_argument("--groups", metavar="FILE", default="", help="each annotator's group: a JSON object, or CSV")
    places = get_args(Place)
    page.add_argument("--group-in", default=DEFAULT.read, choices=places, help="else where a record tells it (note)")
    page.add_argument("--group-is", metavar="RE", default=DEFAULT.pattern, help="and how: the first bracket is the group")
    page.add_argument("--shown", metavar="RE", default=DEFAULT.shown, help="on the note: the first bracket is what was chosen")
    page.add_argument("--resamples", type=int, default=1000, metavar="N", help="draws of prompts for the intervals")
    page.add_argument("--seed", type=int, default=0, help="of those draws")
    page.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    if args.resamples < 1:
        raise WhoError(f"--resamples {args.resamples}: an interval needs at least one draw, and a good one a thousand")
    who = Who(args.groups, args.group_in, args.group_is, args.shown)
    if args.gold and not Path(args.gold).is_file():
        raise WhoError(f"--gold {args.gold}: there is no such file")
    feedback = feedback_of(Path(args.target))

    from alignzoo.lab.store import read_feedback
    from alignzoo_annotators.survey import survey
    from alignzoo_annotators.told import lines_of

    gold = gold_in(Path(args.gold)) if args.gold else ()
    sections = survey(read_feedback(feedback), who, gold, args.resamples, args.seed)
    if args.json:
        print(json.dumps([section.row() for section in sections], ensure_ascii=False, indent=1))
        return 0
    print("\n\n".join("\n".join(lines_of(section)) for section in sections))
    print(
        f"\n95 % intervals: of shares by Wilson, the others by {args.resamples:,} draws of prompts. – is what cannot be told."
    )
    return 0


def gold_in(path: Path) -> Iterator[Feedback]:
    """The records of a file that somebody brought along, which may be packed, and is no file of ours."""
    for place, row in rows_in(path, ".jsonl"):
        try:
            if isinstance(row, Fault):
                raise RecordError(row.reason)
            yield record_from_row(row)
        except RecordError as error:
            raise WhoError(f"{path.with_name(place)}: {error}; mend this line, or delete it") from None


def feedback_of(target: Path) -> Path:
    """The file of feedback that is meant. A run file is collected first, as `alignzoo collect` does."""
    if target.suffix == ".toml" and target.is_file():
        from alignzoo.cli.quiet import quiet_libraries

        quiet_libraries()
        from alignzoo.lab.run import Run

        return Run.open(target).collect()
    if target.is_dir():
        if (target / "feedback.jsonl").is_file():
            return target / "feedback.jsonl"
        raise WhoError(f"{target} has no feedback.jsonl; `alignzoo collect {target}` gathers it")
    if not target.is_file():
        raise WhoError(f"there is no file or folder {target}")
    return target
