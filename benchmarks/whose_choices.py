"""Whose choices? The same lesson, as everybody and as each group of the playground's crowd would have it, under several seeds.

    python benchmarks/whose_choices.py benchmarks/whose-choices.toml --seeds 3 --results benchmarks/results/whose-choices

The lesson of a seed is collected once; an entry learns from as many of its comparisons as the run file says, those that the
entry's group made. Then each group as a whole is asked, without noise, what it finds the answers worth. Intervals are 95 %,
for other seeds and other prompts (`seeds.py`).
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from on_policy import told_to
from seeds import over_seeds, scores_of

from alignzoo.lab import store
from alignzoo.lab.compare.significance import SHARE
from alignzoo.lab.run import Run
from alignzoo.records import completion_from_row, prompt_from_row
from alignzoo_playground.annotators import MEMBERS, by_group

GROUPS = tuple(MEMBERS["crowd"])
EVERYBODY = "everybody"
VALUES = ("harmless", "honest", "polite", "brief")


def collected(file: Path, seed: int, out: Path) -> Path:
    """What the crowd chose, all of it."""
    run = Run.open(file, out / f"{file.stem}-lesson-{seed}", [f"seed={seed}", "feedback.filter=[]"])
    return run.collect()


def learned(file: Path, whose: str, seed: int, out: Path) -> Path:
    """The run that learns from the choices of a group."""
    feedback = collected(file, seed, out)
    [sieve] = Run.open(file, out / f"{file.stem}-plan", []).plan.table()["feedback"]["filter"]
    only = "[]" if whose == EVERYBODY else f'["{whose}"]'
    sieved = f'{{use = "whose", most = {sieve["most"]}, only = {only}}}'
    lesson = f'feedback={{use = "file", form = "records", data = {{path = "{feedback}"}}, filter = [{sieved}]}}'
    return told_to(file, out / f"{file.stem}-{whose}-{seed}", [f"seed={seed}", lesson])


def worths(root: Path, who: str) -> dict[str, dict[str, float]]:
    """By group, what it finds each answer of the start or the policy worth."""
    rows = [row for row in store.read_rows(store.Folder(root).answers) if row["who"] == who]
    prompts = [prompt_from_row(row["prompt"]) for row in rows]
    felt = by_group(prompts, [completion_from_row(row["completion"]) for row in rows])
    return {group: {p.id: worth for p, worth in zip(prompts, felt[group], strict=True)} for group in GROUPS}


def won(root: Path, group: str) -> dict[str, float]:
    """For each prompt, whether the group finds the policy's answer better than the start's: 1, or ½ where it does not care."""
    before, after = worths(root, "start")[group], worths(root, "policy")[group]
    return {prompt: (after[prompt] > before[prompt]) + 0.5 * (after[prompt] == before[prompt]) for prompt in before}


def row(roots: Sequence[Path]) -> dict[str, Any]:
    """What came of one entry."""
    reports = [json.loads((root / "report.json").read_text()) for root in roots]
    return {
        "preferred by": {group: over_seeds([won(root, group) for root in roots], SHARE) for group in GROUPS},
        "gold": over_seeds([scores_of(root, "policy", "") for root in roots], SHARE),
        "values": {value: over_seeds([scores_of(root, "policy", value) for root in roots], SHARE) for value in VALUES},
        "start": {value: over_seeds([scores_of(root, "start", value) for root in roots], SHARE) for value in ("", *VALUES)},
        "kl": fmean(report["kl"]["mean"] for report in reports if report["kl"]),
        "per seed": [{group: fmean(won(root, group).values()) for group in GROUPS} for root in roots],
    }


def markdown(rows: Mapping[str, Mapping[str, Any]], command: str, seeds: int) -> str:
    lines = [
        f"`{command}`",
        "",
        f"{seeds} seeds; 95 % intervals over seeds and prompts. Left: how often each group, asked without noise, finds the",
        "aligned policy's answer better than the start's to the same held-out prompt. Right: the gold reward, and some of its",
        "values.",
        "",
        f"| whose choices | {' | '.join(f'{group} prefer it' for group in GROUPS)} | gold | {' | '.join(VALUES)} | KL |",
        "|" + "---|" * (3 + len(GROUPS) + len(VALUES)),
    ]
    start = next(iter(rows.values()))["start"]
    at_first = " | ".join(f"{start[value]['mean']:.3f}" for value in ("", *VALUES))
    lines.append(f"| (the start) | {' | '.join('–' for _ in GROUPS)} | {at_first} | 0 |")
    for whose, one in rows.items():
        figures = [*one["preferred by"].values(), one["gold"], *one["values"].values()]
        cells = [f"{f['mean']:.3f} [{f['low']:.3f}, {f['high']:.3f}]" for f in figures]
        lines.append(f"| {whose} | {' | '.join(cells)} | {one['kl']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="The same lesson, as each group of the crowd would have it.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/whose-choices"))
    parser.add_argument("--results", type=Path, help="without a suffix: .json and .md are written")
    args = parser.parse_args()
    entries = (EVERYBODY, *GROUPS)
    roots = {whose: [learned(args.file, whose, seed, args.out) for seed in range(args.seeds)] for whose in entries}
    rows = {whose: row(own) for whose, own in roots.items()}
    command = "python " + shlex.join(sys.argv)
    text = markdown(rows, command, args.seeds)
    print(text)
    if args.results:
        made_with = Run.open(roots[EVERYBODY][0]).plan.made_with()
        store.write_json(args.results.with_suffix(".json"), {"command": command, "made_with": made_with, "rows": rows})
        store.write_text(args.results.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
