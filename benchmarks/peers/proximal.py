"""What both sides of the PPO benchmark are told, what the peer is seen to do, and what an update would cost without waste."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from models import Size
from rounds import Rounds
from torch import Tensor

from alignzoo.learning.decks import Deck
from alignzoo.records import Prompt

Critic = Literal["adapter", "trunk"]


@dataclass(frozen=True)
class Proximal(Rounds):
    """Hyper-parameters of a PPO run. Gradients are not clipped: the peer clips none."""

    prompts: int = 8
    replies: int = 1
    lr: float = 1e-4
    clip: float = math.inf
    epochs: int = 4
    gamma: float = 1.0
    lam: float = 0.95
    near: float = 0.2
    value_near: float = 0.2
    value_weight: float = 0.1


@dataclass(frozen=True)
class Weights:
    """Everything that is trained: adapters under the keys of peft's files, and the weight of the critic's head."""

    policy: Mapping[str, Tensor]
    critic: Mapping[str, Tensor]
    head: Tensor


@dataclass(frozen=True)
class Slope:
    """The loss of one epoch and its gradients, which have the names of the weights that they were taken at."""

    at: Weights
    loss: float
    gradient: Weights


@dataclass(frozen=True)
class Update:
    """One update as the peer made it: what it wrote, what it thought of each token, and each of its epochs."""

    prompts: Sequence[Prompt]
    completions: Sequence[tuple[int, ...]]
    tokens: Mapping[str, Tensor]
    """(prompts, new) of log-probabilities, rewards and the like."""
    epochs: Sequence[Slope]


def order(setting: Proximal, count: int) -> list[list[int]]:
    """Which prompts each update is about, as our deck deals them; the peer is given the same."""
    return list(Deck(range(count), setting.prompts, 1, setting.seed))


def update_flops(size: Size, prompt: int, setting: Proximal, critic: Critic) -> float:
    """FLOP for one prompt of an update with nothing done twice and nothing for nobody, counted as in `clock.step_flops`.

    Forward: writing, the reference (without an adapter), the reward model (whose last layer is read at one token). Then the
    epochs, forward and backward. A critic with an adapter adds a pass for the values and one without a head to each epoch;
    on the policy's trunk it reads the states that are there."""
    new, once = setting.new, prompt + setting.new
    seen = (prompt**2 + new * (2 * prompt + new)) / 2
    head = 2 * size.head_parameters * new
    linear, lora = _forward(size, once, prompt - 1, setting.rank)
    attention = 4 * size.hidden * (size.layers * seen - prompt**2 / 2)
    ends_linear, ends_lora = _forward(size, once, once - 1, setting.rank)
    ends_attention = 4 * size.hidden * ((size.layers - 1) * seen + once)
    writing = linear + lora + attention + head
    reference = linear + attention + head
    reward = ends_linear + ends_lora + ends_attention
    epoch = 2 * linear + 3 * lora + 3.5 * attention
    flops = writing + reference + reward + setting.epochs * (epoch + 2 * head)
    apart = linear + lora + attention + setting.epochs * epoch
    return flops + (apart if critic == "adapter" else 0.0)


def _forward(size: Size, once: int, unread: int, rank: int) -> tuple[float, float]:
    """Of linear layers and of LoRA, where the last layer closes only the rows that are read."""
    linear = 2 * (size.linear_parameters * once - size.closing_parameters * unread)
    return linear, 2 * rank * (size.lora_sides * once - size.closing_sides * unread)
