"""Proximal Policy Optimization for language models: Schulman et al. 2017 (https://arxiv.org/abs/1707.06347) as Ziegler et al.
2019 (https://arxiv.org/abs/1909.08593), Stiennon et al. 2020 and Ouyang et al. 2022 apply it.

A round: the policy answers prompts; the reward scores each answer, and the policy's divergence from the reference is taken off
token by token; a critic says what was to be expected, and what came beyond that is each token's advantage; some epochs over
these answers raise the probability of tokens with an advantage, as long as the policy stays near the one that wrote them.

Left out: fine-tuning of whole models (everything here is an adapter), and sampling a fixed number of tokens (an answer ends at
its end token; what would come after it changes nothing).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor

from alignzoo.interfaces import Count, Lesson, Metrics, Positive, Seed
from alignzoo.learning.credit import at_last, clipped, gae, whitened
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss, Step
from alignzoo.learning.divergence import Leash, k3
from alignzoo.learning.intake import check_lesson
from alignzoo.learning.memory import Dice
from alignzoo.learning.rollouts import Experience, Explorer, Exploring
from alignzoo.limits import check_settings
from alignzoo.model.forest import Forest
from alignzoo.model.role import Role, role_on
from alignzoo_ppo.ptx import Reminder


def token_rewards(scores: Tensor, divergence: Tensor, coefficient: float, forest: Forest) -> Tensor:
    """(tokens) rₜ = −β (log π − log π_ref) for every token, and the score besides at the last one (Ziegler 2019, eq. 2)."""
    return at_last(scores, forest) - coefficient * divergence


def value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """(tokens) ½ max((V − R)², (clip(V, V_old ± clip) − R)²): the critic, too, is held near what it said."""
    near = old + (values - old).clamp(-clip, clip)
    return 0.5 * torch.max((values - returns) ** 2, (near - returns) ** 2)


def explained(values: Tensor, returns: Tensor) -> float:
    """The share of the returns' variance that the critic foresaw; 0 where they do not vary."""
    spread = float(returns.var(correction=0))
    return 1 - float(((values - returns) ** 2).mean()) / spread if spread > 1e-8 else 0.0


