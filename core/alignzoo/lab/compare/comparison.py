"""All contestants at once: who leads, and what it cost them in other values, in distance from the start, and in compute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, cached_property, partial
from typing import Any

from alignzoo.lab.compare.backing import Asked, Made, made, noticed
from alignzoo.lab.compare.duels import Duel, Entrant, duels
from alignzoo.lab.compare.footing import CompareError as CompareError  # stood here once
from alignzoo.lab.compare.footing import cautions, listed, one_judge
from alignzoo.lab.compare.frontier import Point, fitted, frontier
from alignzoo.lab.compare.gao import Fit
from alignzoo.lab.compare.hearing import Hearing
from alignzoo.lab.compare.jury import Liking, likings
from alignzoo.lab.compare.ranking import Rank, ranking
from alignzoo.lab.compare.significance import COST, ENOUGH, SHARE, over_seeds, spread_of
from alignzoo.lab.compare.whose import Whose, whose
from alignzoo.lab.statistics import Estimate
from alignzoo.lab.store import worded

_MADE_WITH = ("settings", "tuned")
FEW = 2
"""Prompts that all must have answered."""


@dataclass(frozen=True)
class Line:
    """One contestant's row."""

    name: str
    seeds: int
    reward: Estimate
    gain: Estimate
    gain_chance: float
    kl: Estimate | None
    values: Mapping[str, Estimate]
    words: Estimate
    distinct: Estimate
    refuses: Estimate
    ended: Estimate
    spent: Mapping[str, Estimate]
    served: Mapping[str, Estimate] | None
    failures: tuple[str, ...]
    tuned: Mapping[str, Any] | None
    trials: int

    @property
    def gains(self) -> bool:
        """Whether the interval of its gain is above 0."""
        return self.gain.low > 0


@dataclass(frozen=True)
class Side:
    """The start, for what changed beside it."""

    reward: Estimate
    values: Mapping[str, Estimate]
    words: Estimate
    distinct: Estimate
    refuses: Estimate
    ended: Estimate


@dataclass(frozen=True)
class Note:
    """A section that whoever compares adds: lines to read, and a table."""

    title: str
    lines: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What is to be told of all of them. `lines` and `ranks` are sorted, the best first."""

    name: str
    judge: str
    prompts: tuple[str, ...]
    start: Side
    lines: tuple[Line, ...]
    duels: tuple[Duel, ...]
    ranks: tuple[Rank, ...]
    ways: Mapping[str, tuple[Point, ...]]
    fits: Mapping[str, Fit]
    cautions: tuple[str, ...]
    lost: Mapping[str, tuple[str, ...]]
    """Contestants without one finished run, and why."""
    notes: tuple[Note, ...] = ()
    noticed: tuple[str, ...] = ()
    made: tuple[Made, ...] = ()
    asked: tuple[Asked, ...] = ()
    """Some prompts with everybody's answer, where a report is written."""
    hearing: Hearing | None = None
    """What somebody says who was shown their answers two at a time, where that was asked for."""
    whose: Whose | None = None
    """Whose choices they follow, where some were held back to tell it by."""
    jury: tuple[Liking, ...] = ()
    """Whom each juror likes better, every pair by every juror, where there is a jury."""
    command: str = ""
    """What makes the report again."""

    def answer(self) -> str:
        """The whole in one sentence, first."""
        if not self.lines:
            return "No contestant has finished a run."
        best, *others = self.lines
        told = f"{best.name} has the highest reward, {_said(best.reward)}"
        if not best.gains:
            told = f"Nobody is above the start for certain; {told[0].lower()}{told[1:]}" if best.seeds > 1 else told
        if not others:
            start = self.start.reward
            return f"{told}; the start has {start if best.seeds > 1 else f'{start.mean:.3f}'}."
        open_ = [one.name for one in others if self.between(best.name, one.name).verdict == "not separable"]
        beaten = [one.name for one in others if one.name not in open_]
        if beaten:
            told += f"; it is better than {listed(beaten)}"
        if open_:
            told += f"{', but' if beaten else ';'} not separable from {listed(open_)}"
            needed = [self.between(best.name, name).seeds_needed for name in open_]
            if best.seeds < ENOUGH:
                told += f" (a verdict takes {ENOUGH} seeds)"
            elif all(count is not None for count in needed):
                told += f" (with {max(count for count in needed if count)} seeds in all it would be, if the differences stay)"
        return f"{told}."

    def between(self, first: str, second: str) -> Duel:
        return self._pairs[frozenset((first, second))]

    @cached_property
    def _pairs(self) -> dict[frozenset[str], Duel]:
        return {frozenset((duel.first, duel.second)): duel for duel in self.duels}

    def row(self) -> dict[str, Any]:
        """The whole as plain data, figures to six digits; settings as they are."""
        return {**_plain(self), "answer": self.answer()}


