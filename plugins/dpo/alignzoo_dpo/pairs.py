"""What the algorithms that learn from pairs share: soft labels, the mean over a reply's tokens, and what they tell of a batch.

A batch is one tree for each comparison, chosen before rejected, so what is said of its replies reshapes to (pairs, 2).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from alignzoo.model.forest import Forest


def sides(values: Tensor) -> tuple[Tensor, Tensor]:
    """(pairs), (pairs) What was said of the chosen reply and of the rejected one."""
    chosen, rejected = values.view(-1, 2).unbind(1)
    return chosen, rejected


def per_token(sums: Tensor, pairs: Forest) -> Tensor:
    """(replies) The mean over a reply's own tokens, its end token included."""
    return sums / pairs.lengths


def expected(loss: Callable[[Tensor], Tensor], margin: Tensor, strength: Tensor) -> Tensor:
    """(pairs) The loss under soft labels: p ℓ(h) + (1−p) ℓ(−h). A tie, p = ½, pulls the margin to zero."""
    if bool(torch.all(strength == 1)):
        return loss(margin)
    return strength * loss(margin) + (1 - strength) * loss(-margin)


def by_strength(values: Tensor, strength: Tensor) -> Tensor:
    """(pairs) Of chosen and rejected, each as far as it is believed to be the better one."""
    chosen, rejected = sides(values)
    return torch.where(strength == 1, chosen, strength * chosen + (1 - strength) * rejected)


def told(rewards: Tensor, logps: Tensor) -> dict[str, Tensor]:
    """What to tell of a batch, from the implicit reward and the summed log-probability of each reply. A pair whose sides are
    level is half right by `accuracy` and wrong by `accuracy_strict`; the two differ only where there are ties."""
    (reward_chosen, reward_rejected), (chosen, rejected) = sides(rewards), sides(logps)
    right, level = (reward_chosen > reward_rejected).float(), (reward_chosen == reward_rejected).float()
    return {
        "accuracy": right + 0.5 * level,
        "accuracy_strict": right,
        "margin": reward_chosen - reward_rejected,
        "reward_chosen": reward_chosen,
        "reward_rejected": reward_rejected,
        "logp_chosen": chosen,
        "logp_rejected": rejected,
    }
