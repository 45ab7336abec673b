"""Two roads to one place: on a table of six replies, DPO on exact Bradley–Terry labels and the KL-regularised policy gradient
both come to the closed form π*(y) = π_ref(y) exp(r(y)/β) / Z, each by the functions its plugin trains models with.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import combinations

import torch
from torch import Tensor

from alignzoo.learning.credit import clipped
from alignzoo.learning.divergence import k1
from alignzoo_dpo.dpo import sigmoid
from alignzoo_dpo.pairs import expected
from alignzoo_policy_gradient.rloo import leave_one_out

BETA, TOLERANCE = 0.8, 1e-6
_dice = torch.Generator().manual_seed(11)
REWARD = torch.randn(6, generator=_dice, dtype=torch.float64)
REFERENCE = torch.randn(6, generator=_dice, dtype=torch.float64).log_softmax(0)
BEST = (REFERENCE + REWARD / BETA).softmax(0)
FIRST, SECOND = torch.tensor(list(combinations(range(6), 2))).T
UPDATES = 1500


def preferring(logps: Tensor) -> Tensor:
    """DPO's loss over all pairs, each labelled with the probability that its first reply is preferred."""
    ratios = logps - REFERENCE
    labels = torch.sigmoid(REWARD[FIRST] - REWARD[SECOND])
    return expected(partial(sigmoid, beta=BETA, noise=0.0), ratios[FIRST] - ratios[SECOND], labels).mean()


def reinforcing(logps: Tensor) -> Tensor:
    """RLOO's loss where every reply is in the group, as often as the policy says it: its gradient without noise."""
    old = logps.detach()
    advantages = leave_one_out(REWARD - BETA * k1(old, REFERENCE), len(REWARD))
    return (old.exp() * clipped(logps, old, advantages, 0.2, 0.2)).sum()


@cache
def learned(loss_of: Callable[[Tensor], Tensor]) -> Tensor:
    """What a table of logits comes to that begins as the reference."""
    table = REFERENCE.clone().requires_grad_()
    adam = torch.optim.Adam([table], lr=0.05)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(adam, UPDATES)
    for _ in range(UPDATES):
        adam.zero_grad()
        loss_of(table.log_softmax(0)).backward()  # type: ignore[no-untyped-call]
        adam.step()
        slower.step()
    return table.detach().log_softmax(0)


def test_dpo_and_the_policy_gradient_come_to_the_same_closed_form() -> None:
    preferred, reinforced = learned(preferring), learned(reinforcing)
    assert float((REFERENCE.exp() - BEST).abs().max()) > 0.1  # they had a way to go
    assert torch.allclose(preferred.exp(), BEST, rtol=0, atol=TOLERANCE)
    assert torch.allclose(reinforced.exp(), BEST, rtol=0, atol=TOLERANCE)
    assert torch.allclose(preferred, reinforced, rtol=0, atol=100 * TOLERANCE)  # and in the logarithms of what is unlikely


def test_the_objective_is_worth_its_closed_form_there() -> None:
    """E[r] − β KL = β log Z at π*, and the implicit reward is r − β log Z (DPO, eq. 4 and 5)."""
    found = learned(preferring)
    worth = float((found.exp() * (REWARD - BETA * k1(found, REFERENCE))).sum())
    log_z = torch.logsumexp(REFERENCE + REWARD / BETA, 0)
    assert abs(worth - BETA * float(log_z)) < TOLERANCE
    assert torch.allclose(BETA * k1(found, REFERENCE), REWARD - BETA * log_z, rtol=0, atol=100 * TOLERANCE)
