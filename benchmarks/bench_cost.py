"""What a bench costs beside its entries run one by one, and what it adds to a run.

    python benchmarks/bench_cost.py benchmarks/quick.toml --set seeds=1 --results benchmarks/results/bench

Both are done in this process, one thread, and compared by processor time, which other work on the machine hardly changes: every
entry as `alignzoo run` would, in a folder of its own that shares nothing; all of them as a bench; the first as a bench of one.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from alignzoo.lab import store
from alignzoo.lab.bench.benchfile import Bench, read_bench
from alignzoo.lab.bench.head_to_head import HeadToHead
from alignzoo.lab.folders import settle
from alignzoo.lab.run import Run
from alignzoo.seam.discovery import discover


def timed(work: Callable[[], object]) -> float:
    """Seconds of the processor, in this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


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


def of_one(bench: Bench, out: Path) -> float:
    """The first entry under the first seed, as a bench."""
    file = out / "one.toml"
    out.mkdir()
    one = {**bench.table(), "seeds": [bench.seeds[0]], "entry": bench.table()["entry"][:1]}
    import tomli_w

    file.write_text(tomli_w.dumps(one))
    return together(file, (), out / "bench")


def markdown(command: str, seconds: dict[str, float], whole: float, one: float, again: float) -> str:
    first = next(iter(seconds))
    lines = [f"`{command}`", "", "Seconds of the processor, one thread.", "", "| | seconds |", "|---|---|"]
    lines += [f"| {name} by itself | {value:.1f} |" for name, value in seconds.items()]
    lines += [f"| one by one, together | {sum(seconds.values()):.1f} |", f"| the same as a bench | {whole:.1f} |", ""]
    lines += [f"**A grid costs {whole / sum(seconds.values()):.2f} of its entries one by one.**", ""]
    lines += [f"{first} as a bench of one took {one:.1f} s; by itself {seconds[first]:.1f} and, once more, {again:.1f} s. "]
    bare = (seconds[first] + again) / 2
    lines[-1] += f"The bench adds {one - bare:+.2f} s, {100 * (one / bare - 1):+.1f} %."
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="A bench beside its entries run one by one.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    parser.add_argument("--results", type=Path, help="without a suffix: .md is written")
    args = parser.parse_args()
    bench = read_bench(args.file, discover(), args.changes)
    with TemporaryDirectory() as folder:
        out = Path(folder)
        first = Bench(bench.name, bench.seeds[:1], bench.entries[:1], bench.shared, bench.zoo)
        alone(first, out / "warm")  # imports, and the model's first making
        seconds = alone(bench, out / "alone")
        whole = together(args.file, args.changes, out / "bench")
        one = of_one(bench, out / "one")
        again = sum(alone(first, out / "again").values())
    text = markdown("python " + shlex.join(sys.argv), seconds, whole, one, again)
    print(text)
    if args.results:
        store.write_text(args.results.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
