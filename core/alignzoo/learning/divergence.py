"""How far a policy is from its reference, and how strongly it is held there: one set of estimators and controllers for all.

With samples from π and q = π_ref/π, all in nats and per token (Schulman 2020, http://joschu.net/blog/kl-approx.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt
from torch import Tensor

from alignzoo.interfaces import Metrics, Share
from alignzoo.learning.memory import State, track
from alignzoo.limits import check_settings


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
    approach: Share = 0.0
    """Share of the training over which the target rises to its value from nought. With none β falls for as long as the policy
    is on its way, and then lets it shoot past."""

    def __post_init__(self) -> None:
        check_settings(self)

    def on(self, updates: int = 0) -> Coefficient:
        """β for a training of so many updates, which `approach` is a share of."""
        return Coefficient(self, updates)


class Coefficient:
    """β while a run goes. The controller is Ziegler et al. 2019, section 2.2: log-space proportional, its error clipped."""

    def __init__(self, leash: Leash, updates: int = 0) -> None:
        self.leash, self.value, self.updates = leash, leash.coefficient, 0
        self.rising = leash.approach * updates
        track(self)

    @property
    def aim(self) -> float:
        """The KL that the last update was steered to."""
        return self.leash.target * (min(1.0, self.updates / self.rising) if self.rising else 1.0)

    def steer(self, kl: float, replies: int) -> None:
        """Take note of the mean KL per reply over so many replies. More than the horizon count as the horizon: they would
        take β past zero."""
        if self.leash.target:
            self.updates += 1
            error = min(0.2, max(-0.2, kl / self.aim - 1))
            self.value *= 1 + error * min(1.0, replies / self.leash.horizon)

    def told(self, kl: float) -> Metrics:
        """How far the replies that were steered by are, of what they were steered to; nothing without a target."""
        return {"kl_over_target": kl / self.aim} if self.leash.target else {}

    def state(self) -> State:
        return {"value": self.value, "updates": self.updates}

    def restore(self, state: State) -> None:
        self.value, self.updates = state["value"], state["updates"]
