"""Every method on trlX's random walks, under several seeds, beside what small independent implementations reached.

    python benchmarks/random_walks.py --seeds 5 --results benchmarks/results/random-walks

Each seed of each method is a run of its own, of one file with the changes in `METHODS`; it can be interrupted and continued.
All methods of a seed begin with the same base. A figure is the mean optimality of the answers to all twenty prompts. Deviations
and intervals (95 %, Student's t) are over seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from on_policy import told_to

from alignzoo.lab import store
from alignzoo.lab.run import Run

FILE = Path("benchmarks/random-walks.toml")
EXPLORING = 'exploring={max_tokens=10, unfinished="replace", unfinished_score=0}'
"""A walk must end. Where it need not, nothing holds the end token, and within thirty rounds it is gone."""
PAIRS = 'feedback={use="random-walks", kind="pairs"}'
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""The 97.5 % point of Student's t, by the number of seeds."""


@dataclass(frozen=True)
class Method:
    """What makes a run file into this method, what others reached, and what the method may use."""

    changes: tuple[str, ...]
    others: str
    budget: str


def sampling(optimizer: str) -> tuple[str, ...]:
    return (f"optimizer={{{optimizer}, {EXPLORING}}}",)


def best_of(n: int) -> tuple[str, ...]:
    return (f'optimizer={{use="best-of-n", n={n}}}',)


METHODS: Mapping[str, Method] = {
    "best-of-1": Method(best_of(1), "0.274", "1 answer each"),
    "best-of-2": Method(best_of(2), "0.438", "2 answers each"),
    "best-of-4": Method(best_of(4), "0.656", "4 answers each"),
    "best-of-8": Method(best_of(8), "0.823", "8 answers each"),
    "best-of-16": Method(best_of(16), "0.942", "16 answers each"),
    "sft-optimal": Method(
        (
            'feedback={use="random-walks", kind="walks", least=1}',
            'optimizer={use="sft", batch_size=100, epochs=60, descent={lr=1e-3, schedule="linear"}}',
        ),
        "0.739 ± 0.026",
        "the 184 shortest walks, 120 steps",
    ),
    "ppo": Method(
        sampling(
            'use="ppo", updates=16, prompts_per_update=20, replies=8, epochs=4, minibatches=2, value_weight=0.5, '
            'leash={coefficient=0}, descent={lr=1e-3, eps=1e-5, schedule="linear"}'
        ),
        "0.846 ± 0.032",
        "2,560 samples",
    ),
    "rloo": Method(
        sampling(
            'use="rloo", updates=32, prompts_per_update=20, replies=4, epochs=2, leash={coefficient=0}, '
            'descent={lr=1e-3, schedule="linear"}'
        ),
        "0.909 ± 0.040",
        "2,560 samples",
    ),
    "grpo": Method(
        sampling(
            'use="grpo", updates=32, prompts_per_update=20, replies=4, epochs=2, leash={coefficient=0}, '
            'descent={lr=1e-3, schedule="linear"}'
        ),
        "0.900 ± 0.014",
        "2,560 samples",
    ),
    "expert-iteration": Method(
        (
            'optimizer={use="expert-iteration", rounds=3, prompts=20, n=64, keep="share", share=0.0625, max_tokens=10, '
            "epochs=40, batch_size=32, descent={lr=1e-3}}",
        ),
        "0.900 ± 0.030",
        "3,840 samples",
    ),
    "dpo": Method((PAIRS, 'optimizer={use="dpo", batch_size=64}'), "0.394 ± 0.089", "1 epoch"),
    "dpo-without-likelihood": Method((PAIRS, 'optimizer={use="dpo", batch_size=64, likelihood=0}'), "0.394 ± 0.089", "1 epoch"),
    "ipo": Method((PAIRS, 'optimizer={use="ipo", tau=0.1, batch_size=64, descent={lr=1e-4}}'), "0.457 ± 0.064", "1 epoch"),
    "kto": Method((PAIRS, 'optimizer={use="kto", batch_size=128, descent={lr=1e-4}}'), "0.509 ± 0.041", "1 epoch"),
    "online-dpo": Method(
        sampling('use="online-dpo", updates=32, prompts_per_update=20, replies=4, descent={lr=1e-3, schedule="linear"}'),
        "0.82",
        "2,560 samples",
    ),
}
"""One entry a method. Those that learn from good and bad walks take `PAIRS`. ILQL, which is asked at several β, is measured by
`benchmarks/ilql.py benchmarks/random-walks-ilql.toml`."""


