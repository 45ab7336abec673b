"""REINFORCE++, Hu 2025, https://arxiv.org/abs/2501.03262.

What makes PPO steady, without its critic: each token pays for its divergence from the reference, the last one earns the score,
a token's return is the sum of what is still to come, returns are normalised over all tokens of the round (not of a group, so
one answer to each prompt is enough), and the ratio of each token is clipped.

    r_t = s · 1[t last] − β log π_old/π_ref,    G_t = Σ_{k≥t} γ^{k−t} r_k,    A_t = (G_t − mean) / deviation

Left out: the variant that first subtracts a group's mean, which is what RLOO and GRPO are for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from annotated_types import Gt, Interval
from torch import Tensor

from alignzoo.interfaces import Count, Lesson, Metrics, Seed, Share
from alignzoo.learning.credit import at_last, clipped, discounted, whitened
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.divergence import Leash
from alignzoo.learning.memory import Dice
from alignzoo.learning.rollouts import Explorer, Exploring
from alignzoo.limits import check_settings
from alignzoo.model.forest import Forest
from alignzoo.model.role import Role
from alignzoo_policy_gradient.rounds import learn, shift


def returns(scores: Tensor, divergence: Tensor, forest: Forest, beta: float, gamma: float) -> Tensor:
    """(tokens) What each token and those after it earn: the score, less β times their divergence."""
    return discounted(at_last(scores, forest) - beta * divergence, forest, gamma)


@dataclass(frozen=True)
class ReinforcePlusPlus:
    needs: ClassVar[tuple[str, ...]] = ("prompts", "reward")

    gamma: Share = 1.0
    """γ: what a reward is worth one token earlier."""
    clip: Annotated[float, Interval(gt=0, lt=1)] = 0.2
    """ε: the share by which a token's probability may fall in one round, and rise unless `clip_high` says otherwise."""
    clip_high: Annotated[float, Gt(0)] | None = None
    """The share by which it may rise."""
    replies: Count = 1
    """Answers to each prompt."""
    prompts_per_update: Count = 64
    """Prompts answered in each round."""
    updates: Count = 100
    """Rounds: answers are written this many times."""
    epochs: Count = 1
    """Passes over the answers of a round."""
    minibatches: Count = 1
    """Steps in each pass. A prompt's answers stay together."""
    exploring: Exploring = Exploring()
    """How answers are written and scored."""
    leash: Leash = Leash()
    """β: what a nat of log π/π_ref costs, paid by the token that spends it."""
    seed: Seed = 0
    """Order of the prompts, answers, and minibatches."""
    descent: Descent = Descent(lr=2e-4)
    """How the policy is moved."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.minibatches > self.prompts_per_update:
            raise ValueError(f"{self.prompts_per_update} prompts make no {self.minibatches} minibatches; ask for fewer")

    @property
    def longest(self) -> int:
        return self.exploring.max_tokens

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        lesson.check(self.needs)
        explore = Explorer(self.exploring, policy, policy.frozen(), lesson, self.seed)
        deck = Deck.rounds(lesson.prompts, self.prompts_per_update, self.updates, self.seed)
        descend = self.descent.on(policy, updates=self.updates * self.epochs * self.minibatches)
        beta, dice = self.leash.on(self.updates), Dice(self.seed)
        for prompts in deck:
            experience = explore(prompts, self.replies)
            forest = experience.forest
            earned = returns(forest.replies["score"], experience.divergence, forest, beta.value, self.gamma)
            forest = forest.attach(tokens={"advantage": whitened(earned)})
            told = learn(descend, partial(self.loss, policy), forest, self.epochs, self.minibatches, dice)
            told["coefficient"] = beta.value
            beta.steer(experience.kl, len(forest.last))
            told |= beta.told(experience.kl)
            yield {
                **experience.metrics(),
                "return": float(earned.mean()),
                "return_spread": float(earned.std(correction=0)),
                **told,
            }

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def loss(self, policy: Role, forest: Forest) -> Loss:
        """Of each token: the clipped surrogate."""
        logps = policy.logps(forest, self.exploring.temperature)
        old, advantages = forest.tokens["old"], forest.tokens["advantage"]
        above = self.clip if self.clip_high is None else self.clip_high
        losses = clipped(logps, old, advantages, self.clip, above)
        return Loss.over(losses, **shift(logps, old, advantages, self.clip, above))
