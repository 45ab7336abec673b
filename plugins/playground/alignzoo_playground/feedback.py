"""The playground's feedback: simulated annotators judge answers to the run's prompts, or a writer shows how to answer.

Records are made as they are asked for, a few prompts at a time, so memory does not grow with `count`. The same settings,
prompts, policy and seed give the same records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from alignzoo.interfaces import Asking, Share
from alignzoo.records import Comparison, Completion, Demonstration, Feedback, Prompt, Provenance, Ranking, Rating
from alignzoo_playground.annotators import Annotator, PoolName, pool
from alignzoo_playground.gold import asked_in
from alignzoo_playground.replies import CAREFUL, MIXED, Habits, plan_reply, write_reply
from alignzoo_playground.requests import Request, read_request

SOURCE = "playground"
LICENCE = "Apache-2.0"
AT_ONCE = 32
"""Prompts whose answers are in memory at a time."""
FRUITLESS = 3
"""Passes over all prompts without one new record after which collecting is given up."""

Kind = Literal["comparisons", "rankings", "thumbs", "scores", "demonstrations"]
GIVES = {
    "comparisons": "comparison",
    "rankings": "ranking",
    "thumbs": "rating",
    "scores": "rating",
    "demonstrations": "demonstration",
}


class CollectError(ValueError):
    """Feedback that cannot be collected as it was asked for."""


@dataclass(frozen=True)
class PlaygroundFeedback:
    """Annotators (or a writer) of the playground. See `annotators` for who they are."""

    kind: Kind = "comparisons"
    """What is collected: choices between two answers, orders of several, thumbs (1 or 0), scores (1 to 5), or answers
    written by a careful person."""

    pool: PoolName = "crowd"
    """Who judges: "crowd", four groups of people who differ, or "biased", people who like length and flattery."""

    group: str = ""
    """Ask only this group of the pool; all of it if empty."""

    count: Annotated[int, Ge(1)] = 600
    """How many records to collect."""

    candidates: Literal["policy", "world"] = "policy"
    """Whose answers are judged: those of the policy that is trained, or ones of mixed quality written by the world."""

    answers: Annotated[int, Ge(2)] = 4
    """How many answers are drawn for each prompt in a pass. A comparison takes two of them; other kinds take all."""

    judges: Annotated[int, Ge(1)] = 1
    """How many annotators judge the same answers, each for a record of its own: so it can be told how far they agree."""

    noise: Annotated[float, Gt(0)] = 1.0
    """Multiplies how unsure the annotators are; at 1 two of the crowd agree on about seven pairs in ten."""

    skips: Share = 0.05
    """How often an annotator gives no judgement on what is shown."""

    drop_out: Share = 0.001
    """The chance, after each judgement, that the annotator leaves for good. The last one stays."""

    @property
    def gives(self) -> tuple[str, ...]:
        """The kind of record."""
        return (GIVES[self.kind],)

    @property
    def asks(self) -> tuple[str, ...]:
        """A policy only where it writes the answers that are judged."""
        return ("prompts", "policy") if self._from_policy else ("prompts",)

    @property
    def _from_policy(self) -> bool:
        return self.candidates == "policy" and self.kind != "demonstrations"

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """Yield `count` records, going over the prompts as often as it takes."""
        if not asking.prompts:
            raise CollectError('the playground\'s annotators need prompts; name a task: [task] use = "task:playground"')
        if self._from_policy and asking.policy is None:
            raise CollectError('no policy to ask for answers; give one, or set candidates = "world"')
        desk = Desk(list(pool(self.pool, self.group, self.noise)), self.skips, self.drop_out)
        given, fruitless, turn = 0, 0, 0
        while given < self.count:
            before = given
            for record in self._one_pass(asking, turn, desk):
                yield record
                given += 1
                if given == self.count:
                    return
            turn, fruitless = turn + 1, fruitless + 1 if given == before else 0
            if fruitless == FRUITLESS:
                raise CollectError(
                    f"{given} of {self.count} records, and no more to be had: the answers to a prompt are all the same; "
                    "sample at a higher temperature, draw more answers, or ask for a smaller count"
                )

    def _one_pass(self, asking: Asking, turn: int, desk: Desk) -> Iterator[Feedback]:
        prompts = list(asking.prompts)
        Random(f"{asking.seed}/order/{turn}").shuffle(prompts)
        for start in range(0, len(prompts), AT_ONCE):
            some = prompts[start : start + AT_ONCE]
            dice = Random(f"{asking.seed}/judgements/{turn}/{start}")
            if self.kind == "demonstrations":
                yield from (_demonstration(prompt, dice) for prompt in some)
                continue
            for prompt, answers in zip(some, self._answers(asking, some, turn, dice), strict=True):
                yield from self._judged(prompt, _different(answers), desk, dice)

    def _answers(self, asking: Asking, prompts: Sequence[Prompt], turn: int, dice: Random) -> list[list[Completion]]:
        if asking.policy is not None and self._from_policy:
            manner = replace(asking.manner, seed=(asking.manner.seed + asking.seed + 1_000_003 * turn) % 2**31)
            return asking.policy.sample(prompts, self.answers, manner)
        return [[_written(prompt, MIXED, dice) for _ in range(self.answers)] for prompt in prompts]

    def _judged(self, prompt: Prompt, answers: list[Completion], desk: Desk, dice: Random) -> Iterator[Feedback]:
        """What one annotator, or several, say of one prompt's answers. All are shown the same ones."""
        if len(answers) < 2:
            desk.next(dice, ())  # somebody was asked all the same
            return
        asked: list[Annotator] = []
        shown: list[Completion] = []
        for _ in range(self.judges):
            annotator = desk.next(dice, asked)
            if annotator is not None:
                asked.append(annotator)
                shown = shown or (dice.sample(answers, 2) if self.kind == "comparisons" else answers)
                yield from self._judgement(prompt, shown, annotator, dice)

    def _judgement(self, prompt: Prompt, shown: list[Completion], annotator: Annotator, dice: Random) -> Iterator[Feedback]:
        """One annotator's: a comparison, a ranking, or a rating of each."""
        who = _provenance(annotator)
        match self.kind:
            case "comparisons":
                first, second = shown
                if annotator.prefers_first(prompt, first, second, dice):
                    yield Comparison(prompt, first, second, provenance=replace(who, note=f"{who.note}; chose the first"))
                else:
                    yield Comparison(prompt, second, first, provenance=replace(who, note=f"{who.note}; chose the second"))
            case "rankings":
                order = annotator.order(prompt, shown, dice)
                yield Ranking(prompt, tuple(shown[place] for place in order), provenance=who)
            case "thumbs":
                yield from (Rating(prompt, one, annotator.thumb(prompt, one, dice), provenance=who) for one in shown)
            case _:
                yield from (Rating(prompt, one, annotator.score(prompt, one, dice), provenance=who) for one in shown)


