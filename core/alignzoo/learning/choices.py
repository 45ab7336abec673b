"""What may be chosen of a training in a run file: what it may spend, how it is watched, what feedback it bears, and how each of
several rewards counts. Light: a run file is read, and refused, without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Le

from alignzoo.limits import check_settings

if TYPE_CHECKING:
    from alignzoo.learning.ledger import Ledger

Limit = Annotated[float, Gt(0)] | None
Combine = Literal["sum", "mean", "worst", "uncertain"]


@dataclass(frozen=True)
class Budget:
    """What a training may spend. It stops after the update in which any of these is reached; empty is unlimited. Updates and
    labels are kept to exactly; of the others the last update may take more than was left."""

    updates: Limit = None
    labels: Limit = None
    """Distinct records dealt to the optimizer. Exactly as many as there are stop nothing: later epochs ask nobody."""
    tokens: Limit = None
    """Read and written together."""
    flops: Limit = None
    seconds: Limit = None
    rewards: bool = False
    """Whether it is also what the run's own rewards are trained from: they take first, the optimizer has what they leave.
    Updates are not shared, since those of a reward model are of another kind."""

    def __post_init__(self) -> None:
        spent: dict[str, Any] = {n: None for n, most in self.limits().items() if type(most) in (int, float) and most == 0}
        if spent:  # nought is what `after` leaves, and stops at once; no run file can ask for it
            replace(self, **spent)  # what else there is must be a limit all the same
        else:
            check_settings(self)
        for name in ("updates", "labels"):
            if (most := getattr(self, name)) is not None and most % 1:
                raise ValueError(f"{name} are counted: write a whole number; got {most:g}")

    def reached(self, ledger: Ledger) -> str:
        """Which limit is reached, in words; empty while none is."""
        for name, most in self.limits().items():
            if getattr(ledger, name) >= most and not (name == "labels" and ledger.labels == most and ledger.paid):
                return f"{name} {getattr(ledger, name):,.6g} of {most:,.6g}"
        return ""

    def limits(self) -> dict[str, float]:
        """Those that are set."""
        named = {name: getattr(self, name) for name in ("updates", "labels", "tokens", "flops", "seconds")}
        return {name: most for name, most in named.items() if most is not None}

    def after(self, ledgers: Sequence[Ledger]) -> Budget:
        """What these trainings leave of it; 0 where they took all."""
        spent = {name: sum(getattr(ledger, name) for ledger in ledgers) for name in self.limits() if name != "updates"}
        return replace(self, **{name: max(0.0, getattr(self, name) - took) for name, took in spent.items()})


@dataclass(frozen=True)
class Watch:
    """What the canaries look at while a run goes, and what they bear. The invariants themselves cannot be switched off."""

    every: Annotated[int, Ge(0)] = 25
    """Updates between two looks at samples of the policy (its KL from the start is measured then); 0 looks only at the end."""
    prompts: Annotated[int, Ge(1)] = 16
    """How many prompts are answered for each look."""
    tokens: Annotated[int, Ge(1)] = 32
    """How long those answers may be."""
    pairs: Annotated[int, Ge(0)] = 32
    """Of how many of the comparisons learned from it is asked whether the chosen answer has become less likely."""
    kl_limit: Annotated[float, Gt(0), Le(math.inf)] = 60.0
    """Nats per reply from the start, by samples, above which a run is stopped as exploded; inf never stops it."""
    own_answers: bool = True
    """Stop where answers that are sampled and learned from in one training are not the policy's own, or are learned from at
    another temperature. False is for algorithms that mean another's."""

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Limits:
    """How much of the feedback may be unusable before a run refuses."""

    dropped: Annotated[float, Interval(ge=0, le=1)] = 0.2
    """Share of all rows that may be left out."""
    contradictory: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Share of the comparisons that may be contradicted by another one. (Annotators do disagree.)"""

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Voice:
    """How one of several rewards counts."""

    name: str = ""
    """What it is called in the figures of a run; its component's name if empty."""
    weight: float = 1.0
    """What its scores are multiplied by; 0 only watches."""
    clip: Annotated[float, Gt(0)] | None = None
    """Scores beyond this are cut, before they are weighted."""
    at_most: float | None = None
    """A cost instead of a reward: its mean is held at or below this by a multiplier that grows while it is above."""
    step: Annotated[float, Gt(0)] = 0.1
    """How fast the multiplier of a cost moves: per unit of excess, once an update."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.at_most is not None and self.weight != 1.0:
            raise ValueError("a cost (at_most) is weighted by its multiplier; leave its weight at 1")

    @property
    def counts(self) -> bool:
        """Whether it is one of those that are joined."""
        return self.at_most is None and self.weight != 0