def carried_out(name: str, seed: int, out: Path) -> Path:
    """One run, in a process of its own."""
    root = out / f"{name}-{seed}"
    return told_to(FILE, root, [*METHODS[name].changes, f"seed={seed}", f"name={name}"])


def mean_score(root: Path, who: str) -> float:
    return fmean(row["score"] for row in store.read_rows(store.Folder(root).scores) if row["who"] == who)


def figure(values: Sequence[float]) -> dict[str, Any]:
    """Mean, deviation and interval over seeds; of one seed only itself."""
    told: dict[str, Any] = {"mean": fmean(values), "per seed": list(values)}
    if len(values) > 1:
        spread = stdev(values)
        reach = STUDENT[len(values)] * spread / math.sqrt(len(values))
        told |= {"sd": spread, "low": told["mean"] - reach, "high": told["mean"] + reach}
    return told


def row(roots: Sequence[Path]) -> dict[str, Any]:
    """What came of one method."""
    reports = [json.loads((root / "report.json").read_text()) for root in roots]
    names = ("updates", "labels", "scores", "written", "seconds")
    spent = {name: fmean(report["spent"][name] for report in reports) for name in names}
    return {"after": figure([mean_score(root, "policy") for root in roots]), "spent": spent}


def cells(told: Mapping[str, Any]) -> str:
    if "sd" not in told:
        return f"{told['mean']:.3f} | – | –"
    return f"{told['mean']:.3f} | {told['sd']:.3f} | [{told['low']:.3f}, {told['high']:.3f}]"


def markdown(start: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], command: str) -> str:
    lines = [f"`{command}`", ""]
    lines += ["Mean optimality over the twenty starts, by sampling at temperature 1; deviation and 95 % interval over seeds."]
    lines += ["“Elsewhere” is what small independent implementations of the same game reached, untuned, under five seeds.", ""]
    lines += ["| method | seeds | optimality | sd | interval | elsewhere | budget | updates | seconds |", "|" + "---|" * 9]
    lines += [f"| cloning, the base | {len(start['per seed'])} | {cells(start)} | 0.282 ± 0.030 | 200 steps | 200 | |"]
    for name, one in rows.items():
        spent, method = one["spent"], METHODS[name]
        about = [method.others, method.budget, f"{spent['updates']:,.0f}", f"{spent['seconds']:,.0f}"]
        lines += [f"| {name} | {len(one['after']['per seed'])} | {cells(one['after'])} | {' | '.join(about)} |"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Every method on trlX's random walks.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path("runs/random-walks"))
    parser.add_argument("--at-once", type=int, default=2, help="runs beside each other, one thread each")
    parser.add_argument("--results", type=Path, help="without a suffix: .json and .md are written")
    args = parser.parse_args()
    with ThreadPoolExecutor(args.at_once) as pool:
        jobs = {
            (name, seed): pool.submit(carried_out, name, seed, args.out) for seed in range(args.seeds) for name in args.only
        }
        done = {which: job.result() for which, job in jobs.items()}
    roots = {name: [done[name, seed] for seed in range(args.seeds)] for name in args.only}
    start = figure([mean_score(root, "start") for root in next(iter(roots.values()))])
    rows = {name: row(own) for name, own in roots.items()}
    command = "python " + shlex.join(sys.argv)
    text = markdown(start, rows, command)
    print(text)
    if args.results:
        made_with = Run.open(roots[args.only[0]][0]).plan.made_with()
        whole = {"command": command, "made_with": made_with, "changes": {name: METHODS[name].changes for name in rows}}
        store.write_json(args.results.with_suffix(".json"), {**whole, "start": start, "rows": rows})
        store.write_text(args.results.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
