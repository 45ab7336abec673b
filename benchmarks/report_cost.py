"""How long a report over many runs takes, and how big it is.

    python benchmarks/report_cost.py --contestants 200 --seeds 5 --results benchmarks/results/report

The runs are written by hand, not trained: as many answers and points of a way as real ones have, with scores drawn at random.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import tomli_w

from alignzoo.lab import store
from alignzoo.lab.compare.together import together
from alignzoo.records import Completion, Prompt, completion_to_row, prompt_to_row

POINTS = 8
"""Points of each way."""
OF_A_WAY = 24
"""Prompts that they are asked."""


def written(root: Path, number: int, seed: int, prompts: int) -> Path:
    """The folder of one finished run."""
    dice, files, use = Random(f"{number}/{seed}"), store.Folder(root), f"optimizer:made-up/number-{number}"
    settings = {
        "name": f"number-{number}",
        "seed": seed,
        "optimizer": {"use": use, "descent": {"lr": 1e-3}},
        "judge": {"use": "reward:playground/playground-gold"},
        "answer": {"n": 1, "prompts": prompts},
        "made_with": {"alignzoo": "0.1.0", "plugins": {use: "1.0.0 sha256:0"}},
    }
    store.write_text(files.settings, tomli_w.dumps(settings))
    answers, scores = [], []
    for who in ("start", "policy"):
        for place in range(prompts):
            prompt = Prompt.ask(f"What do you think of question {place}, which is as long as such questions are?")
            said = " ".join(f"word{dice.randrange(400)}" for _ in range(dice.randrange(5, 40)))
            score = min(1.0, max(0.0, dice.gauss(0.4 + 0.002 * number * (who == "policy"), 0.2)))
            row = {"who": who, "number": 0, "prompt": prompt_to_row(prompt), "completion": completion_to_row(Completion(said))}
            answers.append({**row, "kl": 2.0 if who == "policy" else 0.0})
            scores.append({"who": who, "number": 0, "prompt": prompt.id, "score": score, "values": {"kind": score}})
    store.write_rows(files.answers, answers)
    store.write_rows(files.scores, scores)
    names = ("updates", "labels", "scores", "read", "written", "flops", "seconds", "peak_bytes")
    store.write_json(files.train.summary, {"ledger": dict.fromkeys(names, 100.0), "stopped": "", "optimizer": {"use": use}})
    updates = [{"update": u, "labels": 8.0 * u, "flops": 1e9 * u, "seconds": 0.1 * u} for u in range(1, 101)]
    store.write_rows(files.train.updates, updates)
    store.write_text(files.train.trail, "".join(json.dumps(_point(dice, step)) + "\n" for step in range(POINTS)))
    return root


def _point(dice: Random, step: int) -> dict[str, Any]:
    gold = [dice.gauss(0.4 + 0.1 * step**0.5, 0.1) for _ in range(OF_A_WAY)]
    kls = [0.3 * step] * OF_A_WAY
    return {"update": 12 * step, "kl": 0.3 * step, "gold": sum(gold) / OF_A_WAY, "each": {"gold": gold, "kl": kls}}


def main() -> None:
    parser = argparse.ArgumentParser(description="A report over many runs.")
    parser.add_argument("--contestants", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--results", type=Path, help="without a suffix: .md is written")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        root, pairs = Path(folder), [(n, seed) for n in range(args.contestants) for seed in range(args.seeds)]
        runs = [written(root / f"{n}-{seed}", n, seed, args.prompts) for n, seed in pairs]
        clock, processor = time.perf_counter(), time.process_time()
        together(runs, "many", root / "out")
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        sizes = {path.name: path.stat().st_size / 1e6 for path in sorted((root / "out").iterdir())}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = [
        f"`{'python ' + shlex.join(sys.argv)}`",
        "",
        f"{len(runs):,} runs: {args.contestants} contestants, {args.seeds} seeds,",
    ]
    lines += [
        f"{args.prompts} prompts. {processor:.1f} seconds of the processor, {clock:.1f} by the clock; {peak:,.0f} MiB at most.",
        "",
    ]
    lines += ["| file | MB |", "|---|---|", *(f"| {name} | {size:.2f} |" for name, size in sizes.items())]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.results:
        store.write_text(args.results.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
