"""What both sides of an on-policy benchmark are told, and what they hand each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models import Size

from alignzoo.records import Prompt


@dataclass(frozen=True)
class Rounds:
    """Hyper-parameters of an RLOO run: U prompts and G replies to each, of so many new tokens."""

    prompts: int = 2
    replies: int = 8
    new: int = 48
    beta: float = 0.05
    lr: float = 5e-4
    clip: float = 1.0
    rank: int = 8
    alpha: float = 16.0
    seed: int = 0

    @property
    def rows(self) -> int:
        return self.prompts * self.replies


@dataclass(frozen=True)
class Round:
    """What the peer wrote in one round, and what it made of it; prompt by prompt."""

    prompts: Sequence[Prompt]
    completions: Sequence[tuple[int, ...]]
    advantages: Sequence[float]


def distinct(texts: Sequence[str]) -> list[float]:
    """The reward of both sides: how many different words."""
    return [float(len(set(text.split()))) for text in texts]


def round_flops(size: Size, prompt: int, setting: Rounds) -> float:
    """FLOP for one prompt of a round with nothing done twice and nothing for nobody: the prompt once for all its replies, in
    each of three passes (writing, reference, policy), and backward through the last. Counted as in `clock.step_flops`; a
    pass without a gradient is the forward half of it, and the head is at reply tokens only."""
    new = setting.replies * setting.new
    once, unread = prompt + new, prompt - 1
    seen = size.layers * (prompt**2 / 2 + setting.replies * setting.new * (prompt + setting.new / 2)) - prompt**2 / 2
    linear = 2 * (size.linear_parameters * once - size.closing_parameters * unread)
    lora = 2 * setting.rank * (size.lora_sides * once - size.closing_sides * unread)
    head = 2 * size.head_parameters * new
    attention = 4 * size.hidden * seen
    return 4 * linear + (1 + 3) * lora + 4 * head + (2 + 3.5) * attention
