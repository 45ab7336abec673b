"""Who wins by the word of an umpire that is shown two answers at a time.

With p₁ the probability that it finds one's answer the better of two when that is shown first, and p₂ when it is shown second,
the one wins (p₁ + p₂) / 2: what the umpire owes to the place is in both with opposite signs, and cancels. How much that is, is
told beside it: in how many pairs the same answer wins in both orders, and in how many the same place does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alignzoo.lab.compare.duels import Duel, Met, fought, judged, unfought
from alignzoo.lab.compare.ranking import Rank, ranked
from alignzoo.lab.compare.significance import SHARE, Bounds, Table, spread_of
from alignzoo.lab.statistics import Estimate


@dataclass(frozen=True)
class Bout:
    """Two contestants at every seed and prompt that both have, as the umpire saw them."""

    first: str
    second: str
    seeds: tuple[int, ...]
    ahead: Table
    """The probability that the first one's answer is the better one, when it is shown first; nan if that cannot be read."""
    behind: Table
    """The same when it is shown second."""
    longer: Table
    """By how many words the first one's answer is longer."""
    alike: Table
    """1 where both say the same: a tie, and nobody is asked."""

    @property
    def wins(self) -> Table:
        """Position cancelled. What cannot be read says one half."""
        both = np.stack([self.ahead, self.behind])
        wins: Table = np.where(self.alike > 0, 0.5, np.where(np.isnan(both), 0.5, both).mean(0))
        return wins

    def led(self) -> Bout:
        """The same, told from the side of whoever wins more."""
        if not self.seeds or self.wins.mean() >= 0.5:
            return self
        return Bout(self.second, self.first, self.seeds, 1 - self.behind, 1 - self.ahead, -self.longer, self.alike)


@dataclass(frozen=True)
class Orders:
    """How far the umpire's word depends on the order, over the pairs that it was asked about. Ties, where one order finds both
    equally good, are neither consistent nor biased."""

    consistent: Estimate
    """The same answer wins in both orders."""
    biased: Estimate
    """The same place wins in both orders."""
    lean: Estimate
    """How much likelier the first place is to win than the second, from -1 to 1."""
    unread: Estimate
    """Verdicts that cannot be read, and count as one half."""


@dataclass(frozen=True)
class Heard:
    """A duel as the umpire decides it (its difference is the win rate less one half), and how steady it was there."""

    duel: Duel
    orders: Orders


def heard(bouts: Sequence[Bout], *, closed: bool) -> tuple[tuple[Heard, ...], tuple[Rank, ...]]:
    """Every pair with its verdict, held to one family, whoever wins more first; and all of them on one scale."""
    bouts = [bout.led() for bout in bouts]
    duels = judged([_fought(bout, closed) for bout in bouts])
    pairs = tuple(Heard(duel, orders((bout,), closed=closed)) for duel, bout in zip(duels, bouts, strict=True))
    return pairs, tuple(_ranks(bouts, closed))


def _fought(bout: Bout, closed: bool) -> Met:
    if not bout.seeds:
        return unfought(bout.first, bout.second), None
    wins = bout.wins[None]
    return fought([(bout.first, bout.second)], wins - 0.5, wins, bout.longer[None], closed=closed)[0]


def _ranks(bouts: Sequence[Bout], closed: bool) -> list[Rank]:
    """By the seeds that everybody has, as scores are ranked."""
    names = list(dict.fromkeys(name for bout in bouts for name in (bout.first, bout.second)))
    seeds = set.intersection(*(set(bout.seeds) for bout in bouts))
    if not seeds:
        return []
    shared = sorted(seeds)
    tables = (
        (names.index(bout.first), [names.index(bout.second)], bout.wins[None, [bout.seeds.index(seed) for seed in shared]])
        for bout in bouts
    )
    return ranked(names, tables, (len(shared), bouts[0].alike.shape[1]), closed=closed)


# What the order does ------------------------------------------------------------------------------------------------------


def orders(bouts: Sequence[Bout], *, closed: bool) -> Orders:
    """All pairs together: each seed and prompt counts by how many pairs were asked there."""
    asked = [1.0 - bout.alike for bout in bouts]
    ahead, behind = [_lean(bout.ahead) for bout in bouts], [_lean(bout.behind) for bout in bouts]
    agreed = [np.sign(a * b) for a, b in zip(ahead, behind, strict=True)]
    unread: list[Table] = [np.stack([np.isnan(bout.ahead), np.isnan(bout.behind)]).mean(0) for bout in bouts]

    def share(figures: Sequence[Table], within: Bounds = SHARE) -> Estimate:
        return over(bouts, [figure * told for figure, told in zip(figures, asked, strict=True)], asked, within, closed)

    return Orders(
        consistent=share([sign.clip(0, 1) for sign in agreed]),
        biased=share([(-sign).clip(0, 1) for sign in agreed]),
        lean=share([a - b for a, b in zip(ahead, behind, strict=True)], (-1.0, 1.0)),
        unread=share(unread),
    )


def _lean(said: Table) -> Table:
    """How far above one half."""
    above: Table = np.where(np.isnan(said), 0.0, said - 0.5)
    return above


def same(bouts: Sequence[Bout], *, closed: bool) -> Estimate:
    """How often two answers were the same."""
    return over(bouts, [bout.alike for bout in bouts], [np.ones_like(bout.alike) for bout in bouts], SHARE, closed)


def over(bouts: Sequence[Bout], figures: Sequence[Table], weights: Sequence[Table], within: Bounds, closed: bool) -> Estimate:
    """A ratio of two sums over pairs, Σ figure / Σ weight. Seeds and prompts are what chance drew, so its error is that of the
    mean of what each of them does to it, (its figures − ratio · its weights) / mean weight."""
    seeds = sorted({seed for bout in bouts for seed in bout.seeds})
    whole, weight = (np.zeros((len(seeds), bouts[0].alike.shape[1])) for _ in range(2))
    for bout, figure, told in zip(bouts, figures, weights, strict=True):
        rows = [seeds.index(seed) for seed in bout.seeds]
        whole[rows] += figure
        weight[rows] += told
    if not weight.any():
        return Estimate(math.nan, math.nan, math.nan)
    ratio = float(whole.sum() / weight.sum())
    return spread_of(ratio + (whole - ratio * weight) / weight.mean(), closed=closed).interval(within)
