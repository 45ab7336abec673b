"""One run file under several seeds, and what can be said over them.

    python benchmarks/seeds.py benchmarks/demo.toml --seeds 5 --out runs/demo-seeds --results benchmarks/results/playground-dpo

Each seed is a run of its own (start, feedback, order of the data, adapters) in a folder of its own, and can be interrupted
and continued like any run. Intervals are 95 %, by a bootstrap that resamples seeds and, within each, prompts.
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
from alignzoo.lab.run import Listener, Run

RESAMPLES = 4000


def scores_of(root: Path, who: str, value: str) -> dict[str, float]:
    """Mean score of each prompt in one run: the judge's whole score, or one of its values."""
    groups: dict[str, list[float]] = {}
    for row in store.read_rows(store.Folder(root).scores):
        if row["who"] == who:
            groups.setdefault(row["prompt"], []).append(row["values"][value] if value else row["score"])
    return {prompt: float(np.mean(scores)) for prompt, scores in groups.items()}


def over_seeds(runs: Sequence[Mapping[str, float]], seed: int = 0) -> dict[str, float]:
    """Mean and interval of a figure known for every prompt of every run."""
    table = np.array([[run[prompt] for prompt in sorted(run)] for run in runs])
    dice = np.random.default_rng(seed)
    count, prompts = table.shape
    means = []
    for _ in range(RESAMPLES):
        rows = table[dice.integers(count, size=count)]
        picks = dice.integers(prompts, size=(count, prompts))
        means.append(np.take_along_axis(rows, picks, 1).mean())
    low, high = np.quantile(means, [0.025, 0.975])
    return {"mean": float(table.mean()), "low": float(low), "high": float(high)}


def summed_up(roots: Sequence[Path]) -> dict[str, object]:
    """Gold before and after, by value and as a whole, and the gain of each prompt, over all runs."""
    first = store.read_rows(store.Folder(roots[0]).scores)[0]
    figures: dict[str, object] = {}
    for value in ("", *first["values"]):
        before = [scores_of(root, "start", value) for root in roots]
        after = [scores_of(root, "policy", value) for root in roots]
        gain = [{p: b[p] - a[p] for p in a} for a, b in zip(before, after, strict=True)]
        figures[value or "reward"] = {name: over_seeds(x) for name, x in (("start", before), ("policy", after), ("gain", gain))}
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
