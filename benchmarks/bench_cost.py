"""What a bench costs beside its entries run one by one, and what it adds to a run.

    python benchmarks/bench_cost.py benchmarks/quick.toml --set seeds=1 --results benchmarks/results/bench

All is done in this process, one thread, and compared by processor time, which other work on the machine changes less than the
clock: every entry as `alignzoo run` would, in a folder of its own that shares nothing; all of them as a bench; then the first
alone and as a bench of one, in turns, the order reversed every time. A busy machine moves two measurements of the same run by
some per cent, so what the bench does outside of its runs is also measured by itself, in the same process and at the same time.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import tomli_w

from alignzoo.lab import store
from alignzoo.lab.bench.benchfile import Bench, read_bench
from alignzoo.lab.bench.head_to_head import HeadToHead
from alignzoo.lab.folders import settle
from alignzoo.lab.report import Report
from alignzoo.lab.run import Run
from alignzoo.seam.discovery import discover


def timed(work: Callable[[], object]) -> float:
    """Seconds of the processor, in this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


@contextmanager
def clocked() -> Iterator[list[float]]:
    """Within the block, the seconds that every run's stages take, from the first to the report."""
    seconds: list[float] = []
    plain = Run.report

    def report(run: Run) -> Report:
        began = time.process_time()
        try:
            return plain(run)
        finally:
            seconds.append(time.process_time() - began)

    Run.report = report  # type: ignore[method-assign]
    try:
        yield seconds
    finally:
        Run.report = plain  # type: ignore[method-assign]


def alone(bench: Bench, out: Path) -> dict[str, float]:
    """Every entry under every seed by itself."""
    seconds = {}
    for entry in bench.entries:
        for seed in bench.seeds:
            plan, files = bench.plan(entry, seed), store.Folder(out / f"{entry.name}-{seed}" / "run")
            settle(plan, files)
            seconds[f"{entry.name}/{seed}"] = timed(Run(plan, files).report)
    return seconds


def together(file: Path, changes: Sequence[str], out: Path) -> float:
    return timed(lambda: HeadToHead.open(file, out, changes).run(jobs=0))


def of_one(bench: Bench, out: Path) -> tuple[float, float]:
    """The first entry under the first seed, as a bench: the whole, and what of that is the bench's own."""
    file = out / "one.toml"
    out.mkdir()
    one = {**bench.table(), "seeds": [bench.seeds[0]], "entry": bench.table()["entry"][:1]}
    file.write_text(tomli_w.dumps(one))
    with clocked() as inside:
        whole = together(file, (), out / "bench")
    return whole, whole - sum(inside)


def in_turns(first: Bench, rounds: int, out: Path) -> tuple[list[float], list[float], list[float]]:
    """Seconds of the run by itself, of the same as a bench, and of what is the bench's own, round by round."""
    bare, benched, own = [], [], []
    for turn in range(rounds):
        for way in ("bare", "bench") if turn % 2 else ("bench", "bare"):
            place = out / f"{way}-{turn}"
            if way == "bare":
                bare += alone(first, place).values()
            else:
                whole, outside = of_one(first, place)
                benched, own = [*benched, whole], [*own, outside]
    return bare, benched, own


def markdown(
    command: str, seconds: dict[str, float], whole: float, turns: tuple[Sequence[float], Sequence[float], Sequence[float]]
) -> str:
    first = next(iter(seconds))
    bare, benched, own = turns
    lines = [f"`{command}`", "", "Seconds of the processor, one thread.", "", "| | seconds |", "|---|---|"]
    lines += [f"| {name} by itself | {value:.1f} |" for name, value in seconds.items()]
    lines += [f"| one by one, together | {sum(seconds.values()):.1f} |", f"| the same as a bench | {whole:.1f} |", ""]
    lines += [f"**A grid costs {whole / sum(seconds.values()):.2f} of its entries one by one.**", ""]
    lines += ["| round | by itself | as a bench of one | of that the bench's own |", "|---|---|---|---|"]
    lines += [
        f"| {number} | {a:.2f} | {b:.2f} | {c:.2f} |"
        for number, (a, b, c) in enumerate(zip(bare, benched, own, strict=True), 1)
    ]
    ratio = median(b / a for a, b in zip(bare, benched, strict=True))
    share = median(c / (b - c) for b, c in zip(benched, own, strict=True))
    lines += [
        "",
        f"**The bench adds {100 * share:.1f} % to a run of {median(bare):.0f} s** ({first}), measured within one process; ",
    ]
    lines[-1] += f"the two side by side differ by {100 * (ratio - 1):+.1f} % (median of the rounds)."
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="A bench beside its entries run one by one.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    parser.add_argument("--rounds", type=int, default=5, help="how often a run and a bench of one are measured in turns")
    parser.add_argument("--results", type=Path, help="without a suffix: .md is written")
    args = parser.parse_args()
    bench = read_bench(args.file, discover(), args.changes)
    with TemporaryDirectory() as folder:
        out = Path(folder)
        first = Bench(bench.name, bench.seeds[:1], bench.entries[:1], bench.shared, bench.zoo)
        alone(first, out / "warm")  # imports, and the model's first making
        seconds = alone(bench, out / "alone")
        whole = together(args.file, args.changes, out / "bench")
        turns = in_turns(first, args.rounds, out)
    text = markdown("python " + shlex.join(sys.argv), seconds, whole, turns)
    print(text)
    if args.results:
        store.write_text(args.results.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
