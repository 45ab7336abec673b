"""A reward in the place of people: the policy writes several answers to each prompt, and the reward says what each is worth. So
offline algorithms (DPO, ILQL) learn from what online ones (PPO, RLOO) are rewarded with, and the two can be compared.

Records are made as they are asked for, a few prompts at a time. The same settings, prompts, policy and seed give the same
records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random
from typing import Any, Literal

from alignzoo.interfaces import Asking, Count, Reward
from alignzoo.learning.rewards import Scored
from alignzoo.records import Comparison, Completion, Feedback, Prompt, Provenance, Rating
from alignzoo.seam.discovery import discover
from alignzoo.seam.settings import build
from alignzoo.seam.zoo import Found

AT_ONCE = 16
"""Prompts whose answers are in memory at a time."""
FRUITLESS = 3
"""Passes over all prompts without one new record after which collecting is given up."""


class CollectError(ValueError):
    """Feedback that cannot be collected as it was asked for."""


@dataclass(frozen=True)
class SelfRated:
    """Answers of the policy, judged by a reward."""

    reward: str
    """Which: a component's name, or a function of your own, "module:function"."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The reward's own settings."""
    kind: Literal["ratings", "comparisons"] = "ratings"
    """A rating of each answer, or answers two by two, the one of the higher score chosen; equal scores are no comparison."""
    count: Count = 600
    """How many records to collect."""
    answers: Count = 4
    """How many answers are drawn for each prompt in a pass."""

    def __post_init__(self) -> None:
        if self.kind == "comparisons" and self.answers < 2:
            raise ValueError("a comparison is between two answers; let answers be 2 or more")
        _ = self.judge

    @property
    def gives(self) -> tuple[str, ...]:
        """The kind of record."""
        return ("rating",) if self.kind == "ratings" else ("comparison",)

    @property
    def asks(self) -> tuple[str, ...]:
        return ("prompts", "policy")

    @cached_property
    def judge(self) -> Reward:
        """The reward, held to its word."""
        found, made = self._looked_up
        return Scored(made, found.full_name)

    def looked_up(self) -> Mapping[str, tuple[Found, Any]]:
        """The reward, whose bytes the run records."""
        return {"reward": self._looked_up}

    @cached_property
    def _looked_up(self) -> tuple[Found, Any]:
        """Made when the source is: before any model is loaded."""
        found = discover().find("reward", self.reward)
        described = found.load()
        made = build(described, self.settings, f"{self.reward}.settings") if isinstance(described, type) else described
        return found, made

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """Yield `count` records, going over the prompts as often as it takes, with answers of their own in each pass."""
        if not asking.prompts or asking.policy is None:
            raise CollectError("self-rated feedback needs prompts and a policy that answers them; name a task: [task]")
        given, fruitless, turn = 0, 0, 0
        while fruitless < FRUITLESS:
            before = given
            for record in self._one_pass(asking, turn):
                yield record
                given += 1
                if given == self.count:
                    return
            turn, fruitless = turn + 1, fruitless + 1 if given == before else 0
        raise CollectError(
            f"{given} of {self.count} records, and no more to be had: {self.reward} scores all answers to a prompt alike; "
            "sample at a higher temperature, draw more answers, or use another reward"
        )

    def _one_pass(self, asking: Asking, turn: int) -> Iterator[Feedback]:
        assert asking.policy is not None
        prompts = list(asking.prompts)
        Random(f"{asking.seed}/order/{turn}").shuffle(prompts)
        manner = replace(asking.manner, seed=(asking.manner.seed + asking.seed + 1_000_003 * turn) % 2**31)
        for start in range(0, len(prompts), AT_ONCE):
            some = prompts[start : start + AT_ONCE]
            for prompt, group in zip(some, asking.policy.sample(some, self.answers, manner), strict=True):
                yield from self._judged(prompt, group)

    def _judged(self, prompt: Prompt, group: Sequence[Completion]) -> Iterator[Feedback]:
        where = Provenance("self-rated", annotator=self.reward)
        scores = self.judge([prompt] * len(group), group)
        rated = [Rating(prompt, reply, score, provenance=where) for reply, score in zip(group, scores, strict=True)]
        if self.kind == "ratings":
            yield from rated
            return
        for two in zip(rated[::2], rated[1::2], strict=False):
            worse, better = sorted(two, key=lambda rating: rating.score)
            if worse.score < better.score:
                yield Comparison(prompt, better.completion, worse.completion, provenance=where)
