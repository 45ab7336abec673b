"""Harmlessness by refusal: pairs of a harmful prompt, a canned refusal as the better answer, and the model's own reply as the
worse one, at a chosen share among the records of another source.

It is quick and needs nobody's judgement, and it teaches to refuse more than was meant: look at `alignzoo refusals` after it.
A constructive refusal says why, and what to do instead, so that refusing is not the end of being helpful.

Records are made as they are asked for, a few prompts at a time. The same settings, prompts, policy and seed give the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random
from typing import Any, Literal

from alignzoo.interfaces import Asking, Count, FeedbackSource, Share
from alignzoo.records import Comparison, Completion, Feedback, Prompt, Provenance
from alignzoo.seam.discovery import discover
from alignzoo.seam.settings import build
from alignzoo.seam.zoo import Found
from alignzoo_evaluations.refusing import Harmful, refuses

AT_ONCE = 16
"""Prompts whose replies are in memory at a time."""
FRUITLESS = 3
"""Passes over all harmful prompts without one new pair after which collecting is given up."""
PLAIN = ("I can not help with that.", "I will not help with that.", "I am sorry. I can not help with that.")
CONSTRUCTIVE = (
    "I can not help with that, because somebody could get hurt. You could ask somebody you trust for advice instead.",
    "I will not help with that, because it would do harm. You could tell me what you need, and find a better way instead.",
    "I am sorry. I can not help with that, because it would hurt people. You could ask for help with the worry behind it.",
)


class RefusalError(ValueError):
    """Refusals that cannot be collected as they were asked for."""


@dataclass(frozen=True)
class Refusals:
    """Refusals over the model's own replies to harmful prompts, among other feedback."""

    harmful: Harmful
    """Which prompts are to be refused: those of the run's task with such a word, or those of a file."""
    share: Share = 0.2
    """The share of refusals among all records."""
    style: Literal["plain", "constructive"] = "constructive"
    """A bare refusal, or one with a reason and something to do instead."""
    plain: tuple[str, ...] = PLAIN
    """What a plain refusal says: one of these."""
    constructive: tuple[str, ...] = CONSTRUCTIVE
    """What a constructive refusal says."""
    rest: str = ""
    """The source of the other records, by its name; it may be left out where the share is 1."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Its settings."""
    count: Count = 600
    """How many records to collect, refusals among them; fewer where the other source has fewer."""

    def __post_init__(self) -> None:
        if self.share < 1 and not self.rest:
            raise ValueError(f'share = {self.share:g} leaves room for other records; say whose: rest = "playground"')
        if odd := [text for text in self.canned if not refuses(text)]:
            raise ValueError(f"{odd[0]!r} is not known as a refusal, so nobody could tell how often it is said")
        _ = self.inner

    @cached_property
    def inner(self) -> FeedbackSource | None:
        """The other source, made when this one is: before any model is loaded."""
        return self._looked_up[1] if self._looked_up else None

    def looked_up(self) -> Mapping[str, tuple[Found, Any]]:
        """The other source, whose bytes the run records."""
        return {"rest": self._looked_up} if self._looked_up else {}

    @cached_property
    def _looked_up(self) -> tuple[Found, FeedbackSource] | None:
        if self.share == 1:
            return None
        found = discover().find("feedback", self.rest)
        made: FeedbackSource = build(found.load(), self.settings, f"{self.rest}.settings")
        return found, made

    @property
    def canned(self) -> tuple[str, ...]:
        return self.plain if self.style == "plain" else self.constructive

    @property
    def gives(self) -> tuple[str, ...]:
        """Comparisons, and what the other source gives."""
        return tuple(dict.fromkeys(("comparison", *(self.inner.gives if self.inner else ()))))

    @property
    def asks(self) -> tuple[str, ...]:
        """A policy whose replies are rejected; prompts, where no file has the harmful ones."""
        own = () if self.share == 0 else ("policy",) if self.harmful.file else ("prompts", "policy")
        return tuple(dict.fromkeys((*own, *(self.inner.asks if self.inner else ()))))

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """Yield the records of both, spread evenly."""
        refusals: Iterator[Feedback] = self._refused(asking)
        others = self.inner.collect(asking) if self.inner else iter(())
        for number in range(self.count):
            turn = int((number + 1) * self.share + 1e-9) > int(number * self.share + 1e-9)
            record = next(refusals if turn else others, None)
            if record is None:
                asking.tally.say(f"{self.rest} had no more: {number} of {self.count} records")
                return
            yield record

    def _refused(self, asking: Asking) -> Iterator[Comparison]:
        prompts = self.harmful.prompts or tuple(prompt for prompt in asking.prompts if prompt in self.harmful)
        if not prompts or asking.policy is None:
            raise RefusalError(
                f"none of the {len(asking.prompts)} prompts of this run has a word of harmful.words; name others, or a file"
            )
        seen: set[tuple[str, str, str]] = set()
        fruitless, turn = 0, 0
        while fruitless < FRUITLESS:
            before = len(seen)
            for pair in self._one_pass(asking, prompts, turn):
                if (name := (pair.prompt.id, pair.chosen.text, pair.rejected.text)) not in seen:
                    seen.add(name)
                    yield pair
            turn, fruitless = turn + 1, fruitless + 1 if len(seen) == before else 0
        raise RefusalError(
            f"{len(seen)} refusals, and no more to be had of {len(prompts)} harmful prompts: the policy refuses them already, "
            "or always says the same; ask for a smaller share or count"
        )

    def _one_pass(self, asking: Asking, prompts: Sequence[Prompt], turn: int) -> Iterator[Comparison]:
        """A pair of each prompt that the policy does not refuse anyway."""
        assert asking.policy is not None
        order, dice = list(prompts), Random(f"{asking.seed}/refusals/{turn}")
        dice.shuffle(order)
        manner = replace(asking.manner, seed=(asking.manner.seed + asking.seed + 1_000_003 * turn) % 2**31)
        where = Provenance("refusals", note=f"{self.style} refusal over the policy's own reply")
        for start in range(0, len(order), AT_ONCE):
            some = order[start : start + AT_ONCE]
            for prompt, [reply] in zip(some, asking.policy.sample(some, 1, manner), strict=True):
                refusal = dice.choice(self.canned)
                if reply.text.strip() and not refuses(reply.text):
                    yield Comparison(prompt, Completion(refusal), reply, provenance=where)
