"""The report of a bench: its entries side by side, what an answer of each costs, how they were tuned, and what failed."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from alignzoo.lab import store
from alignzoo.lab.bench.serving import UNITS, break_even
from alignzoo.lab.compare.comparison import Comparison, Note, compare
from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.played import played
from alignzoo.lab.compare.significance import COST, over_seeds
from alignzoo.lab.compare.together import write
from alignzoo.lab.compare.words import markdown, within
from alignzoo.lab.statistics import Estimate
from alignzoo.lab.strange import in_markdown
from alignzoo.learning.choices import Budget

_OPEN = ("to do", "under way")
_OVER = 1.05
"""The share of a budget above which it is a caution that more was spent."""
_KEPT = """\
Updates and labels are kept to exactly. Of tokens, FLOPs and seconds the last update may take more than was left: it is made \
to its end. Shares are means over seeds, and in brackets the highest."""
_FLATTERS = """\
The best of several trials flatters and has no interval: it is the mean of one run, chosen for being high. Only its settings \
are used."""


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

    def over_seeds(self, what: str, name: str) -> Estimate:
        """The same with its interval, for other seeds."""
        return over_seeds([getattr(cell, what)[name] for cell in self.done], COST)

    def row(self, root: Path) -> dict[str, Any]:
        cells = [asdict(cell) | {"folder": str(cell.folder.relative_to(root))} for cell in self.cells]
        return {**asdict(self), "cells": cells}


Decide = Callable[[Comparison, Sequence[Entrant]], Comparison]
"""Adds to a comparison what an umpire says of it."""


def report(
    name: str,
    entries: Sequence[Standing],
    root: Path,
    decide: Decide = lambda found, entrants: found,
    budget: Budget = Budget(),
) -> str:
    """Write the report of a bench into its folder (report.html, report.md, report.json), and return it as Markdown."""
    entrants = [_entrant(one) for one in entries]
    kept = [_kept(entry, one, budget) for entry, one in zip(entries, entrants, strict=True) if entry.done]
    notes = [*_complete(entries), *_budget(kept, budget), *_serving([one for one in entries if one.done])]
    notes += [*_tuning(entries), *_said(entrants), *_failures(entries)]
    if not any(one.runs for one in entrants):
        told = [f"# {name}", "", "No contestant has finished a run.", *(f"* {line}" for n in notes for line in n.lines), ""]
        text = in_markdown("\n".join(told))
        store.write_text(root / "report.md", text)
        return text
    found = compare(name, entrants, notes)
    found = decide(replace(found, cautions=(*found.cautions, *_unequal(kept))), entrants)
    again = ["alignzoo", "bench", str(root / "bench.toml"), "--out", f"{root}-again"]
    write(found, entrants, root, shlex.join(again))
    return markdown(found)


def _entrant(entry: Standing) -> Entrant:
    """An entry as a contestant: its finished runs, and what is known of it besides."""
    failures = tuple(f"seed {cell.seed}: {' '.join(cell.reason.split())}" for cell in entry.cells if cell.state == "failed")
    done = entry.done
    return Entrant(
        entry.name,
        tuple(played(cell.folder) for cell in done),
        failures,
        {name: entry.over_seeds("spent", name) for name in done[0].spent} if done else None,
        {name: entry.over_seeds("served", name) for name in done[0].served} if done else None,
        entry.tuned or None,
        len(entry.trials),
    )


def _complete(entries: Sequence[Standing]) -> Iterator[Note]:
    missing = [f"{entry.name}/{cell.seed}: {cell.state}" for entry in entries for cell in entry.cells if cell.state in _OPEN]
    if missing:
        yield Note("Not complete", tuple(missing))


@dataclass(frozen=True)
class _Kept:
    """How an entry kept to the budget."""

    name: str
    shares: Mapping[str, Sequence[float]]
    """What each seed spent of each limit, 1 for all of it."""
    ended: Mapping[str, int]
    """How many seeds were ended by each limit; "" is the optimizer's own end."""
    idle: int
    """Seeds that were ended before the first update."""


def _kept(entry: Standing, one: Entrant, budget: Budget) -> _Kept:
    """The budget is that of the optimizer, or of its rewards too; updates are always the optimizer's."""
    own = [{"tokens": run.spent.get("read", 0.0) + run.spent.get("written", 0.0), **run.spent} for run in one.runs]
    spent = [cell.spent for cell in entry.done] if budget.rewards else own
    shares = {name: [row[name] / most for row in spent] for name, most in budget.limits().items()}
    ended = Counter(cell.stopped.partition(" ")[0] for cell in entry.done)
    return _Kept(entry.name, shares, ended, sum(bool(cell.stopped) and not cell.spent["updates"] for cell in entry.done))


def _budget(kept: Sequence[_Kept], budget: Budget) -> Iterator[Note]:
    """What each spent of the budget, and what ended it."""
    if not kept or not budget.limits():
        return
    rows = []
    for one in kept:
        ends = ", ".join(f"{how or 'its own end'}{f' ({count})' * (len(one.ended) > 1)}" for how, count in one.ended.items())
        rows.append((one.name, ends, *(f"{fmean(shares):.1%} [{max(shares):.1%}]" for shares in one.shares.values())))
    head = ("entry", "ended by", *(f"of {most:,.6g} {name}" for name, most in budget.limits().items()))
    yield Note("How the budget was kept", (_KEPT,), head, tuple(rows))


