"""How reward rises and falls with distance: the laws of Gao, Schulman and Hilton 2022, https://arxiv.org/abs/2210.10760.

With d = √KL(π ‖ π₀) and R the gold reward above that of the start,

    best-of-n    R(d) = d (α − β d)          peak at d* = α/2β,          R(d*) = α²/4β
    RL           R(d) = d (α − β log d)      peak at d* = exp(α/β − 1),  R(d*) = β d*

Both are linear in (α, β), so least squares has one answer. RL's law has an infinite slope at 0: small d is left out of its fit.

Left out: how α and β themselves go with the size of the reward model (their section 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float64]


class GaoError(ValueError):
    """Points that no law can be fitted to."""


@dataclass(frozen=True)
class Law:
    """R(d) = d (α − β bend(d))."""

    bend: Callable[[Row], Row]
    top: Callable[[float, float], float]
    """(α, β) → d*, where R is highest."""


def bending(d: Row) -> Row:
    return d


_FAR = 300.0
"""log d of a peak that is nowhere: with a β of nearly 0 it would be no number."""
LAWS: Mapping[str, Law] = {
    "best-of-n": Law(bending, lambda alpha, beta: alpha / (2 * beta)),
    "rl": Law(np.log, lambda alpha, beta: math.exp(min(alpha / beta - 1, _FAR))),
}


@dataclass(frozen=True)
class Peak:
    """Where more optimisation begins to do harm."""

    d: float
    kl: float
    reward: float
    """Above the start."""


@dataclass(frozen=True)
class Fit:
    """α and β of a law, with their standard errors, and the root mean square of what is left over."""

    law: str
    alpha: float
    beta: float
    alpha_error: float
    beta_error: float
    residual: float
    points: int

    def at(self, kl: float) -> float:
        """R: what the law says of the gold reward above the start, at a KL above 0."""
        d = distances([kl])
        return float((d * (self.alpha - self.beta * LAWS[self.law].bend(d)))[0]) if kl > 0 else 0.0

    @property
    def coefficients(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """α and β, each with its standard error."""
        return (self.alpha, self.alpha_error), (self.beta, self.beta_error)

    @property
    def peak(self) -> Peak:
        if self.beta <= 0:
            raise GaoError(f"with β = {self.beta:.3g} the fitted reward has no peak: it still rises where the points end")
        d = LAWS[self.law].top(self.alpha, self.beta)
        return Peak(d, d * d, self.at(d * d))

    def row(self) -> dict[str, Any]:
        return dict(vars(self))


def distances(kls: Sequence[float]) -> Row:
    """d = √KL."""
    found = np.asarray(kls, dtype=float)
    if not np.isfinite(found).all() or (found < 0).any():
        raise GaoError("a KL is a finite number, not below 0; an estimate below 0 needs more samples")
    return np.asarray(np.sqrt(found))


def fit(law: str, kls: Sequence[float], gold: Sequence[float], *, start: float, least_d: float = 0.0) -> Fit:
    """α and β by least squares. `gold` is the mean gold reward at each KL, `start` that of the start (at KL 0). Points with
    d ≤ `least_d` are left out; those at 0 always, for they hold nothing."""
    if law not in LAWS:
        raise GaoError(f"no law named '{law}'; there are {', '.join(LAWS)}")
    if len(kls) != len(gold):
        raise GaoError(f"{len(kls)} KLs cannot have {len(gold)} rewards")
    d, rewards = distances(kls), np.asarray(gold, dtype=float) - start
    if not np.isfinite(rewards).all():
        raise GaoError("a reward that is not a finite number cannot be fitted")
    far = d > least_d
    d, rewards = d[far], rewards[far]
    if len(np.unique(d)) < 3:
        raise GaoError(
            f"a fit needs three different KLs above {least_d**2:g}, to tell two coefficients and their errors; got "
            f"{len(np.unique(d))}"
        )
    design = np.stack([d, -d * LAWS[law].bend(d)], 1)
    (alpha, beta), *_ = np.linalg.lstsq(design, rewards, rcond=None)
    left = rewards - design @ np.array([alpha, beta])
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * float(left @ left) / (len(d) - 2))
    over = math.sqrt(float(np.mean(left**2)))
    return Fit(law, float(alpha), float(beta), float(errors[0]), float(errors[1]), over, len(d))
