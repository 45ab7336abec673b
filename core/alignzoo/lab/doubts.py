"""What a reader should be warned of in a training that went through: rules over its numbers, whatever the optimizer was.

A rule reads the canaries' last look and the rows of all updates, and says what is doubtful and what to do, or nothing. What can
be known to be wrong is no doubt but a canary, and stops the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

Rule = Callable[[Mapping[str, float], Sequence[Mapping[str, Any]]], str]

DISPLACED = 1.0
"""Nats that a chosen answer may lose on average before it is said: to e⁻¹, a little over a third of its probability."""
BAND = (0.75, 1.25)
"""What a divergence may be of its target, over the last quarter of a training."""
_LAST = 5
_STEERED = 20
"""Updates from which on it is told whether a target was held."""


def displaced(final: Mapping[str, float], updates: Sequence[Mapping[str, Any]]) -> str:
    """Likelihood displacement: a preference was learned by making both sides less likely. The last look knows (`chosen`), or
    else what the optimizer told of its last batches (`displacement`)."""
    told = [row["displacement"] for row in updates[-_LAST:] if "displacement" in row]
    gained = final["chosen"] if "chosen" in final else fmean(told) if told else 0.0
    if gained >= -DISPLACED:
        return ""
    beside = f" (rejected ones by {-final['rejected']:.1f})" if final.get("rejected", 0.0) < 0 else ""
    return (
        f"chosen replies became less likely by {-gained:.1f} nats{beside}: probability has gone to replies that nobody "
        "compared, and accuracy does not show it. Look at the answers; train less (budget.updates, epochs, a smaller lr), "
        "hold the policy closer to its start, or give the likelihood of chosen replies more weight"
    )


def astray(final: Mapping[str, float], updates: Sequence[Mapping[str, Any]]) -> str:
    """A divergence that was steered to a target (`kl_over_target`) and ends elsewhere: on average over the last quarter, for a
    round's own is the mean of a few dozen answers. A training too short to be steered anywhere is left alone."""
    told = [row["kl_over_target"] for row in updates if "kl_over_target" in row]
    last = told[-(len(told) // 4) :]
    if len(told) < _STEERED or BAND[0] <= (ends := fmean(last)) <= BAND[1]:
        return ""
    held = f"{BAND[0]:g} to {BAND[1]:g} times what it was steered to"
    said = f"the KL of the last {len(last)} updates was not held within {held}: it was {ends:.2f} times that"
    if ends > BAND[1]:
        return said + (
            ". The leash came too late: begin with a larger leash.coefficient (where β ended), steer faster (a smaller "
            "leash.horizon), let the target rise for longer (leash.approach), or train slower"
        )
    return said + (
        ". The policy did not go so far, or had no time to: begin with a smaller leash.coefficient (where β ended), or train "
        "for longer"
    )


RULES: tuple[Rule, ...] = (displaced, astray)


def doubts(final: Mapping[str, float], updates: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Everything that any rule has to say of a training."""
    return tuple(said for rule in RULES if (said := rule(final, updates)))
