"""Everybody who learns from pairs, on one run file, with the settings they ship with, under several seeds.

    python benchmarks/relatives.py benchmarks/relatives.toml --seeds 5 --results benchmarks/results/relatives

All entries learn from the same comparisons, and each seed is a run of its own, which can be interrupted and continued.
Intervals are 95 %, for other seeds and other prompts (`seeds.py`).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

from on_policy import carried_out, row

from alignzoo.lab import store
from alignzoo.lab.run import Run

ENTRIES: Mapping[str, Mapping[str, object]] = {
    "dpo": {"use": "dpo"},
    "cdpo": {"use": "dpo", "label_noise": 0.1},
    "robust": {"use": "dpo", "loss": "robust", "label_noise": 0.1},
    "hinge": {"use": "dpo", "loss": "hinge"},
    "length-normalised": {"use": "dpo", "per": "token", "beta": 1.0},  # β wants to be larger by about a reply's length
    "reference-free": {"use": "dpo", "reference": "none"},
    "ipo": {"use": "ipo"},
    "simpo": {"use": "simpo"},
    "orpo": {"use": "orpo"},
    "kto": {"use": "kto"},
    "bco": {"use": "bco"},
    "ilql": {"use": "ilql"},
}
"""A name, and what its [optimizer] table holds."""


def labels(roots: Sequence[Path]) -> float:
    """Judgements that a training paid for, by the mean over seeds."""
    return fmean(store.read_json(store.Folder(root).train.summary)["ledger"]["labels"] for root in roots)


def displacement(roots: Sequence[Path]) -> list[float]:
    """By how many nats chosen answers became likelier, of each seed whose training looked at pairs."""
    finals = [store.read_json(store.Folder(root).train.summary)["final"] for root in roots]
    return [final["chosen"] for final in finals if "chosen" in final]


def markdown(rows: Mapping[str, Mapping[str, Any]], command: str, seeds: int) -> str:
    lines = [
        f"`{command}`",
        "",
        f"{seeds} seeds; gold reward on held-out prompts, 95 % intervals over seeds and prompts; KL and the change of a chosen",
        "answer's log-probability (mean, and the worst seed's) in nats per answer; spent is the mean over seeds.",
        "Settings are those that each entry ships with: this is no comparison at tuned settings.",
        "",
        "| entry | start | after | gain | worst seed's gain | KL | chosen answers | labels | tokens read + written | seconds |",
        "|" + "---|" * 10,
    ]
    for name, one in rows.items():
        cells = [f"{f['mean']:.3f} [{f['low']:.3f}, {f['high']:.3f}]" for f in one["reward"].values()]
        worst = min(seed["policy"] - seed["start"] for seed in one["per seed"])
        kl = "–" if one["kl"] is None else f"{one['kl']:.2f}"
        moved = one["chosen"]
        chosen = f"{fmean(moved):+.1f} ({min(moved):+.1f})" if moved else "–"
        spent = one["spent"]
        cost = [f"{one['labels']:,.0f}", f"{spent['read']:,.0f} + {spent['written']:,.0f}", f"{spent['seconds']:.0f}"]
        lines.append(f"| {' | '.join([name, *cells, f'{worst:.3f}', kl, chosen, *cost])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Everybody who learns from pairs, on one run file.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(ENTRIES), choices=list(ENTRIES))
    parser.add_argument("--out", type=Path, default=Path("runs/relatives"))
    parser.add_argument("--at-once", type=int, default=2, help="runs beside each other, one thread each")
    parser.add_argument("--results", type=Path, help="without a suffix: .json and .md are written")
    args = parser.parse_args()
    entries = {name: entry for name, entry in ENTRIES.items() if name in args.only}
    with ThreadPoolExecutor(args.at_once) as pool:
        jobs = {
            name: [pool.submit(carried_out, args.file, name, entry, seed, args.out) for seed in range(args.seeds)]
            for name, entry in entries.items()
        }
        roots = {name: [job.result() for job in own] for name, own in jobs.items()}
    rows = {name: {**row(own), "chosen": displacement(own), "labels": labels(own)} for name, own in roots.items()}
    command = "python " + shlex.join(sys.argv)
    text = markdown(rows, command, args.seeds)
    print(text)
    if args.results:
        made_with = Run.open(next(iter(roots.values()))[0]).plan.made_with()
        whole = {"command": command, "made_with": made_with, "entries": entries, "rows": rows}
        store.write_json(args.results.with_suffix(".json"), whole)
        store.write_text(args.results.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
