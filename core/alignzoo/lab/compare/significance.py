"""Intervals and tests over seeds and prompts.

A figure is known for every seed and every prompt: y[s, p]. All seeds answer the same prompts, so there are three sources of
chance: which seeds were drawn, which prompts, and what is left over. Another bench would draw all three anew, and

    Var(mean) = Var(seed means) / S  +  max(0, MS_prompts − MS_rest) / (S P)

where the variance of seed means already holds the rest (Searle, Casella & McCulloch 1992, "Variance Components", ch. 4). The
quantile is Student's, with the degrees of freedom of Satterthwaite (1946). With five seeds a percentile bootstrap covers from
84 to 99.8 % where 95 % are promised, this form 93.8 to 95.9 % (`docs/decisions/0015-intervals.md`).

A figure that lies between two numbers has an interval that does, too: Wilson's (1927), for as many trials as would make a share
as uncertain as the figure is. Where a task's prompts are all that there are, they are not drawn, and only seeds vary.

Two contestants are compared by their differences at the same seed and the same prompt, so what is common to both cancels.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

from alignzoo.lab.statistics import Estimate, wilson_at

Table = NDArray[np.float64]
"""(seeds, prompts)"""
Tables = NDArray[np.float64]
"""(pairs, seeds, prompts)"""

Bounds = tuple[float, float]
"""What a figure can lie between."""
ANYWHERE: Bounds = (-math.inf, math.inf)
SHARE: Bounds = (0.0, 1.0)
COST: Bounds = (0.0, math.inf)

ENOUGH = 5
"""Fewer seeds than this never separate two contestants."""
LEVEL = 0.05
_COUNTS = (*range(ENOUGH, 100), *range(100, 1001, 20))
"""Numbers of seeds that are tried; more than the last is told as "no number of seeds"."""


@dataclass(frozen=True)
class Spread:
    """Where the chance in a mean comes from."""

    mean: float
    seeds: int
    prompts: int
    between_seeds: float
    """Variance of the seeds' means, what is left over in it."""
    between_prompts: float
    """Variance that prompts add to one seed's mean answer, the rest taken out."""
    prompts_square: float
    rest_square: float

    @property
    def error(self) -> float:
        """Standard error of the mean, for other seeds and other prompts."""
        return math.sqrt(self.between_seeds / self.seeds + self.between_prompts / self.prompts)

    @property
    def freedom(self) -> float:
        """Degrees of freedom: those of a sum of mean squares, each with its own. One at least, as two seeds have: what is taken
        out of another may leave a sum with less than any of its parts."""
        whole = self.between_seeds / self.seeds + self.between_prompts / self.prompts
        cells = self.seeds * self.prompts
        of_seeds = (self.between_seeds / self.seeds) ** 2 / (self.seeds - 1)
        of_prompts = (self.prompts_square / cells) ** 2 / (self.prompts - 1) if self.between_prompts else 0.0
        of_rest = (self.rest_square / cells) ** 2 / ((self.seeds - 1) * (self.prompts - 1)) if self.between_prompts else 0.0
        down = of_seeds + of_prompts + of_rest
        return max(1.0, whole**2 / down) if down else math.inf

    def interval(self, within: Bounds = ANYWHERE) -> Estimate:
        """The mean with its 95 % interval, which stays within what the figure can be; without one where a single seed, or a
        single prompt, leaves nothing to go by."""
        if self.seeds < 2 or self.prompts < 2:
            return Estimate(self.mean, math.nan, math.nan)
        quantile, (least, most) = _student(self.freedom), within
        if math.isfinite(most - least):
            return self._between(least, most, quantile)
        half = quantile * self.error
        return Estimate(self.mean, max(least, self.mean - half), min(most, self.mean + half))

    def _between(self, least: float, most: float, quantile: float) -> Estimate:
        """Wilson's interval. Where nothing varies, every prompt counts as one trial: all is well so far."""
        room = most - least
        share, error = min(1.0, max(0.0, (self.mean - least) / room)), self.error / room
        trials = share * (1 - share) / error**2 if error else self.prompts if share in (0, 1) else math.inf
        found = wilson_at(share, trials, quantile)
        return Estimate(self.mean, least + room * found.low, least + room * found.high)

    def chance(self) -> float:
        """p: how often a mean this far from 0, or farther, comes of chance alone."""
        if self.seeds < 2 or self.prompts < 2:
            return 1.0
        if self.error == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * stdtr(self.freedom, -abs(self.mean) / self.error))


def spread_of(table: Table, *, closed: bool = False) -> Spread:
    """The mean of a table and the parts of its variance. In a `closed` task prompts add none: there are no others."""
    return spreads_of(table[None], closed=closed)[0]


