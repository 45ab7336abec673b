"""Every algorithm that samples, on one run file, with the settings it ships with, under several seeds.

    python benchmarks/on_policy.py benchmarks/gold.toml --seeds 5 --results benchmarks/results/on-policy-gold

Start and reward model are made once for each seed and shared. Each seed of each algorithm is a run of its own, which can be
interrupted and continued. Intervals are 95 %, for other seeds and other prompts (`seeds.py`). With `--only`, the other rows of
the results stay as they are, each with the command that made it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

from seeds import summed_up

from alignzoo.lab import store
from alignzoo.lab.run import Run

ALGORITHMS = ("ppo", "rloo", "grpo", "reinforce-plus-plus", "nlpo", "expert-iteration", "online-dpo", "best-of-n")


def carried_out(file: Path, entry: str, optimizer: Mapping[str, object], seed: int, out: Path) -> Path:
    """One run of an entry, which is an optimizer and its settings."""
    settings = [f"optimizer.{key}={value}" for key, value in optimizer.items()]
    return told_to(file, out / f"{file.stem}-{entry}-{seed}", [*settings, f"seed={seed}", f"name={file.stem}-{entry}"])


def told_to(file: Path, root: Path, changes: Sequence[str]) -> Path:
    """A run file with these changes, carried out in a process of its own unless that was done before."""
    if not (root / "report.json").exists():
        command = [sys.executable, "-m", "alignzoo", "run", str(file), "--out", str(root)]
        command += [word for change in changes for word in ("--set", change)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{shlex.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    print(root, flush=True)
    return root


def row(roots: Sequence[Path]) -> dict[str, Any]:
    """What came of one algorithm."""
    figures = summed_up(roots)
    reports = [json.loads((root / "report.json").read_text()) for root in roots]
    kls = [report["kl"]["mean"] for report in reports if report["kl"]]
    spent = {
        name: fmean(report["spent"][name] for report in reports) for name in ("scores", "read", "written", "flops", "seconds")
    }
    return {"reward": figures["reward"], "per seed": figures["per seed"], "kl": fmean(kls) if kls else None, "spent": spent}


def kept(results: Path, seeds: int) -> dict[str, dict[str, Any]]:
    """The rows that are there already, if they are of as many seeds."""
    file = results.with_suffix(".json")
    whole = json.loads(file.read_text()) if file.exists() else {"rows": {}}
    return {name: {"command": whole["command"], **one} for name, one in whole["rows"].items() if len(one["per seed"]) == seeds}


def markdown(rows: Mapping[str, Mapping[str, Any]], seeds: int) -> str:
    made: dict[str, list[str]] = {}
    for name, one in rows.items():
        made.setdefault(one["command"], []).append(name)
    said = [f"`{command}`" + (f": {', '.join(names)}" if len(made) > 1 else "") for command, names in made.items()]
    lines = [
        "  \n".join(said),
        "",
        f"{seeds} seeds; gold reward on held-out prompts, 95 % intervals over seeds and prompts; KL in nats",
        "",
    ]
    lines[2] += (
        " per answer; what training spent, by the mean over seeds. Settings are those that each algorithm ships with: this is"
    )
    lines[2] += " no comparison at an equal budget."
    lines += [
        "| algorithm | start | after | gain | worst seed's gain | KL | scores asked | tokens read + written | FLOPs | seconds |"
    ]
    lines += ["|" + "---|" * 10]
    for name, one in rows.items():
        cells = [f"{f['mean']:.3f} [{f['low']:.3f}, {f['high']:.3f}]" for f in one["reward"].values()]
        worst = min(seed["policy"] - seed["start"] for seed in one["per seed"])
        kl = "–" if one["kl"] is None else f"{one['kl']:.2f}"
        spent = one["spent"]
        cost = [f"{spent['scores']:,.0f}", f"{spent['read']:,.0f} + {spent['written']:,.0f}", f"{spent['flops']:.2g}"]
        lines.append(f"| {' | '.join([name, *cells, f'{worst:.3f}', kl, *cost, format(spent['seconds'], '.0f')])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Every algorithm that samples, on one run file.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=ALGORITHMS)
    parser.add_argument("--out", type=Path, default=Path("runs/on-policy"))
    parser.add_argument("--at-once", type=int, default=2, help="runs beside each other, one thread each")
    parser.add_argument("--results", type=Path, help="without a suffix: .json and .md are written")
    args = parser.parse_args()
    with ThreadPoolExecutor(args.at_once) as pool:
        jobs = {
            name: [pool.submit(carried_out, args.file, name, {"use": name}, seed, args.out) for seed in range(args.seeds)]
            for name in args.only
        }
        roots = {name: [job.result() for job in own] for name, own in jobs.items()}
    command = "python " + shlex.join(sys.argv)
    rows = (kept(args.results, args.seeds) if args.results else {}) | {
        name: {"command": command, **row(own)} for name, own in roots.items()
    }
    rows = {name: rows[name] for name in [*ALGORITHMS, *rows] if name in rows}
    text = markdown(rows, args.seeds)
    print(text)
    if args.results:
        first = next(iter(roots.values()))[0]
        whole = {"command": command, "made_with": Run.open(first).plan.made_with(), "rows": rows}
        store.write_json(args.results.with_suffix(".json"), whole)
        store.write_text(args.results.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
