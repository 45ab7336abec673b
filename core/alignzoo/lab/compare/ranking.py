"""One scale for all: Bradley–Terry strengths of how often each answers better than each other (Bradley & Terry 1952), with the
intervals of resampled seeds and prompts. A tie is half a win for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from alignzoo.lab.compare.duels import Entrant, shared_seeds, won
from alignzoo.lab.statistics import Estimate

Wins = NDArray[np.float64]
"""(…, contestants, contestants) How often the row won against the column."""

_RESAMPLES = 400
_PRIOR = 0.1
"""Virtual wins of each over each: an undefeated contestant has a finite strength."""


@dataclass(frozen=True)
class Rank:
    """A contestant's strength as a rating: 400 points are odds of ten to one, the mean of all is 1000."""

    name: str
    rating: Estimate


def ranking(entrants: Sequence[Entrant]) -> list[Rank]:
    """All contestants by strength; none where they have no seed in common, or are fewer than two."""
    if len(entrants) < 2 or not (seeds := shared_seeds(entrants)):
        return []
    pairs = list(combinations(range(len(entrants)), 2))
    tables = np.stack([won(entrants[a], entrants[b], seeds) for a, b in pairs])
    rates = np.stack([tables.mean((1, 2)), *_resampled(tables, all(one.closed for one in entrants))])
    wins = np.zeros((len(rates), len(entrants), len(entrants)))
    for place, (a, b) in enumerate(pairs):
        wins[:, a, b], wins[:, b, a] = rates[:, place], 1 - rates[:, place]
    ratings = 1000 + 400 / np.log(10) * strengths(wins * tables[0].size + _PRIOR)
    told = []
    for place, entrant in enumerate(entrants):
        low, high = np.quantile(ratings[1:, place], [0.025, 0.975]) if len(ratings) > 1 else (np.nan, np.nan)
        told.append(Rank(entrant.name, Estimate(float(ratings[0, place]), float(low), float(high))))
    return sorted(told, key=lambda rank: -rank.rating.mean)


def _resampled(tables: Wins, closed: bool) -> Wins:
    """(resamples, pairs) How often each won, with seeds and prompts drawn again with replacement; none from one seed. To draw
    is to weigh: by how often each seed and each prompt was drawn. Of a closed task's prompts each is there once."""
    _, seeds, prompts = tables.shape
    if seeds < 2:
        return np.zeros((0, len(tables)))
    dice = np.random.default_rng(0)
    of_seeds = dice.multinomial(seeds, np.full(seeds, 1 / seeds), _RESAMPLES) / seeds
    of_prompts = dice.multinomial(prompts, np.full(prompts, 1 / prompts), _RESAMPLES) / prompts
    if closed:
        of_prompts = np.full_like(of_prompts, 1 / prompts)
    drawn: Wins = np.einsum("rs,psr->rp", of_seeds, tables @ of_prompts.T)
    return drawn


def strengths(wins: Wins) -> Wins:
    """(…, contestants) θ with p(a beats b) = σ(θ_a − θ_b), mean 0, by minorisation–maximisation (Hunter 2004): each strength
    becomes its wins over the sum of its games, each divided by the two strengths' sum."""
    count = wins.shape[-1]
    apart = 1 - np.eye(count)
    wins = wins * apart
    games, scored = wins + np.swapaxes(wins, -1, -2), wins.sum(-1)
    strength = np.ones(wins.shape[:-1])
    for _ in range(1000):
        sums = strength[..., :, None] + strength[..., None, :]
        better = scored / (games / sums * apart).sum(-1)
        better = better / np.exp(np.log(better).mean(-1, keepdims=True))
        moved, strength = np.abs(np.log(better / strength)).max(), better
        if moved < 1e-8:
            break
    theta: Wins = np.log(strength)
    return theta