def spreads_of(tables: Tables, *, closed: bool = False) -> list[Spread]:
    """The same of many tables at once: among many contestants everybody meets everybody."""
    _, seeds, prompts = tables.shape
    by_seed, by_prompt, means = tables.mean(2), tables.mean(1), tables.mean((1, 2))
    if seeds < 2 or prompts < 2:
        return [Spread(float(mean), seeds, prompts, 0.0, 0.0, 0.0, 0.0) for mean in means]
    rest = tables - by_seed[:, :, None] - by_prompt[:, None] + means[:, None, None]
    rest_squares = (rest**2).sum((1, 2)) / ((seeds - 1) * (prompts - 1))
    prompts_squares = seeds * by_prompt.var(1, ddof=1)
    between_prompts = np.zeros_like(means) if closed else np.maximum(0.0, prompts_squares - rest_squares) / seeds
    parts = np.stack([by_seed.var(1, ddof=1), between_prompts, prompts_squares, rest_squares], 1)
    return [Spread(mean, seeds, prompts, *own) for mean, own in zip(means.tolist(), parts.tolist(), strict=True)]


def spread_of_some(table: Table) -> Spread:
    """The same where each seed has some of the prompts, and nan in the place of the others: the mean of the seeds' means m[s].

    What prompts add is seen where two seeds share them. With a cell's part in the mean, e[s, p] = (y[s, p] − m[s]) / (S n[s]),

        Var(mean) = Var(m) / S  +  max(0, S / (S − 1) Σ_p Σ_{s ≠ t} e[s, p] e[t, p])

    which, where all seeds have all prompts, is the form above but for (P − 1) / P; where they share none, its first term."""
    table = table[~np.isnan(table).all(1)]
    there = ~np.isnan(table)
    seeds, prompts = len(table), int(there.any(0).sum())
    by_seed = np.nanmean(table, 1)
    mean = float(by_seed.mean())
    if seeds < 2 or prompts < 2:
        return Spread(mean, seeds, prompts, 0.0, 0.0, 0.0, 0.0)
    parts = np.where(there, table - by_seed[:, None], 0.0) / (seeds * there.sum(1, keepdims=True))
    together = float((parts.sum(0) ** 2 - (parts**2).sum(0)).sum())
    between_prompts = prompts * max(0.0, seeds / (seeds - 1) * together)
    return Spread(mean, seeds, prompts, float(by_seed.var(ddof=1)), between_prompts, seeds * between_prompts, 0.0)


def over_seeds(figures: Sequence[float], within: Bounds) -> Estimate:
    """The mean of what is known once for each seed, with Student's interval, cut off where the figure cannot be."""
    mean, count = float(np.mean(figures)), len(figures)
    if count < 2:
        return Estimate(mean, math.nan, math.nan)
    half = _student(count - 1) * float(np.std(figures, ddof=1)) / math.sqrt(count)
    return Estimate(mean, max(within[0], mean - half), min(within[1], mean + half))


def holm(chances: Sequence[float]) -> list[float]:
    """p-values, raised so that among all of them one false claim is made at most in 5 % of benches (Holm 1979)."""
    order = sorted(range(len(chances)), key=chances.__getitem__)
    raised, most = [0.0] * len(chances), 0.0
    for rank, place in enumerate(order):
        most = max(most, min(1.0, chances[place] * (len(chances) - rank)))
        raised[place] = most
    return raised


def seeds_to_separate(spread: Spread, level: float) -> int | None:
    """With how many seeds in all a difference of this size would be told from chance at this level, if seeds and prompts go on
    varying as they did; None where more seeds do not help, because it is the prompts that are too few."""
    if spread.mean == 0 or spread.seeds < 2 or spread.prompts < 2:
        return None
    of_prompts, a_seed = spread.between_prompts / spread.prompts, max(spread.freedom, 1.0) / (spread.seeds - 1)

    def told(count: int) -> bool:
        error = math.sqrt(spread.between_seeds / count + of_prompts)
        return bool(abs(spread.mean) >= stdtrit(a_seed * (count - 1), 1 - level / 2) * error)

    counts = [count for count in _COUNTS if count > spread.seeds]
    place = bisect_left(counts, True, key=told)  # more seeds tell more, so once told is always told
    return counts[place] if place < len(counts) else None


def _student(freedom: float) -> float:
    """The 97.5 % point of Student's distribution."""
    return float(stdtrit(freedom, 1 - LEVEL / 2)) if math.isfinite(freedom) else float(ndtri(1 - LEVEL / 2))
