"""Best-of-n against PPO by the same start and reward model: at equal gold, and at equal compute.

    python benchmarks/webgpt.py benchmarks/webgpt.toml --seeds 3 --results benchmarks/results/webgpt

PPO pays once, by its training; best-of-n with every question, by n answers and n scores. So at equal gold there is a number
of questions from which on PPO is the cheaper one, and at equal compute the n that best-of-n can afford depends on how many
questions PPO's training is spread over. FLOPs are the base's, by formula; the training of reward model and start is the same
for both and left out.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from alignzoo.interfaces import Manner
from alignzoo.lab import store
from alignzoo.lab.listener import Listener
from alignzoo.lab.run import Run
from alignzoo_best_of_n.choosing import Scorer
from alignzoo_best_of_n.curve import Point, curve

QUESTIONS = (100, 1_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Contest:
    """One seed: what PPO reached, what every n reaches, and what things cost in FLOPs."""

    ppo: float
    training: float
    points: Sequence[Point]
    answer: float
    score: float

    def cost(self, n: int) -> float:
        """Of one question to best-of-n. A single answer needs no score."""
        return n * self.answer + (n * self.score if n > 1 else 0.0)

    def equal(self) -> Point | None:
        """The least n that reaches PPO's gold."""
        return next((point for point in self.points if point.gold.mean >= self.ppo), None)

    def even(self) -> float:
        """From how many questions on PPO is the cheaper way to that gold; never, if no n reaches it, is infinite."""
        equal = self.equal()
        return self.training / (self.cost(equal.n) - self.cost(1)) if equal and equal.n > 1 else math.inf

    def affordable(self, questions: int) -> Point:
        """The largest n that costs no more than PPO with its training spread over so many questions."""
        each = self.cost(1) + self.training / questions
        return max((p for p in self.points if self.cost(p.n) <= each), key=lambda p: p.n, default=self.points[0])


def contest(file: Path, seed: int, out: Path, samples: int) -> Contest:
    run = Run.open(
        file, out / f"{file.stem}-{seed}", [f"seed={seed}"], Listener(stage=lambda *said: print(seed, *said, flush=True))
    )
    report = run.report()
    assert run.plan.task is not None
    prompts = list(run.plan.task.made.prompts("test"))[: run.plan.answer.prompts]
    start, proxy = run.start_role(), run.reward()
    meter = run.base.meter
    before = meter.flops
    groups = start.sample(prompts, samples, Manner(max_tokens=run.plan.answer.manner.max_tokens, seed=seed + 1))
    written = meter.flops
    by_proxy = [list(proxy([prompt] * samples, group)) for prompt, group in zip(prompts, groups, strict=True)]
    scored = meter.flops
    gold = Scorer(run.plan.judge.made)(prompts, groups) if run.plan.judge else by_proxy
    count = samples * len(prompts)
    training = report.stages[-1].spent["flops"]
    return Contest(report.policy.mean, training, curve(by_proxy, gold), (written - before) / count, (scored - written) / count)


def told(contests: Sequence[Contest]) -> list[str]:
    lines = [
        "| seed | PPO's gold | PPO's training, FLOPs | equal gold at n | cheaper from so many questions on |",
        "|" + "---|" * 5,
    ]
    for seed, one in enumerate(contests):
        equal = one.equal()
        n = str(equal.n) if equal else f"none up to {one.points[-1].n}"
        even = f"{one.even():,.0f}" if math.isfinite(one.even()) else "–"
        lines.append(f"| {seed} | {one.ppo:.3f} | {one.training:.3g} | {n} | {even} |")
    lines += ["", "| n | KL | proxy | gold |", "|---|---|---|---|"]
    for place, point in enumerate(contests[0].points):
        golds, proxies = (fmean(getattr(one.points[place], what).mean for one in contests) for what in ("gold", "proxy"))
        lines.append(f"| {point.n} | {point.kl:.2f} | {proxies:.2f} | {golds:.3f} |")
    lines += [
        "",
        "At equal compute, means over seeds:",
        "",
        "| questions | n that best-of-n can afford | its gold | PPO's gold |",
        "|---|---|---|---|",
    ]
    for questions in QUESTIONS:
        points = [one.affordable(questions) for one in contests]
        ns = sorted({point.n for point in points})
        range_of = f"{ns[0]}" if len(ns) == 1 else f"{ns[0]}–{ns[-1]}"
        gold, ppo = fmean(point.gold.mean for point in points), fmean(one.ppo for one in contests)
        lines.append(f"| {questions:,} | {range_of} | {gold:.3f} | {ppo:.3f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("runs/webgpt"))
    parser.add_argument("--results", type=Path)
    args = parser.parse_args()
    contests = [contest(args.file, seed, args.out, args.samples) for seed in range(args.seeds)]
    command = "python " + shlex.join(sys.argv)
    lines = [
        f"`{command}`",
        "",
        f"{args.seeds} seeds, {args.samples} answers of the start to each of the test prompts. KL in nats.",
        "",
    ]
    lines += told(contests)
    print("\n".join(lines))
    if args.results:
        rows: list[dict[str, Any]] = [{**vars(one), "points": [point.row() for point in one.points]} for one in contests]
        made_with = Run.open(args.out / f"{args.file.stem}-0").plan.made_with()
        store.write_json(args.results.with_suffix(".json"), {"command": command, "made_with": made_with, "seeds": rows})
        store.write_text(args.results.with_suffix(".md"), "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
