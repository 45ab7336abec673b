"""One run file under several seeds, and what can be said over them.

    python benchmarks/seeds.py benchmarks/demo.toml --seeds 5 --out runs/demo-seeds --results benchmarks/results/playground-dpo

Each seed is a run of its own (start, feedback, order of the data, adapters) in a folder of its own, and can be interrupted
and continued like any run. Intervals are 95 %, for other seeds and other prompts, made as `alignzoo compare` makes them; those
of a single seed as a run's own report does, for other prompts alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from alignzoo.lab import store
from alignzoo.lab.compare.significance import ANYWHERE, Bounds, spread_of
from alignzoo.lab.listener import Listener
from alignzoo.lab.run import Run
from alignzoo.lab.statistics import bootstrap


def scores_of(root: Path, who: str, value: str) -> dict[str, float]:
    """Mean score of each prompt in one run: the judge's whole score, or one of its values."""
    groups: dict[str, list[float]] = {}
    for row in store.read_rows(store.Folder(root).scores):
        if row["who"] == who:
            groups.setdefault(row["prompt"], []).append(row["values"][value] if value else row["score"])
    return {prompt: float(np.mean(scores)) for prompt, scores in groups.items()}


def over_seeds(runs: Sequence[Mapping[str, float]], within: Bounds = ANYWHERE, *, closed: bool = False) -> dict[str, float]:
    """Mean and interval of a figure known for every prompt of every run, all of them asked the same prompts. `within`: what it
    lies between; `closed`: whether these are all the prompts that there are."""
    prompts = sorted(runs[0])
    if any(sorted(run) != prompts for run in runs):
        raise ValueError("the runs did not answer the same prompts")
    if len(runs) == 1:
        return bootstrap({prompt: [runs[0][prompt]] for prompt in prompts}).row()
    table = np.array([[run[prompt] for prompt in prompts] for run in runs])
    return spread_of(table, closed=closed).interval(within).row()


def judged_in(roots: Sequence[Path]) -> tuple[bool, Mapping[str, Bounds]]:
    """Whether the prompts of these runs are all that there are, and what scores and values lie between."""
    told = [store.read_json(file) for root in roots if (file := store.Folder(root).judging).exists()]
    if len(told) < len(roots):  # older runs do not say
        return False, {}
    return bool(told[0]["closed"]), {name: (least, most) for name, (least, most) in told[0]["bounds"].items()}


def summed_up(roots: Sequence[Path]) -> dict[str, object]:
    """Gold before and after, by value and as a whole, and the gain of each prompt, over all runs."""
    first = store.read_rows(store.Folder(roots[0]).scores)[0]
    figures: dict[str, object] = {}
    closed, bounds = judged_in(roots)
    for value in ("", *first["values"]):
        within = bounds.get(value or "score", ANYWHERE)
        before = [scores_of(root, "start", value) for root in roots]
        after = [scores_of(root, "policy", value) for root in roots]
        gain = [{p: b[p] - a[p] for p in a} for a, b in zip(before, after, strict=True)]
        whose = (("start", before, within), ("policy", after, within), ("gain", gain, ANYWHERE))
        figures[value or "reward"] = {name: over_seeds(x, around, closed=closed) for name, x, around in whose}
    reports = [json.loads((root / "report.json").read_text()) for root in roots]
    figures["per seed"] = [
        {
            "start": r["start"]["mean"],
            "policy": r["policy"]["mean"],
            "win_rate": r["win_rate"]["mean"],
            "kl": r["kl"]["mean"] if r["kl"] else None,
        }
        for r in reports
    ]
    return figures


def markdown(figures: Mapping[str, object], command: str, seeds: int) -> str:
    lines = [f"`{command}`", "", f"{seeds} seeds; 95 % intervals over seeds and prompts.", ""]
    lines += ["| | start | policy | gain |", "|---|---|---|---|"]
    for name, figure in figures.items():
        if isinstance(figure, dict):
            cells = [f"{f['mean']:.3f} [{f['low']:.3f}, {f['high']:.3f}]" for f in figure.values()]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| seed | start | policy | win rate | KL |", "|---|---|---|---|---|"]
    rows = figures["per seed"]
    assert isinstance(rows, list)
    lines += [
        f"| {i} | {r['start']:.3f} | {r['policy']:.3f} | {r['win_rate']:.3f} | {_kl(r['kl'])} |" for i, r in enumerate(rows)
    ]
    return "\n".join(lines) + "\n"


def _kl(kl: float | None) -> str:
    return "–" if kl is None else f"{kl:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="One run file under several seeds.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--results", type=Path, help="without a suffix: .json and .md are written")
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    args = parser.parse_args()
    listener = Listener(stage=lambda name, what: print(f"  {name} {what}", flush=True))
    roots = []
    for seed in range(args.seeds):
        print(f"seed {seed}", flush=True)
        run = Run.open(args.file, args.out / f"seed-{seed}", [*args.changes, f"seed={seed}"], listener)
        for what, value in run.report().rows():
            print(f"    {what}: {value}", flush=True)
        roots.append(run.files.root)
    figures = summed_up(roots)
    command = "python " + shlex.join(sys.argv)
    text = markdown(figures, command, args.seeds)
    print(text)
    if args.results:
        made_with = Run.open(roots[0]).plan.made_with()
        whole = {"command": command, "machine": platform.machine(), "made_with": made_with, "figures": figures}
        store.write_json(args.results.with_suffix(".json"), whole)
        store.write_text(args.results.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
