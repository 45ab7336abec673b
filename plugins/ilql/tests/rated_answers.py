"""Ratings of the toy base's answers, and ILQL trained on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from alignzoo.interfaces import Lesson, Manner, Metrics, Policy
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.descent import Descent
from alignzoo.model.base import Base
from alignzoo.model.role import Role, policy_on
from alignzoo.records import Completion, Prompt, Rating
from alignzoo.testing import toy_base
from alignzoo_ilql.heads import Heads, grown_on
from alignzoo_ilql.ilql import ILQL
from alignzoo_ilql.steering import Steered, Steering

PROMPTS = [Prompt.ask(f"is the {thing} {how}") for thing in ("cat", "dog", "bird", "house") for how in ("small", "old")]
SAID = {"yes please": 1.0, "no": 0.0, "true thanks": 0.8, "false and bad": 0.1}
RATINGS = [Rating(prompt, Completion(text), score) for prompt in PROMPTS for text, score in SAID.items()]
LESSON = Lesson(ratings=RATINGS)
QUICK = ILQL(cql=0.1, epochs=2, batch_size=8, hidden=(32,), alpha=0.3, sync_every=1, descent=Descent(lr=3e-3))
FREELY = Manner(max_tokens=6, seed=5)
BASE = toy_base()


def run(optimizer: ILQL, base: Base, lesson: Lesson = LESSON) -> tuple[Role, list[Metrics]]:
    policy = policy_on(base)
    with watching(Canaries(base)):
        told = list(optimizer.improve(policy, lesson))
    return policy, told


def said(policy: Policy, n: int = 16) -> Counter[str]:
    return Counter(reply.text for group in policy.sample(PROMPTS[:2], n, FREELY) for reply in group)


def steering(policy: Role, **how: Any) -> Steered:
    return replace(QUICK, steering=Steering(**how)).deploy(policy, Lesson())


def moved_heads(role: Role, names: Sequence[str]) -> None:
    """Heads that say clearly different things."""
    dice = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name in names:
            for parameter in role.head(name).parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=dice))


def begun(heads: str = "apart") -> tuple[Role, Heads]:
    policy = policy_on(toy_base())
    grown = grown_on(policy, shared=heads == "shared", hidden=(8,), seed=0)
    moved_heads(policy, sorted(policy.heads))
    return policy, grown
