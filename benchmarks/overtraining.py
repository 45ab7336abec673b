"""Offline preference optimization on trlX's random walks, update by update: how good the policy is, beside what the optimizer
itself can see. Accuracy and loss do not tell when it is ruined; the log-probability of the chosen walks does.

    python benchmarks/overtraining.py '{likelihood=0.0, descent={lr=1e-3}}' --seeds 1 \\
        --results benchmarks/results/overtraining-dpo
    python benchmarks/overtraining.py '{}' --seeds 5 --every 6 --n 100 --results benchmarks/results/overtraining-dpo-shipped

The base and the pairs of a seed are those of its run `benchmarks/random-walks.toml` with feedback of the kind "pairs".
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import torch

from alignzoo.interfaces import Asking, Lesson, Manner
from alignzoo.lab import store
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.role import Role, bare_on, policy_on
from alignzoo.seam.settings import build
from alignzoo_dpo.dpo import DPO
from alignzoo_random_walks.feedback import RandomWalksFeedback
from alignzoo_random_walks.model import RandomWalksModel
from alignzoo_random_walks.reward import Optimality
from alignzoo_random_walks.task import RandomWalks

MANNER = Manner(max_tokens=10)
SHOWN = ("accuracy", "logp_chosen", "logp_rejected", "displacement")


def optimality(policy: Role, n: int, seed: int) -> tuple[float, float]:
    """The mean over the starts, and the share of walks that end."""
    prompts = RandomWalks().prompts("test")
    groups = policy.sample(prompts, n, Manner(max_tokens=10, seed=seed))
    asked = [prompt for prompt in prompts for _ in range(n)]
    replies = [reply for group in groups for reply in group]
    scores = Optimality()(asked, replies)
    return sum(scores) / len(scores), sum(reply.finished for reply in replies) / len(replies)


def course(settings: dict[str, Any], seed: int, every: int, n: int) -> list[dict[str, float]]:
    """One training, looked at every so many updates."""
    base = Base.load(RandomWalksModel(seed=seed).folder(), Loading(quantize="none", template="plain"), Lora(64, 64.0))
    source, start = RandomWalksFeedback(kind="pairs"), bare_on(base, "start")
    lesson = Lesson.of(source.collect(Asking(policy=start, manner=MANNER, seed=seed)))
    policy = policy_on(base, seed)
    dpo: DPO = build(DPO, {"batch_size": 64, "seed": seed, **settings}, "optimizer")
    good, ended = optimality(policy, n, 10**6)
    rows = [{"update": 0.0, "optimality": good, "ended": ended}]
    for number, told in enumerate(dpo.improve(policy, lesson), start=1):
        if number % every == 0:
            good, ended = optimality(policy, n, 10**6)
            rows.append({"update": number, "optimality": good, "ended": ended, **{name: told[name] for name in SHOWN}})
            print(seed, {name: round(value, 3) for name, value in rows[-1].items()}, flush=True)
    return rows


def markdown(courses: list[list[dict[str, float]]], command: str) -> str:
    """Means over the seeds; peak and end of each seed below."""
    names = ("optimality", "ended", *SHOWN)
    lines = [
        f"`{command}`",
        "",
        f"Means over {len(courses)} seed(s).",
        "",
        f"| update | {' | '.join(names)} |",
        "|---" * 7 + "|",
    ]
    for rows in zip(*courses, strict=False):
        means = (sum(row.get(name, float("nan")) for row in rows) / len(rows) for name in names)
        lines.append(f"| {rows[0]['update']:.0f} | {' | '.join(f'{mean:.3f}' for mean in means)} |".replace("nan", "–"))
    for seed, rows in enumerate(courses):
        best = max(rows, key=lambda row: row["optimality"])
        lines += [
            "",
            f"Seed {seed}: {best['optimality']:.3f} after update {best['update']:.0f}, {rows[-1]['optimality']:.3f} last.",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Preference optimization on random walks, update by update.")
    parser.add_argument("settings", help="of the optimizer dpo, as a table: '{beta=0.1, descent={lr=1e-3}}'")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--every", type=int, default=3, help="updates between two looks")
    parser.add_argument("--n", type=int, default=50, help="answers to each start in a look")
    parser.add_argument("--results", type=Path, help="without a suffix: .json and .md are written")
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = tomllib.loads(f"it = {args.settings}")["it"]
    courses = [course(settings, seed, args.every, args.n) for seed in range(args.seeds)]
    text = markdown(courses, "python " + shlex.join(sys.argv))
    print(text)
    if args.results:
        store.write_json(args.results.with_suffix(".json"), {"settings": settings, "courses": courses})
        store.write_text(args.results.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