def _unequal(kept: Sequence[_Kept]) -> Iterator[str]:
    """What of it a reader must know first."""
    for one in kept:
        for name, shares in one.shares.items():
            if (mean := fmean(shares)) > _OVER:
                why = "an update that is begun is made to its end"
                yield f"{one.name} spent {mean:.0%} of the {name} that the budget allows: {why}"
        if one.idle:
            seeds = f"(seeds: {one.idle})"
            yield f"{one.name}: the budget was spent before its first update {seeds}, by the rewards that it trained"


def _serving(entries: Sequence[Standing]) -> Iterator[Note]:
    """What every answer costs, and from how many on a dearer training is the cheaper way."""
    if not entries:
        return
    rows = []
    for entry in entries:
        cost = [entry.over_seeds("served", name) for name in (*UNITS, "scores")]
        times = [cell.served["flops"] / cell.start_served["flops"] for cell in entry.done]
        cells = [within(one, how) for one, how in zip(cost, (".3g", ",.1f", ".3g", ".1f"), strict=True)]
        rows.append((entry.name, *cells, within(over_seeds(times, COST), ".2f")))
    told = []
    for dear in entries:
        if pays := sorted(((count, cheap) for cheap in entries if (count := _pays(cheap, dear))), key=lambda pay: pay[0]):
            others = ", ".join(f"{cheap.name} after {_after(count, cheap, dear)}" for count, cheap in pays)
            told.append(f"Trained, and so many answers later, these have cost less FLOPs than {dear.name}: {others}.")
    head = ("entry", "FLOPs", "tokens", "seconds", "scores asked", "times the start's FLOPs")
    yield Note("What an answer costs", tuple(told), head, tuple(rows))


def _after(count: float, trained: Standing, other: Standing) -> str:
    """A number of answers, with its interval over the seeds that both have, if it pays under each of them."""
    both = [{cell.seed: cell for cell in one.done} for one in (trained, other)]
    pairs = [(both[0][seed], both[1][seed]) for seed in sorted(both[0].keys() & both[1].keys())]
    counts = [
        break_even(ours.spent["flops"], ours.served["flops"], theirs.spent["flops"], theirs.served["flops"])
        for ours, theirs in pairs
    ]
    known = [one for one in counts if one is not None]
    around = over_seeds(known, COST) if known and len(known) == len(counts) else None
    if around is None or not around.low < around.high:
        return f"{math.ceil(count):,}"
    return f"{math.ceil(count):,} [{math.floor(around.low):,}, {math.ceil(around.high):,}]"


def _pays(trained: Standing, other: Standing) -> float | None:
    """After how many answers the one that trains more is the cheaper one, where that is a question at all."""
    if trained.mean("spent", "flops") <= other.mean("spent", "flops"):
        return None
    if trained.mean("served", "flops") > 0.75 * other.mean("served", "flops"):  # answers of other lengths alone are no reason
        return None
    facts = [one.mean(what, "flops") for one in (trained, other) for what in ("spent", "served")]
    return break_even(*facts)


def _tuning(entries: Sequence[Standing]) -> Iterator[Note]:
    if not any(entry.trials for entry in entries):
        return
    rows, lines = [], [_FLATTERS]
    for entry in entries:
        values = [trial["value"] for trial in entry.trials if trial["value"] is not None]
        failed = [(number, trial) for number, trial in enumerate(entry.trials) if trial["value"] is None]
        lines += [f"{entry.name}, trial {number} failed: {' '.join(trial['reason'].split())}" for number, trial in failed]
        trials = f"{len(entry.trials)}{f' ({len(failed)} failed)' if failed else ''}"
        changed = ", ".join(f"`{place} = {value}`" for place, value in entry.tuned.items()) or "nothing"
        rows.append((entry.name, trials, f"{max(values):.3f}" if values else "–", changed))
    yield Note("Tuning", tuple(lines), ("entry", "trials", "best on validation prompts", "changed"), tuple(rows))


def _said(entrants: Sequence[Entrant]) -> Iterator[Note]:
    """What sources and filters say of the feedback that they gave, its price among it; entries of one sentence share a line."""
    told: dict[str, list[str]] = {}
    for one in entrants:
        for sentence in one.runs[0].tally.get("said", ()) if one.runs else ():
            told.setdefault(sentence, []).append(one.name)
    if told:
        lines = tuple(f"{', '.join(names)}: {sentence}" for sentence, names in told.items())
        yield Note("What is said of the feedback (of each entry's first seed)", lines)


def _failures(entries: Sequence[Standing]) -> Iterator[Note]:
    failed = [(entry, cell) for entry in entries for cell in entry.cells if cell.state == "failed"]
    if failed:
        yield Note("Failed", tuple(f"{entry.name}/{cell.seed}: {' '.join(cell.reason.split())}" for entry, cell in failed))
