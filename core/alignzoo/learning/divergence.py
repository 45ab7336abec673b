"""How far a policy is from its reference, and how strongly it is held there: one set of estimators and controllers for all.

With samples from π and q = π_ref/π, all in nats and per token (Schulman 2020, http://joschu.net/blog/kl-approx.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt
from torch import Tensor

from alignzoo.learning.memory import State, track


def k1(logps: Tensor, reference: Tensor) -> Tensor:
    """−log q: unbiased, may be negative."""
    return logps - reference


def k2(logps: Tensor, reference: Tensor) -> Tensor:
    """(log q)²/2: biased, never negative; its gradient is that of the true divergence."""
    return 0.5 * (logps - reference) ** 2


def k3(logps: Tensor, reference: Tensor) -> Tensor:
    """q − 1 − log q: unbiased and never negative."""
    log_q = reference - logps
    return log_q.exp() - 1 - log_q


@dataclass(frozen=True)
class Leash:
    """The weight β of the divergence from the reference: fixed, or steered so that a reply's KL stays near a target."""

    coefficient: Annotated[float, Ge(0)] = 0.05
    """β at the start, and throughout if there is no target."""
    target: Annotated[float, Ge(0)] = 0.0
    """The KL per reply, in nats, that β is steered to; 0 leaves β alone."""
    horizon: Annotated[float, Gt(0)] = 10_000.0
    """Replies over which an error of 20 % changes β by 20 %."""

    def on(self) -> Coefficient:
        return Coefficient(self)


class Coefficient:
    """β while a run goes. The controller is Ziegler et al. 2019, section 2.2: log-space proportional, its error clipped."""

    def __init__(self, leash: Leash) -> None:
        self.leash, self.value = leash, leash.coefficient
        track(self)

    def steer(self, kl: float, replies: int) -> None:
        """Take note of the mean KL per reply over so many replies. More than the horizon count as the horizon: they would
        take β past zero."""
        if self.leash.target:
            error = min(0.2, max(-0.2, kl / self.leash.target - 1))
            self.value *= 1 + error * min(1.0, replies / self.leash.horizon)

    def state(self) -> State:
        return {"value": self.value}

    def restore(self, state: State) -> None:
        self.value = state["value"]
