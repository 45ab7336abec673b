"""`alignzoo evaluate-reward`: how often a reward is right about pairs that people judged."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignzoo_evaluations.candidates import Candidate


def arguments(page: argparse.ArgumentParser) -> None:
    page.add_argument("reward", metavar="REWARD", help="the folder of a run, a reward's name, or module:function")
    page.add_argument("file", metavar="FILE", nargs="?", help="pairs: JSON lines, CSV, parquet; each also as .gz or .zst")
    page.add_argument("--subset", metavar="COLUMN", default="", help="tell apart by this column (with --as: by this field)")
    page.add_argument("--name", metavar="NAME", default="", help="of a run with several rewards, this one")
    page.add_argument("--implicit", choices=("sum", "mean"), help="of a run, what its policy has become: log π/π_start")
    page.add_argument("--beta", type=float, help="β of the implicit reward (default: the optimizer's own, else 1)")
    page.add_argument("--as", metavar="SOURCE", default="file", dest="source", help="the feedback source that reads FILE")
    page.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="a setting: feedback.columns.prompt=question, reward.free=20, intake.dropped=0.5",
    )
    page.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from alignzoo.cli.quiet import quiet_libraries

    quiet_libraries()
    from alignzoo.learning.choices import Limits
    from alignzoo.seam.settings import build, override
    from alignzoo_evaluations.pairs import trial_of, tried

    table = _asked(args)
    for setting in args.settings:
        table = override(table, setting)
    candidate = _candidate(args, table.pop("reward", {}))
    limits: Limits = build(Limits, table.pop("intake", {}), "intake")
    by_column = args.source == "file" and table["feedback"].get("form") != "records"
    if args.subset and by_column:
        table = override(table, f"feedback.columns.note={json.dumps(args.subset)}")
    trial = trial_of(args.source, table["feedback"], "note" if args.subset and by_column else args.subset, limits)
    found, told = tried(candidate, trial, limits)
    print(*trial.tally.lines(), *told, sep="\n", file=sys.stderr)
    print(json.dumps(found.row(), ensure_ascii=False, indent=1) if args.json else found.markdown(), end="\n" * args.json)
    return 0


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    return {"feedback": {"data": {"path": args.file}} if args.file else {}}


def _candidate(args: argparse.Namespace, settings: Any) -> Candidate:
    from alignzoo_evaluations.accuracy import EvaluationError
    from alignzoo_evaluations.candidates import component, of_policy, of_run, run_in

    folder = Path(args.reward)
    if not folder.is_dir():
        if args.implicit or args.name:
            raise EvaluationError(f"--implicit and --name are of a run, and there is no folder {args.reward}")
        return component(args.reward, settings)
    run = run_in(folder)
    if settings:
        raise EvaluationError(f"{folder} is a run, with its own settings; reward.… goes with a reward's name")
    return of_policy(run, args.implicit, args.beta) if args.implicit else of_run(run, args.name)
