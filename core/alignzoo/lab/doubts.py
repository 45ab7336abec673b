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
_LAST = 5


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


RULES: tuple[Rule, ...] = (displaced,)


def doubts(final: Mapping[str, float], updates: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Everything that any rule has to say of a training."""
    return tuple(said for rule in RULES if (said := rule(final, updates)))
