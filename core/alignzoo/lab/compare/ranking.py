"""One scale for all: Bradley–Terry strengths of how often each answers better than each other (Bradley & Terry 1952). A tie is
half a win for both.

With w_ij how often i won against j, and σ the logistic function, the strengths θ solve

    Σ_j (w_ij − σ(θ_i − θ_j)) = 0    for every i,        Σ_i θ_i = 0

so what one seed and one prompt do to θ is, to first order, H⁺ Σ_j (their w_ij − σ(θ_i − θ_j)), where H is the Laplacian of the
weights σ(1 − σ). A rating's error is that of the mean of these influences, over seeds and prompts as every other figure's: a
bootstrap of five seeds covers from 81 to 99 % (`docs/decisions/0015-intervals.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alignzoo.lab.compare.duels import Entrant, shared_seeds, won
from alignzoo.lab.compare.significance import Tables, spread_of
from alignzoo.lab.statistics import Estimate

Row = NDArray[np.float64]
"""(contestants)"""
Wins = NDArray[np.float64]
"""(contestants, contestants) How often the row won against the column."""
Points = NDArray[np.float64]
"""(contestants, seeds, prompts) How many of the others each won against, for every seed and prompt."""

_PRIOR = 0.1
"""Virtual wins of each over each: an undefeated contestant has a finite strength."""
_POINTS = 400 / np.log(10)
"""Rating points to a nat of odds."""


@dataclass(frozen=True)
class Rank:
    """A contestant's strength as a rating: 400 points are odds of ten to one, the mean of all is 1000. Who has always won, or
    never, has no interval: nothing says how far above, or below, the others he is."""

    name: str
    rating: Estimate


def ranking(entrants: Sequence[Entrant]) -> list[Rank]:
    """All contestants by strength; none where they have no seed in common, or are fewer than two."""
    if len(entrants) < 2 or not (seeds := shared_seeds(entrants)):
        return []
    places = range(len(entrants) - 1)
    tables = ((a, range(a + 1, len(entrants)), won(entrants[a], entrants[a + 1 :], seeds)) for a in places)
    shape = len(seeds), len(entrants[0].runs[0].prompts)
    return ranked([one.name for one in entrants], tables, shape, closed=all(one.closed for one in entrants))


def ranked(
    names: Sequence[str], tables: Iterable[tuple[int, Sequence[int], Tables]], shape: tuple[int, int], *, closed: bool
) -> list[Rank]:
    """The same of how often one won against several others, for every seed and prompt; who they are by their places."""
    count = len(names)
    rates, points = np.full((count, count), 0.5), np.zeros((count, *shape))
    for a, others, wins in tables:
        there = list(others)
        rates[a, there] = wins.mean((1, 2))
        rates[there, a] = 1 - rates[a, there]
        points[a] += wins.sum(0)
        points[there] += 1 - wins
    theta = strengths(rates * points[0].size + _PRIOR)
    moved = influences(points, theta)
    told = []
    for place, name in enumerate(names):
        rating, around = 1000 + _POINTS * float(theta[place]), spread_of(_POINTS * moved[place], closed=closed).interval()
        ends = (rating + around.low - around.mean, rating + around.high - around.mean)
        if all(rate in (0, 1) for rate in np.delete(rates[place], place)):
            ends = (np.nan, np.nan)
        told.append(Rank(name, Estimate(*map(float, (rating, *ends)))))
    return sorted(told, key=lambda rank: -rank.rating.mean)


def influences(points: Points, theta: Row) -> Points:
    """By how much each seed and prompt, each for itself, would move each strength."""
    apart = 1 - np.eye(len(theta))
    expected = apart / (1 + np.exp(theta[None] - theta[:, None]))
    weights = expected * expected.T
    bend = np.diag(weights.sum(1)) - weights
    moved: Points = np.tensordot(np.linalg.pinv(bend, hermitian=True), points - expected.sum(1)[:, None, None], 1)
    return moved


def strengths(wins: Wins) -> Row:
    """θ with p(a beats b) = σ(θ_a − θ_b), mean 0, by minorisation–maximisation (Hunter 2004): each strength becomes its wins
    over the sum of its games, each divided by the two strengths' sum."""
    apart = 1 - np.eye(len(wins))
    wins = wins * apart
    games, scored = wins + wins.T, wins.sum(1)
    strength = np.ones(len(wins))
    for _ in range(1000):
        better = scored / (games / (strength[:, None] + strength[None]) * apart).sum(1)
        better = better / np.exp(np.log(better).mean())
        moved, strength = np.abs(np.log(better / strength)).max(), better
        if moved < 1e-8:
            break
    theta: Row = np.log(strength)
    return theta
