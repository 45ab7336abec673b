"""How far annotators agree, by pure functions on counts: `counts[i, c]` annotators put item i into category c.

A judgement that was not given is nowhere in the counts, and so never a category. What has no answer, as kappa has none where
nobody ever says anything else, is None: 0/0 is neither perfect agreement nor none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from alignzoo.lab.statistics import Estimate

Numbers = NDArray[np.float64]
Level = Literal["nominal", "ordinal", "interval", "ratio"]


def pairwise(counts: Numbers, alike: Numbers | None = None) -> Numbers:
    """For each item that two or more judged, the share of pairs of annotators that say the same (Fleiss 1971): of m people,
    n_c of whom said c, Σ n_c (n_c − 1) of the m (m − 1). `alike[c, d]` makes saying c and d so far the same."""
    kept = counts[counts.sum(1) > 1]
    judged = kept.sum(1)
    same = np.square(kept).sum(1) if alike is None else ((kept @ alike) * kept).sum(1)
    return np.asarray((same - judged) / (judged * (judged - 1)))


def agreement(counts: Numbers, alike: Numbers | None = None) -> float | None:
    """The mean of that over items; None where no two judged the same one."""
    shares = pairwise(counts, alike)
    return float(shares.mean()) if len(shares) else None


def cohen_kappa(both: Numbers) -> float | None:
    """Of two annotators: `both[c, d]` items that one put into c and the other into d (Cohen 1960). Chance is by the
    categories that each of them uses."""
    if both.sum() == 0:
        return None
    shares = both / both.sum()
    return _beyond_chance(float(np.trace(shares)), float(shares.sum(1) @ shares.sum(0)))


def fleiss_kappa(counts: Numbers) -> float | None:
    """Of any annotators (Fleiss 1971), with chance by the categories that all of them use. Where items are judged by
    different numbers of people, each item has the same say in those; one that a single person judged shows no agreement, and
    yet what people use (Gwet 2014)."""
    agreed = agreement(counts)
    if agreed is None:
        return None
    judged = counts[counts.sum(1) > 0]
    usual = (judged / judged.sum(1, keepdims=True)).mean(0)
    return _beyond_chance(agreed, float(usual @ usual))


def krippendorff_alpha(counts: Numbers, values: Sequence[float], level: Level = "nominal") -> float | None:
    """1 − observed / expected disagreement (Krippendorff 2011), for categories that are mere names, an order, or numbers. An
    item that one person judged tells nothing and is left out."""
    kept = counts[counts.sum(1) > 1]
    together = (kept / (kept.sum(1, keepdims=True) - 1)).T @ kept  # where m judged, each pair weighs 1/(m − 1)
    together -= np.diag((kept / (kept.sum(1, keepdims=True) - 1)).sum(0))  # nobody is paired with himself
    totals = together.sum(1)
    far = distances(totals, np.asarray(values, float), level)
    expected = float(totals @ far @ totals)
    if expected <= 0:
        return None
    return 1 - (float(totals.sum()) - 1) * float((together * far).sum()) / expected


def distances(totals: Numbers, values: Numbers, level: Level) -> Numbers:
    """δ² of each pair of categories. Between ranks lie the judgements in between, those at both ends by half."""
    low, high = np.minimum.outer(values, values), np.maximum.outer(values, values)
    match level:
        case "nominal":
            return np.asarray(low != high, float)
        case "ordinal":
            middle = np.cumsum(totals) - totals / 2
            return np.asarray(np.square(np.subtract.outer(middle, middle)))
        case "interval":
            return np.asarray(np.square(high - low))
        case "ratio":
            return np.asarray(np.square(np.divide(high - low, high + low, out=np.zeros_like(low), where=high + low != 0)))


def _beyond_chance(seen: float, chance: float) -> float | None:
    return (seen - chance) / (1 - chance) if chance < 1 - 1e-12 else None


# Intervals ------------------------------------------------------------------------------------------------------------


def resampled(
    statistic: Callable[[Numbers], float | None], counts: Numbers, clusters: NDArray[np.intp], resamples: int, seed: int = 0
) -> Estimate | None:
    """A figure of the counts with its 95 % percentile interval: items of one cluster (one prompt) are drawn together. Draws
    in which the figure has no answer are left out."""
    whole = statistic(counts)
    if whole is None:
        return None
    size, dice = int(clusters.max()) + 1, np.random.default_rng(seed)
    drawn: list[Any] = []
    for _ in range(resamples):
        times = np.bincount(dice.integers(size, size=size), minlength=size)
        drawn.append(statistic(np.repeat(counts, times[clusters], axis=0)))
    kept = [value for value in drawn if value is not None]
    low, high = np.quantile(kept, [0.025, 0.975]) if kept else (whole, whole)
    return Estimate(whole, float(low), float(high))
