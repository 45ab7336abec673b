"""Means with intervals. The unit is the prompt: answers to the same prompt are resampled together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 4000
_Z = 1.959963984540054
"""The 97.5 % point of a standard normal."""

FEW_PROMPTS = 30
"""With fewer, a reader is told."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def row(self) -> dict[str, float]:
        return {"mean": self.mean, "low": self.low, "high": self.high}


def bootstrap(groups: Mapping[str, Sequence[float]], seed: int = 0) -> Estimate:
    """The mean over prompts of each prompt's mean, with the percentile interval of resampled prompts."""
    if not groups:
        raise ValueError("an estimate needs at least one prompt")
    means = np.array([np.mean(values) for values in groups.values()])
    picks = np.random.default_rng(seed).integers(len(means), size=(_RESAMPLES, len(means)))
    low, high = np.quantile(means[picks].mean(1), [0.025, 0.975])
    return Estimate(float(means.mean()), float(low), float(high))


def share(groups: Mapping[str, Sequence[float]]) -> Estimate:
    """The same of what lies between 0 and 1. Where all prompts are alike, and resampling them tells nothing, the interval is
    Wilson's over prompts."""
    drawn = bootstrap(groups)
    return wilson_at(drawn.mean, len(groups), _Z) if drawn.low == drawn.high else drawn


def wins(ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """For each prompt, whether our k-th answer scores above their k-th: 1, or ½ for a tie."""
    return {prompt: [(a > b) + 0.5 * (a == b) for a, b in zip(ours[prompt], theirs[prompt], strict=True)] for prompt in ours}


def gains(ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """For each prompt, how much higher our k-th answer scores than their k-th."""
    return {prompt: [a - b for a, b in zip(ours[prompt], theirs[prompt], strict=True)] for prompt in ours}


def wilson(hits: float, count: float) -> Estimate | None:
    """A share with its 95 % interval (Wilson 1927), which stays within 0 and 1 and has a width at both ends. For trials that
    have nothing to do with one another."""
    if count == 0:
        return None
    return wilson_at(hits / count, count, _Z)


def wilson_at(share: float, trials: float, quantile: float) -> Estimate:
    """The same for a share that is as uncertain as one of so many trials."""
    z = quantile * quantile / trials
    centre = (share + z / 2) / (1 + z)
    half = quantile / (1 + z) * math.sqrt(share * (1 - share) / trials + z / (4 * trials))
    return Estimate(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def ceiling_of_agreement(agreed: float) -> float:
    """How often a perfect judge agrees with one label, where two annotators agree on a share A of pairs that both chose
    between: (1 + √(2A−1))/2, and one half where they agree no more often than by chance. It supposes one truth, and labels
    that are flipped independently with the same chance e: A = (1−e)² + e², and the judge is right with 1 − e."""
    return (1 + math.sqrt(max(0.0, 2 * agreed - 1))) / 2
