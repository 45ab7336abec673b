"""Best-of-n for every n up to N, by a proxy and in gold, from N answers to each test prompt that are drawn once.

    python benchmarks/best_of_n.py --proxy playground-gold --proxy playground-gold.polite --samples 256

A proxy is a reward component, or one of its values after a dot. Without `--run` the policy is the bare playground model; with
a run (its file or folder) it is the run's start, or with `--who policy` what the run trained. Then best-of-n is deployed for
some n, on fresh samples, and compared with what the curve predicts. A law of over-optimisation (Gao et al. 2022) is fitted to
each gold curve. With `--seeds` all of it is drawn several times, each with random numbers of its own. Intervals are 95 %, for
other seeds and other prompts; those of a single seed for other prompts alone.
"""

from __future__ import annotations

import argparse
import math
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from seeds import over_seeds

from alignzoo.interfaces import Bounded, Lesson, Manner, Policy, Reward, Valued
from alignzoo.lab import store
from alignzoo.lab.compare.gao import GaoError, fit
from alignzoo.lab.compare.pictures import Series, svg
from alignzoo.lab.compare.significance import ANYWHERE, Bounds
from alignzoo.lab.run import Run
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.role import bare_on
from alignzoo.records import Completion, Prompt
from alignzoo.seam.discovery import discover
from alignzoo_best_of_n.best_of_n import BestOfN
from alignzoo_best_of_n.choosing import Scorer
from alignzoo_best_of_n.curve import by_prompt, divergence, doublings

AT_ONCE = 8
RESAMPLES = 1000
Groups = list[list[Completion]]
Scores = Sequence[Sequence[float]]
"""Of one seed's answers to each prompt."""


@dataclass(frozen=True)
class Value:
    """One value of a reward that has several, as a reward."""

    reward: Valued
    name: str

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Sequence[float]:
        return self.reward.by_value(prompts, completions)[self.name]


def reward_named(name: str) -> Reward:
    """A component, or one of its values: "playground-gold.polite"."""
    component, _, value = name.partition(".")
    made = discover().find("reward", component).load()()
    return Value(made, value) if value else made


def bounds_of(name: str) -> Bounds:
    """What the scores of a reward lie between, if it says so."""
    made = discover().find("reward", name.partition(".")[0]).load()()
    return made.bounds if isinstance(made, Bounded) else ANYWHERE


