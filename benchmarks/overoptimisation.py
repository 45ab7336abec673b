"""A proxy is raised too far: gold rises and then falls while the proxy keeps rising. PPO, best-of-n, and Gao's laws.

    python benchmarks/overoptimisation.py benchmarks/biased.toml --seeds 3 --results benchmarks/results/overoptimisation

The run file's reward is learned from people with a bias; its gold reward is heard in every update and does not count. For
PPO a point is one update: the KL of its answers from the start (by samples), their mean proxy and their mean gold. For
best-of-n it is one n, by the unbiased curve over N answers of the start to each test prompt. Both are of the same start and
the same proxy.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from alignzoo.interfaces import Manner
from alignzoo.lab import store
from alignzoo.lab.compare.gao import Fit, GaoError, fit
from alignzoo.lab.compare.pictures import Series, svg
from alignzoo.lab.listener import Listener
from alignzoo.lab.run import Run
from alignzoo_best_of_n.choosing import Scorer
from alignzoo_best_of_n.curve import curve

BINS = 12
RESAMPLES = 1000
Points = list[dict[str, float]]


def trained(file: Path, seed: int, out: Path) -> Run:
    run = Run.open(
        file, out / f"{file.stem}-{seed}", [f"seed={seed}"], Listener(stage=lambda *said: print(seed, *said, flush=True))
    )
    run.train()
    return run


def of_training(run: Run, proxy: str) -> Points:
    """KL, proxy and gold of the answers of each update."""
    rows = store.read_rows(run.files.train.updates)
    return [{"kl": row["kl"], "proxy": row[f"score_{proxy}"], "gold": row["score_gold"]} for row in rows]


def of_choosing(run: Run, proxy: int, samples: int, prompts: int) -> Points:
    """KL, proxy and gold of best-of-n, for n up to the number of samples."""
    assert run.plan.task is not None
    asked = list(run.plan.task.made.prompts("test"))[:prompts]
    groups = run.start_role().sample(asked, samples, Manner(max_tokens=48, seed=1))
    combined = run.reward()
    by_proxy, gold = (Scorer(combined.parts[place][1])(asked, groups) for place in (proxy, 1 - proxy))
    return [{"kl": p.kl, "proxy": p.proxy.mean, "gold": p.gold.mean} for p in curve(by_proxy, gold)]


def law(name: str, runs: Sequence[Points], least_d: float, most_kl: float = math.inf) -> dict[str, Any]:
    """α and β of one law over the points of all seeds, each run's gold above its own start; intervals resample the points."""
    points = [(p["kl"], p["gold"] - own[0]["gold"]) for own in runs for p in own if 0 < p["kl"] <= most_kl]
    found = fit(name, [kl for kl, _ in points], [gold for _, gold in points], start=0.0, least_d=least_d)
    told = found.row()
    dice = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        some = [points[i] for i in dice.integers(len(points), size=len(points))]
        drawn.append(fit(name, [kl for kl, _ in some], [gold for _, gold in some], start=0.0, least_d=least_d))
    for which in ("alpha", "beta"):
        told[f"{which}_interval"] = [float(x) for x in np.quantile([getattr(one, which) for one in drawn], [0.025, 0.975])]
    try:
        told["peak"] = vars(found.peak)
    except GaoError as error:
        told["no_peak"] = str(error)
    return told


def binned(runs: Sequence[Points], what: str, law: Sequence[tuple[float, float]] = ()) -> Series:
    """The points of all seeds by d = √KL, in bins of equal count: means, and a standard error around them."""
    points = sorted((math.sqrt(max(0.0, p["kl"])), p[what]) for own in runs for p in own)
    bins = [chunk for chunk in np.array_split(np.array(points), min(BINS, len(points))) if len(chunk)]
    x, y = ([float(chunk[:, column].mean()) for chunk in bins] for column in (0, 1))
    error = [float(chunk[:, 1].std() / math.sqrt(len(chunk))) for chunk in bins]
    low, high = ([a + sign * b for a, b in zip(y, error, strict=True)] for sign in (-1, 1))
    return Series(what, x, y, low, high, law=law)


