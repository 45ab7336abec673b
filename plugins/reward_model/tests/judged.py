"""What people judged of the toy base's answers, and reward models trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from alignzoo.interfaces import Lesson, Metrics, Reward
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.descent import Descent
from alignzoo.model.base import Base
from alignzoo.model.role import Role, role_on
from alignzoo.records import Comparison, Completion, Prompt, Ranking, Rating
from alignzoo.testing import toy_base
from alignzoo_reward_model.reward_model import RewardModel

THINGS = ("cat", "dog", "bird", "house", "tree", "river")
PAIRS = [
    Comparison(Prompt.ask(f"is the {thing} {how}"), Completion(good), Completion(bad))
    for thing in THINGS
    for how, good, bad in (("small", "yes please", "no"), ("old", "true thanks", "false and bad because"))
]
ORDERS = [
    Ranking(Prompt.ask(f"is the {thing} small"), tuple(map(Completion, ("yes please", "yes", "no", "bad"))), (0, 1, 2, 2))
    for thing in THINGS
]
THUMBS = [
    Rating(Prompt.ask(f"is the {thing} small"), Completion(text), thumb)
    for thing in THINGS
    for text, thumb in (("yes please", 1.0), ("no", 0.0), ("bad", 0.0))
]
SCORES = [replace(one, score=1 + 4 * one.score) for one in THUMBS]
LESSONS = {"comparisons": Lesson(comparisons=PAIRS), "rankings": Lesson(rankings=ORDERS), "ratings": Lesson(ratings=THUMBS)}
LESSON = LESSONS["comparisons"]
QUICK = RewardModel(batch_size=4, epochs=6, samples=8, sample_tokens=6, descent=Descent(lr=3e-3))


def run(optimizer: RewardModel, lesson: Lesson = LESSON, base: Base | None = None) -> tuple[Role, list[Metrics]]:
    base = base or toy_base()
    role = role_on(base, "reward")
    with watching(Canaries(base)):
        told = list(optimizer.improve(role, lesson))
    return role, told


def scored(reward: Reward, pairs: Sequence[Comparison] = PAIRS) -> torch.Tensor:
    """(pairs, 2)"""
    prompts = [pair.prompt for pair in pairs]
    sides = [reward(prompts, [pair.chosen for pair in pairs]), reward(prompts, [pair.rejected for pair in pairs])]
    return torch.tensor(sides).T


def judgements(optimizer: RewardModel, lesson: Lesson) -> Any:
    from alignzoo_reward_model.judgements import KINDS, judgements_in
    from alignzoo_reward_model.judgements import Terms as Added

    return KINDS[optimizer.on](judgements_in(lesson, optimizer.on), Added(optimizer.margin, optimizer.centring))