def compare(name: str, entrants: Sequence[Entrant], notes: Sequence[Note] = ()) -> Comparison:
    """Put contestants side by side, on the prompts that all of them answered."""
    there = [one for one in entrants if one.runs]
    lost = {one.name: one.failures for one in entrants if not one.runs}
    if not there:
        raise CompareError("there is no finished run to compare")
    runs = [run for one in there for run in one.runs]
    judge = one_judge(runs)
    shared = set(runs[0].prompts).intersection(*(run.prompts for run in runs))
    prompts = [prompt for prompt in runs[0].prompts if prompt in shared]
    if len(prompts) < FEW:
        raise CompareError(f"they have {len(prompts)} test prompts in common; runs that are compared must answer the same ones")
    standing, there = there, [one.on(prompts) for one in there]
    values = [value for value in runs[0].values if all(value in run.policy for run in runs)]
    lines = sorted((_line(one, values) for one in there), key=lambda line: -line.reward.mean)
    ordered = [next(one for one in there if one.name == line.name) for line in lines]
    ways = {one.name: tuple(frontier(one)) for one in ordered}
    fits = {name: fit for name, way in ways.items() if (fit := fitted(way)) is not None}
    return Comparison(
        name=name,
        judge=judge,
        prompts=tuple(prompts),
        start=_start(there[0], values),
        lines=tuple(lines),
        duels=tuple(duels(ordered)),
        ranks=tuple(ranking(ordered)),
        ways=ways,
        fits=fits,
        cautions=tuple(cautions(standing, len(prompts))),
        lost=lost,
        notes=tuple(notes),
        noticed=tuple(noticed(entrants)),
        made=made(ordered),
        whose=whose(ordered),
        jury=tuple(likings(ordered)),
    )


def _line(one: Entrant, values: Sequence[str]) -> Line:
    gain = spread_of(one.table("score") - one.table("score", who="start"), closed=one.closed)
    known = all("kl" in run.policy for run in one.runs)
    return Line(
        name=one.name,
        seeds=len(one.runs),
        reward=one.figure("score"),
        gain=gain.interval(),
        gain_chance=gain.chance(),
        kl=one.figure("kl") if known else None,
        values={value.removeprefix("value: "): one.figure(value) for value in values},
        words=one.figure("words"),
        distinct=over_seeds([run.distinct[1] for run in one.runs], SHARE),
        refuses=one.figure("refuses"),
        ended=one.figure("ended"),
        spent=one.spent if one.spent is not None else _spent([run.spent for run in one.runs]),
        served=one.served,
        failures=one.failures,
        tuned=one.tuned,
        trials=one.trials,
    )


def _start(one: Entrant, values: Sequence[str]) -> Side:
    figure = partial(one.figure, who="start")

    return Side(
        figure("score"),
        {value.removeprefix("value: "): figure(value) for value in values},
        figure("words"),
        over_seeds([run.distinct[0] for run in one.runs], SHARE),
        figure("refuses"),
        figure("ended"),
    )


def _spent(rows: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
    """What all have counted, over seeds."""
    rows = [{"tokens": row.get("read", 0.0) + row.get("written", 0.0), **row} for row in rows]
    return {name: over_seeds([row[name] for row in rows], COST) for name in rows[0] if all(name in row for row in rows)}


def _said(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f} (one seed, no interval)" if math.isnan(estimate.low) else str(estimate)


def _plain(value: Any) -> Any:
    """Figures as JSON has words for them, no more exact than they are; what a run was made with is not touched."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, str | int | None):
        return value
    if own := _fields(value.__class__):
        return {name: (worded if name in _MADE_WITH else _plain)(getattr(value, name)) for name in own}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


@cache
def _fields(kind: type[Any]) -> tuple[str, ...]:
    """Of a dataclass; none of anything else."""
    return tuple(f.name for f in fields(kind)) if is_dataclass(kind) else ()