def drawn(told: dict[str, Any], runs: Sequence[Points], least_d: float, most_kl: float) -> list[tuple[float, float]]:
    """The fitted law over the distances that it was fitted to, above the mean of the starts."""
    found = Fit(**{field.name: told[field.name] for field in fields(Fit)})
    start = fmean(own[0]["gold"] for own in runs)
    farthest = math.sqrt(min(most_kl, max(p["kl"] for own in runs for p in own)))
    return [(d, start + found.at(d * d)) for d in np.linspace(least_d, farthest, 25).tolist()]


def mean_way(runs: Sequence[Points]) -> Points:
    """Update by update, or n by n, the mean over seeds. Each seed's own best point would be its luck, too."""
    steps = zip(*runs, strict=True)
    return [{k: fmean(point[k] for point in step) for k in ("kl", "proxy", "gold")} for step in steps]


def said(name: str, runs: Sequence[Points], told: dict[str, Any]) -> list[str]:
    way = mean_way(runs)
    first, last, top = way[0], way[-1], max(way, key=lambda p: p["gold"])
    rows = [f"## {name}", "", "| | KL | proxy | gold |", "|---|---|---|---|"]
    for what, at in (("start", first), ("best in gold", top), ("end", last)):
        rows.append(f"| {what} | {at['kl']:.2f} | {at['proxy']:.2f} | {at['gold']:.3f} |")
    ends = {which: "[{:.3f}, {:.3f}]".format(*told[f"{which}_interval"]) for which in ("alpha", "beta")}
    rows += [
        "",
        f"α = {told['alpha']:.3f} {ends['alpha']}, β = {told['beta']:.3f} {ends['beta']}, residual {told['residual']:.3f}. ",
    ]
    if "peak" in told:
        rows[-1] += f"The law's peak is at {told['peak']['kl']:.2f} nats, {told['peak']['reward']:+.3f} above the start."
    return [*rows, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=256, help="N of best-of-n")
    parser.add_argument("--prompts", type=int, default=60, help="test prompts for best-of-n")
    parser.add_argument(
        "--least-d", type=float, default=0.5, help="RL's law is fitted above this √KL: its slope at 0 is infinite"
    )
    parser.add_argument(
        "--most-kl", type=float, default=20.0, help="and below this KL: gold cannot fall below 0, and lies there"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/overoptimisation"))
    parser.add_argument("--results", type=Path)
    args = parser.parse_args()
    runs = [trained(args.file, seed, args.out) for seed in range(args.seeds)]
    names = [rewarding.voice.name for rewarding in runs[0].plan.rewards]
    proxy = next(place for place, name in enumerate(names) if name != "gold")
    training = [of_training(run, names[proxy]) for run in runs]
    choosing = [of_choosing(run, proxy, args.samples, args.prompts) for run in runs]
    laws = {"rl": law("rl", training, args.least_d, args.most_kl), "best-of-n": law("best-of-n", choosing, 0.0)}
    command = "python " + shlex.join(sys.argv)
    lines = [f"`{command}`", "", f"{args.seeds} seeds; KL in nats per answer, from the start. Means over seeds.", ""]
    fitted = f"PPO: R(d) = d (α − β log d), d = √KL, fitted for KL up to {args.most_kl:g}"
    lines += said(fitted, training, laws["rl"])
    lines += said("Best-of-n: R(d) = d (α − β d)", choosing, laws["best-of-n"])
    lines += [
        "Intervals of α and β: 95 %, by a bootstrap over points, whose neighbours are not independent: they are too narrow."
    ]
    print("\n".join(lines))
    if args.results:
        whole = {
            "command": command,
            "made_with": runs[0].plan.made_with(),
            "laws": laws,
            "ppo": training,
            "best-of-n": choosing,
        }
        store.write_json(args.results.with_suffix(".json"), whole)
        store.write_text(args.results.with_suffix(".md"), "\n".join(lines) + "\n")
        fits = {
            "ppo": drawn(laws["rl"], training, args.least_d, args.most_kl),
            "best-of-n": drawn(laws["best-of-n"], choosing, 0.0, math.inf),
        }
        for name, points in (("ppo", training), ("best-of-n", choosing)):
            for what in ("gold", "proxy"):
                series = binned(points, what, fits[name] if what == "gold" else ())
                picture = svg(f"{what} against a biased proxy ({name})", "d = √KL (√nats)", what, [series])
                store.write_text(args.results.with_name(f"{args.results.name}-{name}-{what}.svg"), picture)


if __name__ == "__main__":
    main()
