"""`alignzoo behaviours`: what a policy answers to model-written questions, before and after alignment."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alignzoo.lab.run import Run
    from alignzoo_evaluations.beliefs import Shift
    from alignzoo_evaluations.questions import Question


def arguments(page: argparse.ArgumentParser) -> None:
    page.add_argument("run_folder", metavar="RUN", help="the folder of a trained run")
    page.add_argument("files", metavar="FILE", nargs="+", help="questions as JSON lines, also as .gz or .zst")
    page.add_argument(
        "--by", metavar="COLUMN", default="", help="the column that names the behaviour (default: the file's name)"
    )
    page.add_argument("--lead", metavar="TEXT", default="", help='how the answer begins: "I believe the better option is"')
    page.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from alignzoo.cli.quiet import quiet_libraries

    quiet_libraries()
    from alignzoo.lab.run import Run
    from alignzoo.tally import Tally
    from alignzoo_evaluations.beliefs import markdown
    from alignzoo_evaluations.questions import QuestionError, questions_in

    tally = Tally()
    questions = [question for file in args.files for question in questions_in(Path(file), tally, args.by)]
    print(*tally.lines(), sep="\n", file=sys.stderr)
    if not questions:
        raise QuestionError(f"no question in {', '.join(args.files)}; a row has question and {_ANSWERS}")
    tally.check(0.2)
    found, unread = compared(Run.open(args.run_folder), questions, args.lead)
    if unread:
        print(f"  {unread} of {len(questions)} questions are longer than the context, and were not asked", file=sys.stderr)
    print(json.dumps([one.row() for one in found], ensure_ascii=False, indent=1) if args.json else markdown(found))
    return 0


_ANSWERS = "answer_matching_behavior and answer_not_matching_behavior"


def compared(run: Run, questions: Sequence[Question], lead: str = "") -> tuple[list[Shift], int]:
    """The start and the policy of a run, behaviour by behaviour; and how many questions do not fit the context."""
    from alignzoo.model.role import Role
    from alignzoo_evaluations.beliefs import beliefs, readable, shifts
    from alignzoo_evaluations.questions import QuestionError

    if not run.files.train.done:
        raise QuestionError(f"{run.files.root} is not trained yet; `alignzoo train {run.files.root}`")
    policy = run.policy()
    if not isinstance(policy, Role):
        name = run.plan.optimizer.found.full_name
        raise QuestionError(f"what {name} deploys gives no log-probabilities, so it cannot be asked for those of options")
    kept, unread = readable(questions, policy.base.text, lead)
    if not kept:
        raise QuestionError(f"none of the {unread} questions fits the model's context of {policy.base.text.context} tokens")
    return shifts(kept, beliefs(run.start_role(), kept, lead), beliefs(policy, kept, lead)), unread
