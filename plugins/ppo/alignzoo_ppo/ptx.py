"""The pretraining mix of InstructGPT (Ouyang et al. 2022, eq. 2): while the reward is raised, the policy is reminded of text
that it shall go on writing well, by + γ E[log π(y|x)] over demonstrations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from alignzoo.learning.decks import Deck
from alignzoo.model.forest import Forest, joined
from alignzoo.records import Demonstration

if TYPE_CHECKING:
    from alignzoo.model.base import Base


class Reminder:
    """Joins demonstrations to every minibatch, so that both are learned from in one step.

    The note `reminder` on each token is its weight: 0 in answers; in demonstrations γ · (tokens of answers) / (tokens of
    demonstrations), because a step divides its loss by the tokens of the answers."""

    def __init__(self, shown: Sequence[Demonstration], base: Base, weight: float, size: int, steps: int, seed: int) -> None:
        self.base, self.weight = base, weight
        self.deck: Iterator[list[Demonstration]] = iter(Deck.rounds(shown, size, steps, seed) if weight else ())

    def __call__(self, minibatch: Forest) -> Forest:
        if not self.weight:
            return minibatch
        shown = next(self.deck)
        forest = self.base.text.replies([d.prompt for d in shown], [[d.completion] for d in shown], self.base.device)
        each = self.weight * len(minibatch.targets) / len(forest.targets)
        weights = torch.full((len(forest.targets),), each, device=self.base.device)
        return joined(minibatch, forest.attach(tokens={"reminder": weights}))
