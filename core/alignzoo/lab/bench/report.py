"""The leaderboard of a bench: means and intervals over seeds and prompts, what was spent, what failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from alignzoo.lab import store
from alignzoo.lab.bench.serving import UNITS, break_even
from alignzoo.lab.statistics import Estimate

_RESAMPLES = 4000


@dataclass(frozen=True)
class CellStanding:
    """One run of an entry."""

    seed: int
    folder: Path
    state: str
    """done, failed, under way, to do"""
    reason: str = ""
    spent: Mapping[str, float] = field(default_factory=dict)
    served: Mapping[str, float] = field(default_factory=dict)
    """What one of its answers costs."""
    start_served: Mapping[str, float] = field(default_factory=dict)
    stopped: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Standing:
    """One entry of a bench with all its runs."""

    name: str
    settings: Mapping[str, Any]
    """What the bench file says of it alone."""
    cells: tuple[CellStanding, ...]
    tuned: Mapping[str, Any] = field(default_factory=dict)
    """What tuning changed."""
    trials: tuple[Mapping[str, Any], ...] = ()

    @property
    def done(self) -> list[CellStanding]:
        return [cell for cell in self.cells if cell.state == "done"]

    def mean(self, what: str, name: str) -> float:
        """The mean over seeds of something `spent` or `served`."""
        return fmean(getattr(cell, what)[name] for cell in self.done)

    def row(self, root: Path) -> dict[str, Any]:
        cells = [asdict(cell) | {"folder": str(cell.folder.relative_to(root))} for cell in self.cells]
        return {**asdict(self), "cells": cells}


def over_seeds(runs: Sequence[Mapping[str, float]], seed: int = 0) -> Estimate:
    """Mean and interval of a figure known for every prompt of every seed: seeds are resampled, and prompts, the same ones for
    all seeds, since all answer the same. One seed has no interval."""
    prompts = sorted(set(runs[0]).intersection(*runs))
    table = np.array([[run[prompt] for prompt in prompts] for run in runs])
    if len(runs) == 1:
        return Estimate(float(table.mean()), float("nan"), float("nan"))
    dice = np.random.default_rng(seed)
    rows = dice.integers(len(runs), size=(_RESAMPLES, len(runs)))
    columns = dice.integers(len(prompts), size=(_RESAMPLES, len(prompts)))
    means = [table[np.ix_(row, column)].mean() for row, column in zip(rows, columns, strict=True)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(table.mean()), float(low), float(high))


def scores_of(root: Path, who: str) -> dict[str, float]:
    """The mean score of each prompt in one run."""
    groups: dict[str, list[float]] = {}
    for row in store.read_rows(store.Folder(root).scores):
        if row["who"] == who:
            groups.setdefault(row["prompt"], []).append(row["score"])
    return {prompt: fmean(scores) for prompt, scores in groups.items()}


def report(name: str, entries: Sequence[Standing], root: Path) -> str:
    """Write the report of a bench into its folder, and return it as Markdown."""
    ranked = sorted((one for one in entries if one.done), key=lambda one: -_reward(one).mean)
    lines = [f"# {name}", "", *_table(ranked), "", *_notes(entries), *_serving(ranked), *_tuning(entries), *_failures(entries)]
    text = "\n".join(lines) + "\n"
    store.write_text(root / "report.md", text)
    return text


def _reward(entry: Standing) -> Estimate:
    return over_seeds([scores_of(cell.folder, "policy") for cell in entry.done])


def _gain(entry: Standing) -> Estimate:
    both = [(scores_of(cell.folder, "start"), scores_of(cell.folder, "policy")) for cell in entry.done]
    return over_seeds([{prompt: after[prompt] - before[prompt] for prompt in before} for before, after in both])


def _told(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f} (no interval)" if np.isnan(estimate.low) else str(estimate)


def _table(ranked: Sequence[Standing]) -> Iterator[str]:
    yield "| entry | seeds | reward | gain over the start | labels | scores | tokens | FLOPs | seconds | peak MiB |"
    yield "|" + "---|" * 10
    for entry in ranked:
        spent = [f"{entry.mean('spent', name):,.0f}" for name in ("labels", "scores", "tokens")]
        spent += [f"{entry.mean('spent', 'flops'):.3g}", f"{entry.mean('spent', 'seconds'):,.1f}"]
        peak = f"{max(cell.spent['peak_bytes'] for cell in entry.done) / 2**20:,.0f}"
        seeds = f"{len(entry.done)} of {len(entry.cells)}" if len(entry.done) < len(entry.cells) else f"{len(entry.done)}"
        yield f"| {' | '.join([entry.name, seeds, _told(_reward(entry)), _told(_gain(entry)), *spent, peak])} |"


def _notes(entries: Sequence[Standing]) -> Iterator[str]:
    yield "Rewards are the judge's on held-out prompts; 95 % intervals by a bootstrap over seeds and prompts. What was spent is"
    yield "a mean over seeds: an entry's own training and that of its rewards, without the start, which all share."
    if any(len(entry.cells) == 1 for entry in entries):
        yield ""
        yield "**One seed: no interval.** Nothing can be said about another training of the same entry; use 5 seeds or more."
    missing = [
        f"{cell.state}: {entry.name}/{cell.seed}" for entry in entries for cell in entry.cells if "do" in cell.state.split()
    ]
    if missing:
        yield ""
        yield f"**Not complete.** {'; '.join(missing)}."


def _serving(ranked: Sequence[Standing]) -> Iterator[str]:
    """What every answer costs, and from how many on a dearer training is the cheaper way."""
    if not ranked:
        return
    yield from ("", "## What an answer costs", "")
    yield "| entry | FLOPs | tokens | seconds | scores asked | times the start's FLOPs |"
    yield "|" + "---|" * 6
    for entry in ranked:
        cost = {name: entry.mean("served", name) for name in (*UNITS, "scores")}
        times = cost["flops"] / entry.mean("start_served", "flops")
        cells = [f"{cost['flops']:.3g}", f"{cost['tokens']:,.1f}", f"{cost['seconds']:.3g}", f"{cost['scores']:.1f}"]
        yield f"| {' | '.join([entry.name, *cells, f'{times:.2f}'])} |"
    pairs = [(cheap, dear) for cheap in ranked for dear in ranked if _pays(cheap, dear)]
    if pairs:
        yield ""
    for cheap, dear in pairs:
        count = _pays(cheap, dear)
        yield f"* {cheap.name}, once trained, has cost less FLOPs than {dear.name} after {count:,.0f} answers."


def _pays(trained: Standing, other: Standing) -> float | None:
    """After how many answers the one that trains more is the cheaper one, where that is a question at all."""
    if trained.mean("spent", "flops") <= other.mean("spent", "flops"):
        return None
    if trained.mean("served", "flops") > 0.9 * other.mean("served", "flops"):  # answers of other lengths alone are no reason
        return None
    facts = [one.mean(what, "flops") for one in (trained, other) for what in ("spent", "served")]
    return break_even(*facts)


def _tuning(entries: Sequence[Standing]) -> Iterator[str]:
    if not any(entry.trials for entry in entries):
        return
    yield from ("", "## Tuning", "", "| entry | trials | best on validation prompts | changed |", "|---|---|---|---|")
    for entry in entries:
        values = [trial["value"] for trial in entry.trials if trial["value"] is not None]
        changed = ", ".join(f"`{place} = {value}`" for place, value in entry.tuned.items()) or "nothing"
        yield f"| {entry.name} | {len(entry.trials)} | {f'{max(values):.3f}' if values else '–'} | {changed} |"


def _failures(entries: Sequence[Standing]) -> Iterator[str]:
    failed = [(entry, cell) for entry in entries for cell in entry.cells if cell.state == "failed"]
    if failed:
        yield from ("", "## Failed", "")
    for entry, cell in failed:
        yield f"* {entry.name}/{cell.seed}: {' '.join(cell.reason.split())}"
