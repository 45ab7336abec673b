"""Two contestants at a time: the difference, how often one answers better, and a verdict that may be "not separable"."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from alignzoo.lab.compare.played import Answers, Played
from alignzoo.lab.compare.significance import (
    ANYWHERE,
    ENOUGH,
    LEVEL,
    SHARE,
    Spread,
    Table,
    Tables,
    holm,
    seeds_to_separate,
    spread_of,
    spreads_of,
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
    spent: Mapping[str, Estimate] | None = None
    """Over seeds; without a bench it is what the training alone took."""
    served: Mapping[str, Estimate] | None = None
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
        return table if seeds is None or list(seeds) == self.seeds else table[[self.seeds.index(seed) for seed in seeds]]

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


Met = tuple[Duel, Spread | None]
"""A duel that has no verdict yet, and the spread that decides it; None where the two have no seed in common."""


def duels(entrants: Sequence[Entrant]) -> list[Duel]:
    """Every pair, with p-values held to one family. All must have answered the same prompts (`Entrant.on`)."""
    return judged([met for place, a in enumerate(entrants) for met in _against(a, entrants[place + 1 :])])


def judged(met: Sequence[Met]) -> list[Duel]:
    """One family of duels, each with its verdict."""
    adjusted = holm([duel.chance for duel, _ in met])
    return [_judged(duel, p, spread, len(met)) for (duel, spread), p in zip(met, adjusted, strict=True)]


def shared_seeds(entrants: Sequence[Entrant]) -> list[int]:
    return sorted(set(entrants[0].seeds).intersection(*(one.seeds for one in entrants)))


def won(a: Entrant, others: Sequence[Entrant], seeds: Sequence[int]) -> Tables:
    """(others, seeds, prompts) How often a's k-th answer scores above the other's k-th; one half for a tie."""
    rows = []
    by_seed = zip(*(b.answers("score", seeds) for b in others), strict=True)
    for ours, theirs in zip(a.answers("score", seeds), by_seed, strict=True):
        counts = [min(ours.shape[1], one.shape[1]) for one in theirs]
        if len(set(counts)) == 1:  # all at once
            rows.append(np.sign(ours[:, : counts[0]] - np.stack([one[:, : counts[0]] for one in theirs])).mean(2))
        else:
            apart = [np.sign(ours[:, :n] - one[:, :n]).mean(1) for n, one in zip(counts, theirs, strict=True)]
            rows.append(np.stack(apart))
    wins: Tables = (1 + np.stack(rows, 1)) / 2
    return wins


def _against(a: Entrant, others: Sequence[Entrant]) -> Iterator[Met]:
    """One against each of the others; those with which it shares the same seeds are met at once."""
    shared = [tuple(shared_seeds((a, b))) for b in others]
    told: dict[int, Met] = {}
    for seeds in set(shared):
        places = [place for place, own in enumerate(shared) if own == seeds]
        if not seeds:
            told |= {place: (unfought(a.name, others[place].name), None) for place in places}
            continue
        group = [others[place] for place in places]
        differences, longer = (
            a.table(name, seeds) - np.stack([b.table(name, seeds) for b in group]) for name in ("score", "words")
        )
        names = [(a.name, b.name) for b in group]
        met = fought(names, differences, won(a, group, seeds), longer, closed=a.closed)
        told |= zip(places, met, strict=True)
    return (told[place] for place in range(len(others)))


def unfought(first: str, second: str) -> Duel:
    """Two that nothing can be said of."""
    none = Estimate(math.nan, math.nan, math.nan)
    return Duel(first, second, 0, none, 1.0, 1.0, OPEN, None, "they have no seed in common", none, none)


def fought(names: Sequence[tuple[str, str]], differences: Tables, wins: Tables, longer: Tables, *, closed: bool) -> list[Met]:
    """Duels that have no verdict yet, each with the spread that decides it. A pair has a table in each of the three."""
    fair = at_equal_lengths(wins, longer, closed=closed)
    rates = [spread.interval(SHARE) for spread in spreads_of(wins, closed=closed)]
    spreads = spreads_of(differences, closed=closed)
    return [
        (Duel(*pair, spread.seeds, spread.interval(), spread.chance(), 1.0, OPEN, None, "", rate, equal), spread)
        for pair, spread, rate, equal in zip(names, spreads, rates, fair, strict=True)
    ]


def _judged(duel: Duel, adjusted: float, spread: Spread | None, family: int) -> Duel:
    if spread is None:
        return replace(duel, adjusted=adjusted)
    verdict, needed, why = settled(spread, adjusted, family)
    return replace(duel, adjusted=adjusted, verdict=verdict, seeds_needed=needed, why=why)


def settled(spread: Spread, adjusted: float, family: int) -> tuple[Verdict, int | None, str]:
    """The verdict on a difference, by its p among a family of so many; where it is open, how many seeds would do and why."""
    if spread.seeds < ENOUGH:
        count = f"{spread.seeds} seed{'s' if spread.seeds > 1 else ''} in common"
        return OPEN, ENOUGH, f"{count}; fewer than {ENOUGH} separate nothing"
    if adjusted < LEVEL:
        return ("first" if spread.mean > 0 else "second"), None, ""
    needed = seeds_to_separate(spread, LEVEL / family)
    if needed is None:
        return OPEN, None, "at this difference no number of seeds would separate them on so few prompts"
    return OPEN, needed, f"about {needed} seeds would separate them if the difference stays"


def at_equal_length(wins: Table, longer: Table, *, closed: bool = False) -> Estimate:
    """The win rate at equal length: of a logistic regression of winning on the (squashed) difference in length,

        p(win) = σ(θ + γ tanh(difference / its deviation)),

    what is left where the difference is 0 (after Dubois et al. 2024, https://arxiv.org/abs/2404.04475, without their terms for
    each instruction). Its interval is that of θ, whose error is the mean of every answer's influence on it. Where all answers
    ended alike, length explains nothing: it is the plain win rate."""
    return at_equal_lengths(wins[None], longer[None], closed=closed)[0]


def at_equal_lengths(wins: Tables, longer: Tables, *, closed: bool = False) -> list[Estimate]:
    """The same of many pairs at once. Answers of one length differ in nothing that the law knows, so they are counted."""
    cells, pair = wins[0].size, np.arange(len(wins))[:, None, None]
    values, place = _ranks(longer)
    spans = longer.std((1, 2))
    x = np.tanh(values / np.where(spans > 0, spans, 1.0)[:, None])
    flat = (place + len(values) * pair).ravel()
    count = np.bincount(flat, minlength=x.size).reshape(x.shape)
    won_there = np.bincount(flat, wins.ravel(), minlength=x.size).reshape(x.shape)
    theta, gamma = np.zeros(len(wins)), np.zeros(len(wins))
    for _ in range(25):  # Newton's method
        chance = expit(theta[:, None] + gamma[:, None] * x)
        weight, miss = count * chance * (1 - chance), won_there - count * chance
        a, b, c = weight.sum(1) + _PRIOR, (weight * x).sum(1), (weight * x * x).sum(1) + _PRIOR
        up, along, bend = miss.sum(1) - _PRIOR * theta, (miss * x).sum(1) - _PRIOR * gamma, a * c - b * b
        steps = np.clip([(c * up - b * along) / bend, (a * along - b * up) / bend], -3, 3)
        theta, gamma = theta + steps[0], gamma + steps[1]
        if np.abs(steps).max() < 1e-9:
            break
    # What an answer of each length does to θ, for each bit that it misses by.
    pull = (c[:, None] - b[:, None] * x) / bend[:, None]
    expected = expit(theta[:, None] + gamma[:, None] * x)
    influences = (wins - expected[pair, place]) * pull[pair, place] * cells
    around = [spread.interval() for spread in spreads_of(influences, closed=closed)]
    fair = expit([[own, own + off.low - off.mean, own + off.high - off.mean] for own, off in zip(theta, around, strict=True)])
    told = [Estimate(*ends) for ends in fair.tolist()]
    for alike in np.flatnonzero(wins.min((1, 2)) == wins.max((1, 2))):
        told[alike] = spread_of(wins[alike], closed=closed).interval(SHARE)
    return told


def _ranks(longer: Tables) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The different lengths, and which of them is where. Whole numbers, as those of single answers are, need no sorting."""
    least, most = float(longer.min()), float(longer.max())
    if most - least < longer[0].size and (longer == np.rint(longer)).all():
        return np.arange(least, most + 1), (longer - least).astype(np.intp)
    values, place = np.unique(longer, return_inverse=True)
    return values, place.reshape(longer.shape)