def drawn(policy: Policy, prompts: Sequence[Prompt], n: int, manner: Manner) -> Groups:
    """`n` answers to each prompt, some prompts at a time."""
    groups: Groups = []
    for first in range(0, len(prompts), AT_ONCE):
        groups += policy.sample(prompts[first : first + AT_ONCE], n, manner)
        print(f"\r{len(groups)}/{len(prompts)} prompts", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return groups


def deployed(
    policy: Policy, prompts: Sequence[Prompt], proxy: Reward, gold: Reward, n: int, picks: int, manner: Manner
) -> tuple[list[list[float]], list[list[float]]]:
    """Proxy and gold of what best-of-n gives."""
    chosen = drawn(BestOfN(n=n, batch=n).deploy(policy, Lesson(reward=proxy)), prompts, picks, manner)
    return Scorer(proxy)(prompts, chosen), Scorer(gold)(prompts, chosen)


def pooled(tables: Sequence[Sequence[float]], within: Bounds = ANYWHERE) -> dict[str, float]:
    """Mean and interval of a figure that is known for every prompt, in their order, under every seed."""
    return over_seeds([{f"{place:06}": value for place, value in enumerate(table)} for table in tables], within)


def compared(measured: Sequence[Scores], predicted: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Under every seed: measured and predicted means, and the interval of their difference, prompt by prompt."""
    seen = [[float(np.mean(own)) for own in scores] for scores in measured]
    gap = pooled([[a - b for a, b in zip(own, wanted, strict=True)] for own, wanted in zip(seen, predicted, strict=True)])
    means = {"measured": float(np.mean(seen)), "predicted": float(np.mean(predicted))}
    return {**means, "gap": gap, "within": gap["low"] <= 0 <= gap["high"]}


def law(table: np.ndarray[Any, Any], kls: Sequence[float]) -> dict[str, Any]:
    """α, β and the peak of R(d) = d (α − β d) from gold (strengths, seeds, prompts), with intervals over seeds and prompts: the
    points of one curve share their samples, so the errors of least squares would be too small."""
    dice = np.random.default_rng(0)
    _, seeds, prompts = table.shape
    draws = [(dice.integers(seeds, size=seeds), dice.integers(prompts, size=prompts)) for _ in range(RESAMPLES)]
    means = [table.mean((1, 2)), *(table[:, own][:, :, asked].mean((1, 2)) for own, asked in draws)]
    fits = [fit("best-of-n", kls, mean.tolist(), start=float(mean[0])) for mean in means]
    told: dict[str, Any] = fits[0].row()
    for name in ("alpha", "beta"):
        low, high = np.quantile([getattr(found, name) for found in fits[1:]], [0.025, 0.975])
        told[f"{name}_interval"] = [float(low), float(high)]
    told |= {"alpha_error": None, "beta_error": None}
    try:
        told["peak"] = vars(fits[0].peak)
    except GaoError as error:
        told["no_peak"] = str(error)
    return told


def figures_of(
    name: str, policy: Policy, prompts: Sequence[Prompt], given: Sequence[tuple[Groups, Scores]], args: argparse.Namespace
) -> dict[str, Any]:
    """Everything about one proxy, from each seed's answers and their gold."""
    proxy, gold = reward_named(name), reward_named(args.gold)
    both = [(Scorer(proxy)(prompts, groups), golds) for groups, golds in given]
    ns = doublings(args.samples)
    points = [
        {
            "n": n,
            "kl": divergence(n),
            "proxy": pooled([by_prompt(own, own, n) for own, _ in both], bounds_of(name)),
            "gold": pooled([by_prompt(own, golds, n) for own, golds in both], bounds_of(args.gold)),
        }
        for n in ns
    ]
    checks = {}
    for n in (n for n in args.check if n <= args.samples):
        seen = [deployed(policy, prompts, proxy, gold, n, args.picks, manner_of(args, seed + 1)) for seed in seeds_of(args)]
        checks[str(n)] = {
            "proxy": compared([own for own, _ in seen], [by_prompt(own, own, n) for own, _ in both]),
            "gold": compared([golds for _, golds in seen], [by_prompt(own, golds, n) for own, golds in both]),
        }
    answers = [group for groups, _ in given for group in groups]
    return {
        "proxy": name,
        "curve": points,
        "checks": checks,
        "law": law(
            np.array([[by_prompt(own, golds, n) for own, golds in both] for n in ns]), [point["kl"] for point in points]
        ),
        "distinct": float(np.mean([len({reply.text for reply in group}) / len(group) for group in answers])),
    }


def seeds_of(args: argparse.Namespace) -> range:
    return range(args.seed, args.seed + args.seeds)


def manner_of(args: argparse.Namespace, seed: int) -> Manner:
    return Manner(max_tokens=args.max_tokens, seed=seed)


def asked(args: argparse.Namespace) -> tuple[Policy, list[Prompt], dict[str, Any]]:
    """The policy, the prompts, and what they were made with."""
    if args.run:
        run = Run.open(args.run, args.out)
        if args.who == "policy":
            run.train()
        else:
            run.start()
        assert run.plan.task is not None, "the run needs a task"
        policy = run.policy() if args.who == "policy" else run.start_role()
        prompts = run.plan.task.made.prompts("test")
        return policy, list(prompts)[: args.prompts], run.plan.made_with()
    zoo = discover()
    base = Base.load(zoo.find("model", "playground").load()().folder(), Loading(), Lora())
    prompts = zoo.find("task", "playground").load()().prompts("test")
    digest = zoo.find("model", "playground").digest()
    return bare_on(base, "start"), list(prompts)[: args.prompts], {"torch": torch.__version__, "playground": f"sha256:{digest}"}


def markdown(whole: Mapping[str, Any]) -> str:
    lines = [f"`{whole['command']}`", ""]
    seeds, over = (f" under {whole['seeds']} seeds", "seeds and prompts") if whole["seeds"] > 1 else ("", "prompts")
    lines += [f"{whole['prompts']} prompts, {whole['samples']} answers to each{seeds}; gold is {whole['gold']}."]
    lines += [f"95 % intervals over {over}. KL in nats: log n − (n−1)/n, exact only where no two scores are equal."]
    for figures in whole["figures"]:
        lines += ["", f"## proxy: {figures['proxy']}", "", *_curve_rows(figures), "", *_law_rows(figures)]
        lines += ["", "Deployed on fresh samples, beside what the curve predicts:", ""]
        lines += ["| n | score | measured | predicted | difference | |", "|---|---|---|---|---|---|", *_check_rows(figures)]
    return "\n".join(lines) + "\n"


def _curve_rows(figures: Mapping[str, Any]) -> list[str]:
    def cell(estimate: Mapping[str, float]) -> str:
        return f"{estimate['mean']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"

    rows = ["| n | KL | proxy | gold |", "|---|---|---|---|"]
    return rows + [f"| {p['n']} | {p['kl']:.2f} | {cell(p['proxy'])} | {cell(p['gold'])} |" for p in figures["curve"]]


def _law_rows(figures: Mapping[str, Any]) -> list[str]:
    law = figures["law"]
    ends = {name: "[{:.3f}, {:.3f}]".format(*law[f"{name}_interval"]) for name in ("alpha", "beta")}
    said = f"R(d) = d (α − β d): α = {law['alpha']:.3f} {ends['alpha']}, β = {law['beta']:.3f} {ends['beta']}"
    said += f", residual {law['residual']:.4f}. "
    if "peak" in law:
        beyond = " (beyond what was measured)" if law["peak"]["kl"] > figures["curve"][-1]["kl"] else ""
        return [said + f"Its peak is at {law['peak']['kl']:.2f} nats{beyond}, {law['peak']['reward']:+.3f} above the start."]
    return [said + law["no_peak"][0].upper() + law["no_peak"][1:] + "."]


def _check_rows(figures: Mapping[str, Any]) -> Iterator[str]:
    for n, both in figures["checks"].items():
        for score, seen in both.items():
            gap = "{mean:+.4f} [{low:+.4f}, {high:+.4f}]".format(**seen["gap"])
            verdict = "within" if seen["within"] else "**outside**"
            yield f"| {n} | {score} | {seen['measured']:.3f} | {seen['predicted']:.3f} | {gap} | {verdict} |"


def picture(whole: Mapping[str, Any]) -> str:
    """Gold over d = √KL, a curve for each proxy."""
    series = []
    for figures in whole["figures"]:
        points = figures["curve"]
        gold = {key: [point["gold"][key] for point in points] for key in ("mean", "low", "high")}
        places = [math.sqrt(point["kl"]) for point in points]
        series.append(Series(figures["proxy"].removeprefix("playground-"), places, gold["mean"], gold["low"], gold["high"]))
    return svg("Gold of best-of-n, by the proxy that chooses", "d = √KL (√nats)", "gold", series)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run file or the folder of a run")
    parser.add_argument("--out", type=Path, help="the folder of the run, where --run is a file")
    parser.add_argument("--who", choices=("start", "policy"), default="start", help="whose answers, of the run")
    parser.add_argument("--proxy", action="append", required=True, help="what chooses; may be given several times")
    parser.add_argument("--gold", default="playground-gold", help="what counts")
    parser.add_argument("--samples", type=int, default=64, help="N: answers to each prompt")
    parser.add_argument("--prompts", type=int, default=10**6, help="at most so many")
    parser.add_argument("--check", type=int, nargs="*", default=[4, 16], help="n of which best-of-n is deployed")
    parser.add_argument("--picks", type=int, default=4, help="answers of the deployed best-of-n to each prompt")
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument("--seeds", type=int, default=1, help="how often all of it is drawn, each time with other luck")
    parser.add_argument("--results", type=Path, help="where to write .json, .md and .svg")
    args = parser.parse_args()
    torch.set_num_threads(1)
    policy, prompts, made_with = asked(args)
    groups = [drawn(policy, prompts, args.samples, manner_of(args, seed)) for seed in seeds_of(args)]
    given = [(own, Scorer(reward_named(args.gold))(prompts, own)) for own in groups]
    whole = {
        "command": "python " + shlex.join(sys.argv),
        "machine": platform.machine(),
        "made_with": made_with,
        "gold": args.gold,
        "prompts": len(prompts),
        "samples": args.samples,
        "seeds": args.seeds,
        "figures": [figures_of(name, policy, prompts, given, args) for name in args.proxy],
    }
    print(markdown(whole))
    if args.results:
        store.write_json(args.results.with_suffix(".json"), whole)
        store.write_text(args.results.with_suffix(".md"), markdown(whole))
        store.write_text(args.results.with_suffix(".svg"), picture(whole))


if __name__ == "__main__":
    main()
