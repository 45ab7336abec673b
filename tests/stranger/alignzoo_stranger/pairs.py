"""Learns from pairs, with a head of its own beside the policy and a coefficient that survives."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from alignzoo.interfaces import Count, Lesson, LessonError, Metrics, Positive
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.memory import Dice, State, track
from alignzoo.learning.reference import Remembered
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.role import Role


def pair_loss(margin: Tensor, beta: float) -> Tensor:
    return -logsigmoid(beta * margin)


class Mood:
    """A number that survives an update."""

    def __init__(self, value: float) -> None:
        self.value = value
        track(self)

    def state(self) -> State:
        return {"value": self.value}

    def restore(self, state: State) -> None:
        self.value = state["value"]


@dataclass(frozen=True)
class Pairs:
    needs: ClassVar[tuple[str, ...]] = ("comparisons",)

    beta: Positive = 0.1
    batch_size: Count = 8
    epochs: Count = 1
    seed: int = 0
    descent: Descent = Descent(lr=1e-3, schedule="linear", warmup=2, clip=1.0)

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        if not lesson.comparisons:
            raise LessonError("no comparisons")
        base = policy.base
        reference = Remembered(policy.frozen())
        deck, dice, mood = Deck(lesson.comparisons, self.batch_size, self.epochs, self.seed), Dice(self.seed), Mood(1.0)
        descend = self.descent.on(policy, updates=len(deck))
        for comparisons in deck:
            pairs = base.text.pairs(comparisons, base.device)
            pairs = pairs.attach(replies={"reference": reference(pairs)})
            told = descend(partial(self.loss, policy, mood.value), pairs)
            mood.value *= 1.0 - 0.01 * (dice.integer() % 2)
            yield {**told, "mood": mood.value}

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def loss(self, policy: Role, mood: float, pairs: Forest) -> Loss:
        moved = per_reply(policy.logps(pairs), pairs) - pairs.replies["reference"]
        chosen, rejected = moved.view(-1, 2).unbind(1)
        strength = pairs.notes["strength"]
        losses = strength * pair_loss(chosen - rejected, self.beta) * mood
        return Loss.over(losses, right=(chosen > rejected).float(), length=torch.log(pairs.lengths.float()))
