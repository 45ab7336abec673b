"""Learns from a reward, by its own answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from alignzoo.interfaces import Count, Lesson, Manner, Metrics, Policy
from alignzoo.learning.credit import at_last, clipped, mean_per_reply, whitened
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.divergence import Leash, k3
from alignzoo.learning.rollouts import Explorer, Exploring
from alignzoo.model.forest import Forest
from alignzoo.model.role import Role
from alignzoo.records import Completion, Prompt


@dataclass(frozen=True)
class Best:
    """Gives the best of several answers by a reward: what Climb deploys."""

    policy: Policy
    lesson: Lesson

    def sample(self, prompts: list[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        groups = self.policy.sample(prompts, 2 * n, manner)
        return [[Completion(reply.text, finished=reply.finished) for reply in group[:n]] for group in groups]


@dataclass(frozen=True)
class Climb:
    needs: ClassVar[tuple[str, ...]] = ("prompts", "reward")

    updates: Count = 2
    prompts_per_update: Count = 4
    replies: Count = 2
    seed: int = 0
    exploring: Exploring = Exploring(max_tokens=6, unfinished="ignore")
    leash: Leash = Leash(coefficient=0.01)
    descent: Descent = Descent(lr=1e-3)

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        explore = Explorer(self.exploring, policy, policy.frozen(), lesson, self.seed)
        deck = Deck.rounds(lesson.prompts, self.prompts_per_update, self.updates, self.seed)
        leash, descend = self.leash.on(), self.descent.on(policy, updates=self.updates)
        for prompts in deck:
            seen = explore(prompts, self.replies)
            forest = seen.forest
            advantages = whitened(at_last(forest.replies["score"], forest))
            told = descend(partial(self.loss, policy, leash.value), forest.attach(tokens={"advantages": advantages}))
            leash.steer(seen.kl, len(forest.last))
            yield {**seen.metrics(), **told}

    def loss(self, policy: Role, held: float, forest: Forest) -> Loss:
        logps = policy.logps(forest, self.exploring.temperature)
        objective = clipped(logps, forest.tokens["old"], forest.tokens["advantages"], 0.2, 0.2)
        away = k3(logps, forest.tokens["reference"])
        return Loss.over(mean_per_reply(held * away - objective, forest), kl_now=away)

    def deploy(self, policy: Role, lesson: Lesson) -> Policy:
        return Best(policy, lesson)
