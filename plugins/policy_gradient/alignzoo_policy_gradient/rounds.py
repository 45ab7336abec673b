"""What the critic-free algorithms do alike: pass over a round's experience in minibatches, and measure how far the policy has
moved from the one that answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import fmean

import torch
from torch import Tensor

from alignzoo.interfaces import Metrics
from alignzoo.learning.descent import Loss, Step
from alignzoo.learning.divergence import k3
from alignzoo.learning.memory import Dice
from alignzoo.model.forest import Forest


def minibatches(experience: Forest, count: int, dice: Dice) -> Iterator[Forest]:
    """The experience in `count` parts of nearly as many prompts each, shuffled anew. A prompt keeps all its answers, and the
    notes that were made over the whole round go with them."""
    order = dice.order(len(experience))
    for first in range(min(count, len(order))):
        yield experience.select(order[first::count])


def learn(descend: Step, loss_of: Callable[[Forest], Loss], experience: Forest, epochs: int, parts: int, dice: Dice) -> Metrics:
    """Pass over the experience, and tell the mean of what each step told. `first_ratio` is the ratio before anything moved:
    what was sampled from and what is trained are the same policy only if it is 1."""
    told = [descend(loss_of, part) for _ in range(epochs) for part in minibatches(experience, parts, dice)]
    return {name: fmean(step[name] for step in told) for name in told[0]} | {"first_ratio": told[0]["ratio"]}


@torch.no_grad()
def shift(logps: Tensor, old: Tensor, advantages: Tensor, below: float, above: float) -> dict[str, Tensor]:
    """How far the policy is from the one that answered: the ratio π/π_old, where the clip holds it still, and KL(π_old ‖ π) by
    the estimator k3."""
    ratio = (logps - old).exp()
    held = ((ratio > 1 + above) & (advantages > 0)) | ((ratio < 1 - below) & (advantages < 0))
    return {"ratio": ratio, "clipped": held, "approx_kl": k3(old, logps)}
