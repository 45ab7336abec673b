"""Two contestants at a time: the difference, how often one answers better, and a verdict that may be "not separable"."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

import numpy as np
from scipy.special import expit

from alignzoo.lab.compare.played import Answers, Played
from alignzoo.lab.compare.significance import (
    ANYWHERE,
    ENOUGH,
    LEVEL,
    SHARE,
    Spread,
    Table,
    holm,
    seeds_to_separate,
    spread_of,
)
from alignzoo.lab.statistics import Estimate

Verdict = Literal["first", "second", "not separable"]
OPEN: Verdict = "not separable"

_PRIOR = 0.1
"""Virtual answers of each outcome, so that somebody who always wins has a finite advantage."""


@dataclass(frozen=True)
class Entrant:
    """One entry with its runs, one for each seed, and what the bench knows of it besides."""

    name: str
    runs: tuple[Played, ...]
    failures: tuple[str, ...] = ()
    """Runs that failed, with their reasons."""
    spent: Mapping[str, float] | None = None
    """Mean over seeds; without a bench, of the training alone."""
    served: Mapping[str, float] | None = None
    """What one of its answers costs."""
    tuned: Mapping[str, Any] | None = None
    trials: int = 0

    def on(self, prompts: Sequence[str]) -> Entrant:
        """The same, with these prompts alone."""
        return replace(self, runs=tuple(run.on(prompts) for run in self.runs))

    def table(self, name: str, seeds: Sequence[int] | None = None, who: str = "policy") -> Table:
        """(seeds, prompts) The mean of a figure over the answers to each prompt."""
        if (name, who) not in self._tables:
            self._tables[name, who] = np.stack([figures.mean(1) for figures in self.answers(name, who=who)])
        table = self._tables[name, who]
        return table if seeds is None else table[[self.seeds.index(seed) for seed in seeds]]

    def answers(self, name: str, seeds: Sequence[int] | None = None, who: str = "policy") -> list[Answers]:
        """A figure of every answer, for each of these seeds (or all)."""
        runs = self.runs if seeds is None else [self.runs[self.seeds.index(seed)] for seed in seeds]
        return [(run.policy if who == "policy" else run.start)[name] for run in runs]

    def figure(self, name: str, who: str = "policy") -> Estimate:
        """The mean of a figure over seeds and prompts, with its interval."""
        known = {run.bounds.get(name, ANYWHERE) for run in self.runs}
        return spread_of(self.table(name, who=who), closed=self.closed).interval(known.pop() if len(known) == 1 else ANYWHERE)

    @cached_property
    def _tables(self) -> dict[tuple[str, str], Table]:
        """What was asked for once: among many contestants everybody meets everybody."""
        return {}

    @cached_property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]

    @property
    def closed(self) -> bool:
        """Whether the prompts are all that there are."""
        return all(run.closed for run in self.runs)


@dataclass(frozen=True)
class Duel:
    """How the first stands against the second."""

    first: str
    second: str
    seeds: int
    difference: Estimate
    chance: float
    """p of the difference, by itself."""
    adjusted: float
    """p among all that are compared (Holm)."""
    verdict: Verdict
    seeds_needed: int | None
    """Where they are not separable: how many seeds in all would separate them, if the difference stays what it is."""
    why: str
    wins: Estimate
    """How often the first's answer scores above the second's, a tie counting one half."""
    wins_at_equal_length: Estimate

    def told(self) -> str:
        """The verdict in words."""
        if self.verdict == "first":
            return f"{self.first} is better than {self.second}"
        if self.verdict == "second":
            return f"{self.second} is better than {self.first}"
        return f"{self.first} and {self.second} are not separable: {self.why}"


def duels(entrants: Sequence[Entrant]) -> list[Duel]:
    """Every pair, with p-values held to one family. All must have answered the same prompts (`Entrant.on`)."""
    return judged([_duel(a, b) for a, b in combinations(entrants, 2)])


def judged(fought: Sequence[tuple[Duel, Spread | None]]) -> list[Duel]:
    """One family of duels, each with its verdict."""
    adjusted = holm([duel.chance for duel, _ in fought])
    return [_judged(duel, p, spread, len(fought)) for (duel, spread), p in zip(fought, adjusted, strict=True)]


def shared_seeds(entrants: Sequence[Entrant]) -> list[int]:
    return sorted(set(entrants[0].seeds).intersection(*(one.seeds for one in entrants)))


def won(a: Entrant, b: Entrant, seeds: Sequence[int]) -> Table:
    """(seeds, prompts) How often a's k-th answer scores above b's k-th; one half for a tie."""
    rows = []
    for ours, theirs in zip(a.answers("score", seeds), b.answers("score", seeds), strict=True):
        count = min(ours.shape[1], theirs.shape[1])
        ours, theirs = ours[:, :count], theirs[:, :count]
        rows.append(((ours > theirs) + 0.5 * (ours == theirs)).mean(1))
    return np.stack(rows)


def _duel(a: Entrant, b: Entrant) -> tuple[Duel, Spread | None]:
    seeds = shared_seeds((a, b))
    if not seeds:
        return unfought(a.name, b.name), None
    differences = a.table("score", seeds) - b.table("score", seeds)
    longer = a.table("words", seeds) - b.table("words", seeds)
    return fought((a.name, b.name), differences, won(a, b, seeds), longer, closed=a.closed)


def unfought(first: str, second: str) -> Duel:
    """Two that nothing can be said of."""
    none = Estimate(math.nan, math.nan, math.nan)
    return Duel(first, second, 0, none, 1.0, 1.0, OPEN, None, "they have no seed in common", none, none)


def fought(names: tuple[str, str], differences: Table, wins: Table, longer: Table, *, closed: bool) -> tuple[Duel, Spread]:
    """A duel that has no verdict yet, and the spread that decides it."""
    spread = spread_of(differences, closed=closed)
    fair = at_equal_length(wins, longer, closed=closed)
    chance, rate = spread.chance(), spread_of(wins, closed=closed).interval(SHARE)
    return Duel(*names, len(wins), spread.interval(), chance, 1.0, OPEN, None, "", rate, fair), spread


def _judged(duel: Duel, adjusted: float, spread: Spread | None, family: int) -> Duel:
    duel = replace(duel, adjusted=adjusted)
    if spread is None:
        return duel
    if duel.seeds < ENOUGH:
        count = f"{duel.seeds} seed{'s' if duel.seeds > 1 else ''} in common"
        return replace(duel, seeds_needed=ENOUGH, why=f"{count}; fewer than {ENOUGH} separate nothing")
    if adjusted < LEVEL:
        return replace(duel, verdict="first" if spread.mean > 0 else "second")
    needed = seeds_to_separate(spread, LEVEL / family)
    if needed is None:
        return replace(duel, why="at this difference no number of seeds would separate them on so few prompts")
    return replace(duel, seeds_needed=needed, why=f"about {needed} seeds would separate them if the difference stays")


def at_equal_length(wins: Table, longer: Table, *, closed: bool = False) -> Estimate:
    """The win rate at equal length: of a logistic regression of winning on the (squashed) difference in length,

        p(win) = σ(θ + γ tanh(difference / its deviation)),

    what is left where the difference is 0 (after Dubois et al. 2024, https://arxiv.org/abs/2404.04475, without their terms for
    each instruction). Its interval is that of θ, whose error is the mean of every answer's influence on it. Where all answers
    ended alike, length explains nothing: it is the plain win rate."""
    if wins.min() == wins.max():
        return spread_of(wins, closed=closed).interval(SHARE)
    squashed = np.tanh(longer / (float(longer.std()) or 1.0))
    design = np.stack([np.ones(wins.size), squashed.ravel()], 1)
    weights, bend = np.zeros(2), np.eye(2)
    for _ in range(25):  # Newton's method
        chance = expit(design @ weights)
        bend = (design * (chance * (1 - chance))[:, None]).T @ design + _PRIOR * np.eye(2)
        step = np.linalg.solve(bend, design.T @ (wins.ravel() - chance) - _PRIOR * weights)
        weights = weights + np.clip(step, -3, 3)
        if np.abs(step).max() < 1e-9:
            break
    misses = (wins.ravel() - expit(design @ weights))[:, None] * design
    influence = (misses @ np.linalg.inv(bend)[:, 0]).reshape(wins.shape) * wins.size
    around = spread_of(influence, closed=closed).interval()
    low, high = (float(expit(weights[0] + end - around.mean)) for end in (around.low, around.high))
    return Estimate(float(expit(weights[0])), low, high)
