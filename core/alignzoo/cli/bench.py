"""`alignzoo bench`: head to head. Called again, interrupted or with more entries or seeds, it does what is missing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignzoo.cli.naming import add_plugin
from alignzoo.cli.opening import add_track
from alignzoo.cli.quiet import quiet_libraries

if TYPE_CHECKING:
    from alignzoo.lab.bench.benchfile import Bench

HELP = "compare optimizers, sources of feedback or models, under several seeds and at an equal budget"


def add(verbs: Any) -> None:
    page = verbs.add_parser("bench", help=HELP, description=HELP, allow_abbrev=False)
    page.add_argument("target", metavar="BENCH", help="a bench file (.toml), or the folder of a bench")
    page.add_argument("--out", metavar="DIR", help="where the bench's files go (default: runs/NAME)")
    page.add_argument("--jobs", type=int, default=1, metavar="N", help="runs beside each other, each in a process of its own")
    page.add_argument("--retry", action="store_true", help="try again what failed, from its last checkpoint")
    page.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes", help="override a setting: budget.labels=400"
    )
    add_plugin(page)
    page.add_argument(
        "--dry-run", action="store_true", help="check everything, show the runs, and estimate the cost by a short calibration"
    )
    add_track(page)
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    quiet_libraries()
    _look(args)
    if args.track:
        from alignzoo.lab.trackers import check

        check(args.track)
    from alignzoo.cli.bench_progress import watching
    from alignzoo.lab.bench.head_to_head import HeadToHead

    if args.dry_run:
        read = _read(args)
        return dry(read, _root(args, read), args.jobs)
    with watching() as watcher:
        bench = HeadToHead.open(args.target, args.out, args.changes, watcher, args.plugins)
        watcher.line(_size(bench.bench))
        try:
            bench.run(args.jobs, args.retry, args.track)
            told = bench.report()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"go on with: alignzoo bench {bench.files.root}") from None
        finally:
            bench.files.write_state()
        print(told)
    failed = [cell for entry in bench.standings() for cell in entry.cells if cell.state == "failed"]
    if failed:
        watcher.line(
            f"{len(failed)} failed, see the end of the report; `alignzoo bench {bench.files.root} --retry` tries again"
        )
    return 1 if failed or bench.undecided else 0


def _look(args: argparse.Namespace) -> None:
    """Tell a mistake at first sight, before anything heavy is imported."""
    from alignzoo.lab.bench.benchfile import look
    from alignzoo.lab.bench.grid import BenchError

    if args.jobs < 1:
        raise BenchError(f"--jobs counts processes, 1 or more; got {args.jobs}")
    if not Path(args.target).is_dir():
        look(Path(args.target), args.changes, args.plugins)


def _read(args: argparse.Namespace) -> Bench:
    """The bench of a file, or of a folder, of which nothing is made."""
    from alignzoo.lab.bench.benchfile import bench_of, read_bench
    from alignzoo.lab.bench.folder import table_in
    from alignzoo.lab.runfile import local_files
    from alignzoo.seam.discovery import discover
    from alignzoo.seam.settings import override

    path = Path(args.target)
    if not path.is_dir():
        return read_bench(path, changes=args.changes, plugins=args.plugins)
    table = table_in(path)
    for change in args.changes:
        table = override(table, change)
    return bench_of(table, discover(files=(*local_files(table, "bench.toml"), *args.plugins)), "bench.toml")


def _trials(bench: Bench) -> int:
    return sum(bench.tuning.trials for entry in bench.entries if entry.space) if bench.tuning else 0


def _size(bench: Bench) -> str:
    trials = _trials(bench)
    tuned = f", after {trials} trials" if trials else ""
    return f"{len(bench.entries)} entries × {len(bench.seeds)} seeds = {len(bench.entries) * len(bench.seeds)} runs{tuned}"


def _root(args: argparse.Namespace, bench: Bench) -> Path:
    """Where the bench's files are, or will be."""
    target = Path(args.target)
    return target if target.is_dir() else Path(args.out) if args.out else Path("runs") / bench.name


def dry(bench: Bench, root: Path, jobs: int) -> int:
    """What would be done, and about how long that would take."""
    from alignzoo.cli.table import table
    from alignzoo.lab.bench.calibration import calibrated
    from alignzoo.lab.bench.folder import unmade

    print(_size(bench))
    limits = bench.shared.get("budget", {})
    told = ", ".join(f"{name} {value:,}" for name, value in limits.items() if name != "rewards")
    print(f"budget of each: {told or 'none: every entry goes its whole way'}")
    if bench.umpire:
        count, what = bench.verdicts
        print(f"duels by {bench.umpire.name}: {what}at most {count:,} verdicts, less what is kept and what is said alike")
    left = {entry.name: unmade(bench, root).left(entry) for entry in bench.entries}
    runs, trials = (sum(counts) for counts in zip(*left.values(), strict=True))
    if runs < len(bench.entries) * len(bench.seeds) or trials < _trials(bench):
        print(f"still to do in {root}: runs {runs}{f', trials {trials}' if _trials(bench) else ''}")
    guesses = [calibrated(bench, entry) for entry in bench.entries if any(left[entry.name])]
    print(table(("ENTRY", "UPDATES", "SECONDS EACH", "OF THAT ANSWERING", "NOTE"), [guess.cells() for guess in guesses]))
    share = bench.tuning.prompts / bench.asked if bench.tuning else 0.0
    each = [(guess, *left[guess.entry]) for guess in guesses]
    whole = sum(guess.seconds * runs + guess.trial(share) * trials for guess, runs, trials in each) / jobs
    least = "about" if all(guess.known for guess in guesses) else "more than"
    apart = (
        "rewards of their own, feedback, judging and duels" if bench.umpire else "rewards of their own, feedback and judging"
    )
    print(f"together {least} {whole / 60:,.1f} minutes with {jobs} at once, starts, {apart} not counted")
    return 0
