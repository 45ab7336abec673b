"""Simple Preference Optimization (SimPO), Meng, Xia and Chen 2024, https://arxiv.org/abs/2405.14734.

The reward of a reply is what sampling goes by: its mean log-probability per token, a(y) = log π(y|x) / |y|, times β (eq. 4).
There is no reference, so none is asked, and length earns nothing by itself. The chosen reply is to lead by a margin γ (eq. 6):

    −log σ(β (a_c − a_r) − γ)

Left out: nothing. Added: label noise as in the authors' code, and soft labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Interval
from torch import Tensor
from torch.nn.functional import logsigmoid

from alignzoo.interfaces import Count, Lesson, Metrics, Seed
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.intake import check_lesson
from alignzoo.limits import check_settings
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.role import Role
from alignzoo_dpo.pairs import by_strength, expected, per_token, sides, told


def lead(difference: Tensor, beta: float, gamma: float, noise: float) -> Tensor:
    """−(1−ε) log σ(z) − ε log σ(−z) with z = β (a_c − a_r) − γ (eq. 6 at ε = 0). γ is not multiplied by β."""
    z = beta * difference - gamma
    return -(1 - noise) * logsigmoid(z) - noise * logsigmoid(-z)


@dataclass(frozen=True)
class SimPO:
    needs: ClassVar[tuple[str, ...]] = ("comparisons",)

    beta: Annotated[float, Gt(0)] = 2.0
    """β: the scale of the reward, a mean log-probability per token. The paper has 2 to 10."""
    gamma: Annotated[float, Ge(0)] = 1.0
    """γ: how far the chosen reply is to lead, in units of the reward. The paper has γ/β from 0.3 to 0.8."""
    label_noise: Annotated[float, Interval(ge=0, lt=0.5)] = 0.0
    """ε: the share of labels believed to be flipped."""
    likelihood: Annotated[float, Ge(0)] = 0.0
    """Weight of −log π(chosen) per token. Nothing else ties the policy to where it began."""
    batch_size: Count = 32
    """Comparisons per update."""
    epochs: Count = 1
    """Passes over the comparisons."""
    seed: Seed = 0
    """Order of the comparisons."""
    descent: Descent = Descent(lr=5e-4, schedule="linear", warmup=5)
    """How the policy is moved."""

    def __post_init__(self) -> None:
        check_settings(self)

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        base = policy.base
        check_lesson(lesson, self.needs, base.text)
        deck = Deck(lesson.comparisons, self.batch_size, self.epochs, self.seed)
        descend = self.descent.on(policy, updates=len(deck))
        for comparisons in deck:
            yield descend(partial(self.pair_loss, policy), base.text.pairs(comparisons, base.device))

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def pair_loss(self, policy: Role, pairs: Forest) -> Loss:
        """Of each pair."""
        logps, strength = per_reply(policy.logps(pairs), pairs), pairs.notes["strength"]
        means = per_token(logps, pairs)
        chosen, rejected = sides(means)
        loss = partial(lead, beta=self.beta, gamma=self.gamma, noise=self.label_noise)
        losses = expected(loss, chosen - rejected, strength) - self.likelihood * by_strength(means, strength)
        return Loss.over(losses, **told(self.beta * means, logps))