@dataclass(frozen=True)
class PPO:
    updates: Count = 40
    """Rounds: answering, scoring, and some epochs over what came of it."""
    prompts_per_update: Count = 64
    """Prompts answered in each round."""
    replies: Count = 1
    """Answers to each prompt."""
    exploring: Exploring = Exploring()
    """How answers are written and scored."""
    critic: Literal["trunk", "adapter"] = "trunk"
    """A value head on the policy's own trunk, or an adapter with a head of its own."""
    leash: Leash = Leash(target=2.5, horizon=80.0, approach=0.5)
    """The weight β of the divergence from the reference in the reward: fixed, or steered to a target."""
    gamma: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """γ: how much a later reward counts."""
    lam: Annotated[float, Interval(ge=0, le=1)] = 0.95
    """λ of the advantage estimate: 1 is Monte Carlo, 0 one step."""
    whiten_rewards: bool = False
    """Scale token rewards to variance 1, keeping their mean, before advantages are taken (Ziegler 2019 did)."""
    whiten: Literal["population", "sample"] = "population"
    """The variance that advantages are scaled by."""
    epochs: Count = 4
    """Passes over the answers of a round."""
    minibatches: Count = 1
    """Steps in each pass. A prompt's answers stay together."""
    clip: Annotated[float, Interval(gt=0, lt=1)] = 0.2
    """ε: how far the ratio of new to old probability may go."""
    value_clip: Positive = 0.2
    """How far a value may go from what it was."""
    value_weight: Annotated[float, Ge(0)] = 0.1
    """c_v: weight of the critic's loss. Small, because on a shared trunk it moves the policy, too."""
    stop_kl: Annotated[float, Gt(0)] | None = None
    """End a round's epochs when the policy is this far (nats per token) from the one that wrote the answers."""
    ptx: Annotated[float, Ge(0)] = 0.0
    """Weight of −log π per token on demonstrations, mixed into every step (PPO-ptx; Ouyang 2022, eq. 2)."""
    ptx_batch: Count = 16
    """Demonstrations in each of those."""
    seed: Seed = 0
    """Order of the prompts, answers, and minibatches."""
    descent: Descent = Descent(lr=5e-4, schedule="linear", eps=1e-5)
    """How policy and critic are moved."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.minibatches > self.prompts_per_update:
            raise ValueError(f"{self.prompts_per_update} prompts make no {self.minibatches} minibatches; ask for fewer")

    @property
    def needs(self) -> tuple[str, ...]:
        return ("prompts", "reward", "demonstrations") if self.ptx else ("prompts", "reward")

    @property
    def longest(self) -> int:
        return self.exploring.max_tokens

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        check_lesson(lesson, self.needs, policy.base.text)
        reference = policy.frozen()
        critic = self.seat_critic(policy)
        roles = (policy,) if critic is policy else (policy, critic)
        steps = self.updates * self.epochs * self.minibatches
        descend = self.descent.on(*roles, updates=steps)
        explore = Explorer(self.exploring, policy, reference, lesson, self.seed)
        coefficient = self.leash.on(self.updates)
        dice = Dice(self.seed + 1)
        remind = Reminder(lesson.demonstrations, policy.base, self.ptx, self.ptx_batch, steps, self.seed)
        for prompts in Deck.rounds(lesson.prompts, self.prompts_per_update, self.updates, self.seed):
            experience = explore(prompts, self.replies)
            batch, seen = self.judged(experience, policy, critic, coefficient.value)
            learned = self.learn(batch, policy, critic, descend, dice, remind)
            coefficient.steer(experience.kl, len(batch.last))
            yield {**experience.metrics(), **seen, **learned, "beta": coefficient.value, **coefficient.told(experience.kl)}

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def seat_critic(self, policy: Role) -> Role:
        """Who holds the value head, which begins by foreseeing nothing: the policy itself, or a role of its own."""
        critic = policy if self.critic == "trunk" else role_on(policy.base, "critic", seed=self.seed)
        critic.grow("value", scale=0.0)
        return critic

    @torch.no_grad()
    def judged(self, experience: Experience, policy: Role, critic: Role, coefficient: float) -> tuple[Forest, Metrics]:
        """The answers with each token's advantage and return, whitened over all of them before any is left to a minibatch."""
        forest = experience.forest
        values = torch.cat([critic.values(piece) for piece in forest.split(self.descent.micro_tokens)])
        rewards = token_rewards(forest.replies["score"], experience.divergence, coefficient, forest)
        if self.whiten_rewards:
            rewards = whitened(rewards, sample_variance=self.whiten == "sample", centred=False)
        advantages = gae(rewards, values, forest, self.gamma, self.lam)
        returns = advantages + values
        white = whitened(advantages, sample_variance=self.whiten == "sample")
        told = {"explained": explained(values, returns), "return": float(returns.mean())}
        return forest.attach(tokens={"value": values, "advantage": white, "return": returns}), told

    def learn(self, batch: Forest, policy: Role, critic: Role, descend: Step, dice: Dice, remind: Reminder) -> Metrics:
        """Some epochs over one round's answers, each in a new order. What is told of the ratio is of the first step."""
        told: Metrics = {}
        for _ in range(self.epochs):
            order = dice.order(len(batch))
            for first in range(min(self.minibatches, len(order))):
                minibatch = batch if self.minibatches == 1 else batch.select(order[first :: self.minibatches])
                learned = descend(partial(self.loss, policy, critic), remind(minibatch))
                told = {"first_ratio": learned["ratio"], **told, **learned}
                if self.stop_kl and learned["approx_kl"] > self.stop_kl:
                    return told
        return told

    def loss(self, policy: Role, critic: Role, batch: Forest) -> Loss:
        """L = E[surrogate] + c_v E[value loss] − γ E[log π(demonstrations)]."""
        read = policy.read(batch)
        logps = read.logps(self.exploring.temperature)
        values = read.values() if critic is policy else critic.values(batch)
        written = batch.tokens["reminder"] == 0 if self.ptx else torch.ones_like(logps, dtype=torch.bool)
        old, before, advantages, returns = (batch.tokens[n][written] for n in ("old", "value", "advantage", "return"))
        logps, values = logps[written], values[written]
        surrogate = clipped(logps, old, advantages, self.clip, self.clip)
        error = value_loss(values, before, returns, self.value_clip)
        ratio = (logps - old).exp()
        loss = Loss.over(
            surrogate + self.value_weight * error,
            policy_loss=surrogate,
            value_loss=error,
            ratio=ratio,
            clipped=((ratio - 1).abs() > self.clip).float(),
            approx_kl=k3(old, logps),
        )
        if not self.ptx:
            return loss
        reminded = -batch.tokens["reminder"] * read.logps()
        return replace(loss, total=loss.total + reminded.sum())
