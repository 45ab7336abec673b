"""Several answers to each prompt: what the reward says of them, and which is the best."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from random import Random

from alignzoo.interfaces import Reward
from alignzoo.learning.rewards import scored
from alignzoo.records import Completion, Prompt


class Scorer:
    """Asks a reward once about each distinct answer to a prompt. Duplicates get the same score, and stay: how often an answer
    was drawn counts in the choice."""

    def __init__(self, reward: Reward) -> None:
        self.reward = reward
        self.known: dict[tuple[str, str, bool], float] = {}

    def __call__(self, prompts: Sequence[Prompt], groups: Sequence[Sequence[Completion]]) -> list[list[float]]:
        """The scores of all answers, in their places."""
        names = [[(prompt.id, reply.text, reply.finished) for reply in g] for prompt, g in zip(prompts, groups, strict=True)]
        new: dict[tuple[str, str, bool], tuple[Prompt, Completion]] = {}
        for prompt, group, own in zip(prompts, groups, names, strict=True):
            new |= {name: (prompt, reply) for name, reply in zip(own, group, strict=True) if name not in self.known}
        if new:
            asked, said = zip(*new.values(), strict=True)
            self.known |= dict(zip(new, scored(self.reward, asked, said), strict=True))
        return [[self.known[name] for name in own] for own in names]


def best(scores: Sequence[float], dice: Random) -> int:
    """The place of the highest score; among equals any, with equal chances."""
    highest = max(scores)
    return dice.choice([place for place, score in enumerate(scores) if score == highest])


def stream(*names: object) -> int:
    """A seed of its own for each combination of these."""
    whole = hashlib.sha256("/".join(map(str, ("best-of-n", *names))).encode()).digest()
    return int.from_bytes(whole[:4], "big") >> 1
