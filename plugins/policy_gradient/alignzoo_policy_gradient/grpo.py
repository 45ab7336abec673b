"""Group relative policy optimization (GRPO), Shao et al. 2024 (DeepSeekMath), https://arxiv.org/abs/2402.03300.

The group replaces the critic: the advantage of a reply, the same for all its tokens, is its score's distance from the mean of
the G replies to its prompt, in units of their deviation (section 4.1.2). The surrogate is PPO's, token by token, and the
divergence from the reference stands in the loss, by the estimator k3 (eq. 3 and 4).

Its relatives are settings. Dr. GRPO (Liu et al. 2025, https://arxiv.org/abs/2503.20783): `scale = "none"`, `per = "constant"`.
DAPO's loss (Yu et al. 2025, https://arxiv.org/abs/2503.14476): `per = "token"`, with `clip_high` above `clip`.

Left out: process supervision, a reference that is moved on between iterations, and DAPO's sampling again for groups without a
spread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Interval
from torch import Tensor

from alignzoo.interfaces import Count, Lesson, Metrics, Seed
from alignzoo.learning.credit import clipped, mean_per_reply
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.divergence import Leash, k3
from alignzoo.learning.memory import Dice
from alignzoo.learning.rollouts import Explorer, Exploring
from alignzoo.limits import check_settings
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.role import Role
from alignzoo_policy_gradient.rounds import learn, shift


def group_spread(scores: Tensor, group: int) -> Tensor:
    """(prompts) The sample's deviation of the scores in each group; exactly 0 where all are equal."""
    own = scores.view(-1, group)
    equal = (own == own[:, :1]).all(1)  # a mean of equal numbers may be rounded, and then none of them is equal to it
    return own.std(1).masked_fill(equal, 0.0)


def relative(scores: Tensor, group: int, scale: str) -> Tensor:
    """(replies) sᵢ − mean of its group and, scaled by "group", over (deviation + 10⁻⁴). All 0 where a group has no spread."""
    own, spread = scores.view(-1, group), group_spread(scores, group)[:, None]
    centred = (own - own.mean(1, keepdim=True)).masked_fill(spread == 0, 0.0)
    return (centred / (spread + 1e-4) if scale == "group" else centred).flatten()


def of_replies(losses: Tensor, forest: Forest, longest: int) -> Tensor:
    """(replies) The mean over each reply's tokens: a token of a short reply weighs more (eq. 3)."""
    return mean_per_reply(losses, forest)


def of_tokens(losses: Tensor, forest: Forest, longest: int) -> Tensor:
    """(tokens) Every token of the batch weighs the same (DAPO, section 3.3)."""
    return losses


def of_a_constant(losses: Tensor, forest: Forest, longest: int) -> Tensor:
    """(replies) The sum over each reply's tokens, over the longest length allowed (Dr. GRPO, section 3)."""
    return per_reply(losses, forest) / longest


AVERAGES: Mapping[str, Callable[[Tensor, Forest, int], Tensor]] = {
    "reply": of_replies,
    "token": of_tokens,
    "constant": of_a_constant,
}
"""From losses of tokens to the entries whose mean is the loss."""


@dataclass(frozen=True)
class GRPO:
    needs: ClassVar[tuple[str, ...]] = ("prompts", "reward")

    replies: Annotated[int, Ge(2)] = 8
    """G: answers to each prompt."""
    scale: Literal["group", "none"] = "group"
    """The unit of a score's distance from its group's mean: the group's deviation, or the score's own (Dr. GRPO)."""
    per: Literal["reply", "token", "constant"] = "reply"
    """How losses of tokens are averaged: a row of AVERAGES."""
    clip: Annotated[float, Interval(gt=0, lt=1)] = 0.2
    """ε: the share by which a token's probability may fall in one round, and rise unless `clip_high` says otherwise."""
    clip_high: Annotated[float, Gt(0)] | None = None
    """The share by which it may rise. DAPO has 0.28."""
    prompts_per_update: Count = 16
    """Prompts answered in each round."""
    updates: Count = 100
    """Rounds: answers are written this many times."""
    epochs: Count = 1
    """Passes over the answers of a round."""
    minibatches: Count = 1
    """Steps in each pass. A prompt's answers stay together."""
    exploring: Exploring = Exploring()
    """How answers are written and scored."""
    leash: Leash = Leash(coefficient=0.04)
    """β: the weight of the divergence in the loss, per token."""
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
            scores = experience.forest.replies["score"]
            forest = experience.forest.attach(replies={"advantage": relative(scores, self.replies, self.scale)})
            told = learn(descend, partial(self.loss, policy, beta.value), forest, self.epochs, self.minibatches, dice)
            spread = group_spread(scores, self.replies)
            told["coefficient"] = beta.value
            beta.steer(experience.kl, len(forest.last))
            told |= beta.told(experience.kl)
            yield {
                **experience.metrics(),
                "group_spread": float(spread.mean()),
                "idle_groups": float((spread == 0).float().mean()),
                **told,
            }

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def loss(self, policy: Role, beta: float, forest: Forest) -> Loss:
        """Of each token the clipped surrogate and β k3 (eq. 3 and 4), averaged as `per` says."""
        logps = policy.logps(forest, self.exploring.temperature)
        old, advantages = forest.tokens["old"], forest.replies["advantage"][forest.reply]
        above = self.clip if self.clip_high is None else self.clip_high
        divergence = k3(logps, forest.tokens["reference"])
        losses = clipped(logps, old, advantages, self.clip, above) + beta * divergence
        entries = AVERAGES[self.per](losses, forest, self.exploring.max_tokens)
        return Loss.over(entries, divergence=divergence, **shift(logps, old, advantages, self.clip, above))
