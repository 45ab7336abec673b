"""Supervised fine-tuning on demonstrations: the first step of InstructGPT (Ouyang et al. 2022, section 3.5).

    L = − Σ log π(yₜ | x, y₍<ₜ₎) / Σ 1        over the reply tokens of the whole batch, the end token among them

Left out: residual dropout 0.2 (see docs/decisions/0003-no-dropout.md), and choosing the checkpoint by a reward model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from alignzoo.interfaces import Count, Lesson, Metrics, Seed
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.intake import check_lesson
from alignzoo.limits import check_settings
from alignzoo.model.forest import Forest
from alignzoo.model.role import Role


def imitation(logps: Tensor) -> Tensor:
    """(tokens) The loss of every reply token. Its mean over all tokens of a batch is what falls."""
    return -logps


@dataclass(frozen=True)
class SFT:
    needs: ClassVar[tuple[str, ...]] = ("demonstrations",)

    batch_size: Count = 32
    """Demonstrations per update."""
    epochs: Count = 1
    """Passes over the demonstrations."""
    seed: Seed = 0
    """Order of the demonstrations."""
    descent: Descent = Descent(lr=1e-3, schedule="cosine", warmup=5)
    """How the policy is moved."""

    def __post_init__(self) -> None:
        check_settings(self)

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        base = policy.base
        check_lesson(lesson, self.needs, base.text)
        deck = Deck(lesson.demonstrations, self.batch_size, self.epochs, self.seed)
        descend = self.descent.on(policy, updates=len(deck))
        for shown in deck:
            forest = base.text.replies([d.prompt for d in shown], [[d.completion] for d in shown], base.device)
            yield descend(partial(self.loss, policy), forest)

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def loss(self, policy: Role, forest: Forest) -> Loss:
        logps = policy.logps(forest)
        return Loss.over(imitation(logps), logp=logps)
