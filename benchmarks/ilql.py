"""Which settings make ILQL learn, and which do not: variants of one run file, each steered at several β.

    python benchmarks/ilql.py benchmarks/ilql.toml --seeds 2 --results benchmarks/results/ilql-study

A variant differs from the run file's settings in what its name says. All of a seed learn from the same ratings of the same
start. Each is trained once and asked at every β, because β is a setting of the deployed policy alone.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from alignzoo.lab import store
from alignzoo.lab.answering import answers
from alignzoo.lab.listener import Listener
from alignzoo.lab.run import Run
from alignzoo.records import completion_from_row, prompt_from_row

VARIANTS: Mapping[str, Sequence[str]] = {
    "as shipped": (),
    "targets as trlX's default: alpha = 0.001, every 5": ("optimizer.alpha=0.001", "optimizer.sync_every=5"),
    "targets as the authors': alpha = 0.005": ("optimizer.alpha=0.005", "optimizer.sync_every=1"),
    **{f"tau = {tau}": (f"optimizer.tau={tau}",) for tau in (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)},
    "cql = 0": ("optimizer.cql=0.0",),
    "cql = 0.1": ("optimizer.cql=0.1",),
    "cql = 1": ("optimizer.cql=1.0",),
    "cql = 4": ("optimizer.cql=4.0",),
    "cql = 16": ("optimizer.cql=16.0",),
    "trunk detached": ("optimizer.trunk=detached",),
    "adapter of its own": ("optimizer.adapter=own",),
    "no imitation: awac = 0": ("optimizer.awac=0.0",),
    "imitation by advantage: awac_beta = 1": ("optimizer.awac_beta=1.0",),
    "scores as they are: scale = none": ("optimizer.scale=none",),
    "heads of rank 32": ("optimizer.hidden=[32]",),
    "twins share a trunk": ("optimizer.heads=shared",),
    "values of the 64 likeliest: among = 64": ("optimizer.steering.among=64",),
    "among = 16": ("optimizer.steering.among=16",),
    "descent.lr = 3e-4": ("optimizer.descent.lr=3e-4",),
    "descent.lr = 5e-4": ("optimizer.descent.lr=5e-4",),
    "descent.lr = 3e-3": ("optimizer.descent.lr=3e-3",),
    "one epoch": ("optimizer.epochs=1",),
    "16 epochs": ("optimizer.epochs=16",),
}

ELSEWHERE = {"random-walks-ilql": {0: "0.279", 1: "0.529", 4: "0.865", 16: "0.971", 100: "0.981 ± 0.012"}}
"""What a small independent implementation reached under five seeds, its whole model trained; by the name of the run file."""


def trained(file: Path, seed: int, name: str, out: Path, more: Sequence[str]) -> Run:
    """A variant's run, on the ratings that the seed's first variant collected."""
    place = out / f"{list(VARIANTS).index(name)}-{seed}"
    run = Run.open(file, place, [f"seed={seed}", *VARIANTS[name], *more], Listener())
    first = store.Folder(out / f"0-{seed}").feedback
    if first.exists() and not run.files.feedback.exists():
        shutil.copy(first, run.files.feedback)
    run.train()
    return run


def steered(run: Run, beta: float) -> Any:
    policy = run.policy()
    return replace(policy, how=replace(run.plan.optimizer.made.steering, beta=beta))


def asked(run: Run, policy: Any) -> dict[str, float]:
    """Mean gold of a policy's answers to the test prompts, and its KL from the start."""
    assert run.plan.task is not None
    assert run.plan.judge is not None
    prompts = list(run.plan.task.made.prompts("test"))[: run.plan.answer.prompts]
    rows = list(answers("policy", policy, run.start_role(), prompts, run.plan.answer.under(run.plan.seed), lambda *told: None))
    said = [completion_from_row(row["completion"]) for row in rows]
    gold = run.plan.judge.made([prompt_from_row(row["prompt"]) for row in rows], said)
    return {
        "gold": fmean(gold),
        "kl": fmean(row["kl"] for row in rows),
        "length": fmean(len(s.tokens) for s in said),
    }


def measured(run: Run, betas: Sequence[float]) -> dict[str, Any]:
    updates = store.read_rows(run.files.train.updates)
    last = {
        key: updates[-1][key] for key in ("q_loss", "v_loss", "q", "v", "advantage", "above", "twins") if key in updates[-1]
    }
    at = [{"beta": beta, **asked(run, steered(run, beta))} for beta in betas]
    return {"updates": len(updates), "last": last, "start": asked(run, run.start_role()), "at": at}


def table(found: Mapping[str, Sequence[Mapping[str, Any]]], betas: Sequence[float]) -> str:
    """A row for each variant: mean, deviation over seeds, and each seed's own."""
    lines = ["| settings | " + " | ".join(f"β = {beta:g}" for beta in betas) + " |", "|---" * (1 + len(betas)) + "|"]
    for name, runs in found.items():
        golds = [[run["at"][place]["gold"] for run in runs] for place in range(len(betas))]
        lines.append(f"| {name} | " + " | ".join(map(cell, golds)) + " |")
    return "\n".join(lines)


def cell(gold: Sequence[float]) -> str:
    if len(gold) == 1:
        return f"{gold[0]:.3f}"
    return f"{fmean(gold):.3f} ± {stdev(gold):.3f} ({', '.join(f'{g:.3f}' for g in gold)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), help="names of variants")
    parser.add_argument("--betas", nargs="*", type=float, default=[0.0, 1.0, 4.0, 16.0])
    parser.add_argument("--set", nargs="*", default=[], dest="more", help="settings for all of them")
    parser.add_argument("--out", type=Path, default=Path("runs/ilql-study"))
    parser.add_argument("--results", type=Path)
    given = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in range(given.first, given.first + given.seeds):
        for name in given.only:
            found.setdefault(name, []).append(measured(trained(given.file, seed, name, given.out, given.more), given.betas))
            print(seed, name, [round(at["gold"], 3) for at in found[name][-1]["at"]], flush=True)
    print(table(found, given.betas))
    if given.results:
        call = shlex.join(["python", "benchmarks/ilql.py", *sys.argv[1:]])
        store.write_json(given.results.with_suffix(".json"), {"command": call, "variants": found})
        start = cell([run["start"]["gold"] for run in found[given.only[0]]])
        about = f"Mean gold of the answers, ± deviation over seeds, and each seed's own. The start's: {start}."
        text = f"`{call}`\n\n{about}\n\n{table(found, given.betas)}\n"
        if others := ELSEWHERE.get(given.file.stem):
            text += f"| elsewhere | {' | '.join(others.get(int(beta), '') for beta in given.betas)} |\n"
        store.write_text(given.results.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
