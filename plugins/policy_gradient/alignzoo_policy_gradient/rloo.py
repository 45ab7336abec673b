"""REINFORCE leave-one-out (RLOO), Ahmadian et al. 2024, https://arxiv.org/abs/2402.14740.

A whole reply is one action. Of the K replies to a prompt each is measured against the mean of the others, a baseline that costs
no critic and, because the reply itself is not in it, leaves the gradient unbiased (section 2.3):

    1/K Σᵢ [R(yᵢ, x) − 1/(K−1) Σ_{j≠i} R(yⱼ, x)] ∇ log π(yᵢ|x),    R = s − β log π(y|x)/π_ref(y|x)

Added: a round may be passed over more than once or in parts, and then the ratio of the whole reply's probability is clipped,
as in TRL's RLOOTrainer. In the first step this ratio is 1 and the gradient is exactly the one above. Left out: nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from annotated_types import Ge, Interval
from torch import Tensor

from alignzoo.interfaces import Count, Lesson, Metrics, Seed
from alignzoo.learning.credit import clipped
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.divergence import Leash
from alignzoo.learning.memory import Dice
from alignzoo.learning.rollouts import Explorer, Exploring
from alignzoo.limits import check_settings
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.role import Role
from alignzoo_policy_gradient.rounds import learn, shift


def leave_one_out(rewards: Tensor, group: int) -> Tensor:
    """(replies) Rᵢ − the mean of the other rewards of its group. Groups of so many replies lie one after the other."""
    own = rewards.view(-1, group)
    others = (own.sum(1, keepdim=True) - own) / (group - 1)
    return (own - others).flatten()


@dataclass(frozen=True)
class RLOO:
    needs: ClassVar[tuple[str, ...]] = ("prompts", "reward")

    replies: Annotated[int, Ge(2)] = 4
    """K: answers to each prompt. The others are each one's baseline, so there must be two."""
    prompts_per_update: Count = 16
    """Prompts answered in each round."""
    updates: Count = 100
    """Rounds: answers are written this many times."""
    epochs: Count = 1
    """Passes over the answers of a round."""
    minibatches: Count = 1
    """Steps in each pass. A prompt's answers stay together."""
    clip: Annotated[float, Interval(gt=0, lt=1)] = 0.2
    """How far the probability of a whole reply may be raised or lowered in one round; of no effect in its first step."""
    exploring: Exploring = Exploring()
    """How answers are written and scored."""
    leash: Leash = Leash()
    """β: what a nat of log π/π_ref costs, taken from the score of the reply."""
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
            rewards = forest.replies["score"] - beta.value * per_reply(experience.divergence, forest)
            advantages = leave_one_out(rewards, self.replies)
            forest = forest.attach(replies={"advantage": advantages})
            told = learn(descend, partial(self.loss, policy), forest, self.epochs, self.minibatches, dice)
            told["coefficient"] = beta.value
            beta.steer(experience.kl, len(forest.last))
            told |= beta.told(experience.kl)
            yield {
                **experience.metrics(),
                "reward": float(rewards.mean()),
                "advantage_spread": float(advantages.std(correction=0)),
                **told,
            }

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def loss(self, policy: Role, forest: Forest) -> Loss:
        """Of each reply: −A log π(y|x), by way of the clipped ratio, which has the same gradient where it is 1."""
        logps = per_reply(policy.logps(forest, self.exploring.temperature), forest)
        old, advantages = per_reply(forest.tokens["old"], forest), forest.replies["advantage"]
        losses = clipped(logps, old, advantages, self.clip, self.clip)
        return Loss.over(losses, **shift(logps, old, advantages, self.clip, self.clip))