@dataclass
class Desk:
    """Where annotators sit. Whoever drops out does not come back."""

    annotators: list[Annotator]
    skips: float
    drop_out: float

    def next(self, dice: Random, besides: Sequence[Annotator]) -> Annotator | None:
        """Whoever judges next, and has not yet; None if that person passes, or nobody is left."""
        places = [place for place, annotator in enumerate(self.annotators) if annotator not in besides]
        if not places:
            return None
        place = places[dice.randrange(len(places))]
        annotator = self.annotators[place]
        if dice.random() < self.drop_out and len(self.annotators) > 1:
            del self.annotators[place]
        return None if dice.random() < self.skips else annotator


def group_of(provenance: Provenance) -> str:
    """The group of the annotator that a record comes from; empty if it comes from none of this playground's."""
    note = provenance.note.partition(";")[0]
    return note.removeprefix("group ") if provenance.source == SOURCE and note.startswith("group ") else ""


def _provenance(annotator: Annotator) -> Provenance:
    return Provenance(SOURCE, annotator.name, licence=LICENCE, note=f"group {annotator.group}")


def _demonstration(prompt: Prompt, dice: Random) -> Demonstration:
    writer = Provenance(SOURCE, "writer-1", licence=LICENCE, note="group writers")
    return Demonstration(prompt, _written(prompt, CAREFUL, dice), writer)


def _written(prompt: Prompt, habits: Habits, dice: Random) -> Completion:
    request = _request(prompt)
    return Completion(write_reply(request, plan_reply(request, habits, dice)))


def _request(prompt: Prompt) -> Request:
    request = read_request(asked_in(prompt))
    if request is None:
        raise CollectError(f"the world cannot answer {asked_in(prompt)[:60]!r}: it is no request of the playground")
    return request


def _different(answers: Sequence[Completion]) -> list[Completion]:
    """Answers whose texts differ, the first of each."""
    return list({answer.text: answer for answer in reversed(answers)}.values())[::-1]
