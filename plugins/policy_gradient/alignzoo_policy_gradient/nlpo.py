"""Natural language policy optimization (NLPO), Ramamurthy et al. 2022, https://arxiv.org/abs/2210.01241.

A vocabulary is a large space of actions, and most of them are never sensible. A masking policy π_ψ, an older copy of the policy
itself, says which are: only the tokens of its nucleus, the likeliest that together have probability p, may be sampled while
training. It is copied from the policy anew after every μ rounds (Algorithm 1). All else is PPO, with the masked policy

    π_θ|ψ(a|s) = π_θ(a|s) / Σ_{a′ ∈ nucleus of ψ} π_θ(a′|s)   inside the nucleus, 0 outside

in the place of π_θ: it is the one sampled from, the one in the ratio, and, so that at the start there is no divergence, the one
whose divergence from the reference, masked likewise, is paid for.

Left out: the critic. As in REINFORCE++, a token's advantage is what is still to come, normalised over the round. And the mask
itself, once training is over (section 4): what is deployed is π_θ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from annotated_types import Interval
from torch import Tensor

from alignzoo.interfaces import Count, Lesson, Metrics, Seed, Share
from alignzoo.learning.canaries import CanaryError
from alignzoo.learning.credit import clipped, whitened
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.divergence import Leash
from alignzoo.learning.memory import Dice
from alignzoo.learning.rollouts import Explorer, Exploring
from alignzoo.limits import check_settings
from alignzoo.model.forest import Forest
from alignzoo.model.role import Role
from alignzoo_policy_gradient.masks import Mask, Masked, breadth
from alignzoo_policy_gradient.reinforce import returns
from alignzoo_policy_gradient.rounds import learn, shift


@dataclass(frozen=True)
class NLPO:
    needs: ClassVar[tuple[str, ...]] = ("prompts", "reward")

    mask_top_p: Annotated[float, Interval(gt=0, le=1)] = 0.9
    """p: a token may be sampled if it is in the masking policy's nucleus of this probability. 1 masks nothing."""
    mask_every: Count = 20
    """μ: rounds after which the masking policy is copied from the policy anew."""
    gamma: Share = 1.0
    """γ: what a reward is worth one token earlier."""
    clip: Annotated[float, Interval(gt=0, lt=1)] = 0.2
    """ε: the share by which a token's probability may rise or fall in one round."""
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
    """How answers are written and scored. The mask is taken at the same temperature."""
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
        """Algorithm 1."""
        lesson.check(self.needs)
        mask = Mask(policy, self.mask_top_p, self.mask_every)
        masked, reference = Masked(policy, mask), Masked(policy.frozen(), mask)
        note = partial(self.note, mask)
        explore = Explorer(self.exploring, masked, reference, lesson, self.seed, note)
        deck = Deck.rounds(lesson.prompts, self.prompts_per_update, self.updates, self.seed)
        descend = self.descent.on(policy, updates=self.updates * self.epochs * self.minibatches)
        beta, dice = self.leash.on(self.updates), Dice(self.seed)
        for prompts in deck:
            experience = explore(prompts, self.replies)
            forest = experience.forest
            allowed = breadth(forest.tokens["allowed"], policy.base.vocabulary)
            if allowed == 1 and not descend.updates:
                raise CanaryError(
                    f"mask_top_p = {self.mask_top_p:g} leaves one token alone in every place of the first answers: nothing "
                    "else is ever tried, so nothing can be learned. Raise mask_top_p or exploring.temperature"
                )
            earned = returns(forest.replies["score"], experience.divergence, forest, beta.value, self.gamma)
            forest = forest.attach(tokens={"advantage": whitened(earned)})
            told = learn(descend, partial(self.loss, masked), forest, self.epochs, self.minibatches, dice)
            told |= {"coefficient": beta.value, "mask_age": mask.age}
            beta.steer(experience.kl, len(forest.last))
            told |= beta.told(experience.kl)
            mask.round_over()  # ψ ← θ every μ rounds
            yield {
                **experience.metrics(),
                "return": float(earned.mean()),
                "allowed": allowed,
                **told,
            }

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def note(self, mask: Mask, forest: Forest) -> dict[str, Tensor]:
        """What all log-probabilities of the round are taken among."""
        return {"allowed": mask.allowed(forest, self.exploring.temperature)}

    def loss(self, policy: Masked, forest: Forest) -> Loss:
        """Of each token: the clipped surrogate, with the ratio of the masked policies."""
        logps = policy.logps(forest, self.exploring.temperature)
        old, advantages = forest.tokens["old"], forest.tokens["advantage"]
        losses = clipped(logps, old, advantages, self.clip, self.clip)
        return Loss.over(losses, **shift(logps, old, advantages, self.clip, self.clip))
