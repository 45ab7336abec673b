"""Which token earned what: the arithmetic that on-policy algorithms share, on flat tensors.

Entry i of a per-token tensor speaks of the i-th reply token of a forest; `values[i]` is the value of the state before that
token was written. Rewards are nats and scores; nothing here knows a model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alignzoo.model.forest import Forest, per_reply


def at_last(scores: Tensor, forest: Forest) -> Tensor:
    """(tokens) Each reply's score at its last token, nothing elsewhere."""
    return scores.new_zeros(len(forest.targets)).index_copy(0, forest.last, scores)


def gae(rewards: Tensor, values: Tensor, forest: Forest, gamma: float, lam: float) -> Tensor:
    """(tokens) Generalized advantage estimation (Schulman et al. 2015, eq. 16), reply by reply.

    δₜ = rₜ + γ Vₜ₊₁ − Vₜ,  Aₜ = δₜ + γλ Aₜ₊₁,  with V = 0 after a reply's last token: what is there is no state of it."""
    following = torch.cat([values[1:], values.new_zeros(1)]).index_fill(0, forest.last, 0.0)
    deltas = rewards + gamma * following - values
    return discounted(deltas, forest, gamma * lam)


def discounted(rewards: Tensor, forest: Forest, discount: float) -> Tensor:
    """(tokens) The rewards still to come, from each token on: Gₜ = rₜ + discount · Gₜ₊₁."""
    lengths = forest.lengths
    place = torch.arange(len(rewards), device=rewards.device) - (forest.last - lengths + 1)[forest.reply]
    grid = rewards.new_zeros(len(lengths), int(lengths.max()))
    grid[forest.reply, place] = rewards
    for column in range(grid.shape[1] - 2, -1, -1):
        grid[:, column] += discount * grid[:, column + 1]
    return grid[forest.reply, place]


def whitened(values: Tensor, *, sample_variance: bool = False, centred: bool = True) -> Tensor:
    """Mean 0 and variance 1 over all entries; not `centred` keeps the mean. The population's variance, as OpenAI's
    lm-human-preferences has it, or the sample's, as others do."""
    mean = values.mean()
    spread = values.var(correction=1 if sample_variance and len(values) > 1 else 0)
    white = (values - mean) * torch.rsqrt(spread + 1e-8)
    return white if centred else white + mean


def clipped(logps: Tensor, old: Tensor, advantages: Tensor, below: float, above: float) -> Tensor:
    """The pessimistic surrogate (Schulman et al. 2017, eq. 7), to be lowered: max(−A ρ, −A clip(ρ, 1−below, 1+above))."""
    ratio = (logps - old).exp()
    return torch.max(-advantages * ratio, -advantages * ratio.clamp(1 - below, 1 + above))


def mean_per_reply(values: Tensor, forest: Forest) -> Tensor:
    """(replies) The mean over each reply's tokens."""
    return per_reply(values, forest) / forest.lengths
