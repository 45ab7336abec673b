"""What every verb that works on a run has in common: naming it, overriding settings, a dry run, and telling how it goes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from alignzoo.cli.naming import add_plugin
from alignzoo.cli.quiet import quiet_libraries

if TYPE_CHECKING:
    from alignzoo.lab.run import Run


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="RUN", help="a run file (.toml), or the folder of a run")
    parser.add_argument("--out", metavar="DIR", help="where the run's files go (default: runs/NAME)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes", help="override a setting: optimizer.beta=0.2"
    )
    add_plugin(parser)
    parser.add_argument(
        "--other-bytes",
        action="store_true",
        help="go on though the bytes of a plugin have changed; noted in the run's run.toml",
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything and print the plan; load no model")
    add_track(parser)


def add_track(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--track",
        action="append",
        default=[],
        metavar="NAME",
        help="send metrics there too: tensorboard, wandb, trackio, mlflow",
    )


def _look(args: argparse.Namespace) -> None:
    """Tell a mistake in a run file at first sight, before anything heavy is imported."""
    from alignzoo.lab.runfile import look

    if not Path(args.target).is_dir():
        look(Path(args.target), args.changes, args.plugins)


def dry(args: argparse.Namespace) -> bool:
    """For --dry-run: print the plan and what it will cost, having checked everything."""
    if not args.dry_run:
        return False
    quiet_libraries()
    _look(args)
    import tomli_w

    from alignzoo.lab.costs import guess
    from alignzoo.lab.plan import check_judge
    from alignzoo.lab.run import Run
    from alignzoo.lab.runfile import read_plan

    path = Path(args.target)
    plan = Run.open(path).plan if path.is_dir() else read_plan(path, args.changes, plugins=args.plugins)
    if args.verb in ("run", "judge"):
        check_judge(plan)
    print(tomli_w.dumps(plan.table()))
    print("\n".join(f"# {line}" for line in guess(plan).lines()))
    return True


def looking(args: argparse.Namespace) -> Run:
    """The run that the arguments name, to be looked at: no folder is made for it."""
    quiet_libraries()
    _look(args)
    from alignzoo.cli.progress import telling
    from alignzoo.lab.run import Run

    if Path(args.target).is_dir():
        return Run.at(args.target, telling())
    return Run.planned(args.target, args.out, args.changes, telling(), args.plugins)


@contextmanager
def working(args: argparse.Namespace) -> Iterator[Run]:
    """The run that the arguments name, telling its progress; after Ctrl-C, the command that goes on."""
    quiet_libraries()
    _look(args)
    from alignzoo.cli.progress import telling
    from alignzoo.lab.run import Run
    from alignzoo.lab.trackers import started, tracking
    from alignzoo.lab.training import Interrupted

    run = Run.open(args.target, args.out, args.changes, telling(), args.plugins, other_bytes=args.other_bytes)
    sent = started(
        args.track, run.plan.name, run.files.root.name, run.files.root / "tracked", run.plan.table(), run.listener.line
    )
    try:
        with tracking(run.listener, sent) as run.listener:
            yield run
    except Interrupted:
        raise KeyboardInterrupt(f"the checkpoint is written; go on with: alignzoo {args.verb} {run.files.root}") from None
