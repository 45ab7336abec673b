"""Deliberately wrong components, one for each thing that can be wrong, and a right one that they differ from."""

from __future__ import annotations

import os
import random
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from alignzoo.interfaces import Asking, Count, Lesson, Manner, Metrics, Policy
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.model.forest import Forest, Tree, per_reply, plant
from alignzoo.model.role import Role, role_on
from alignzoo.records import Comparison, Completion, Feedback, Prompt, Provenance, Rating
from alignzoo.testing.lessons import worth

HERE = Provenance("wrong")


# Optimizers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Right:
    """DPO, in short."""

    needs: ClassVar[tuple[str, ...]] = ("comparisons",)

    batch_size: Count = 8
    epochs: Count = 1
    seed: int = 0
    descent: Descent = Descent()

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        reference = self.reference(policy)
        step = self.descent.on(policy)
        for pairs in Deck(lesson.comparisons, self.batch_size, self.epochs, self.seed):
            yield step(partial(self.loss, policy, reference), self.batch(policy, pairs))

    def reference(self, policy: Role) -> Role:
        return policy.frozen()

    def batch(self, policy: Role, pairs: Sequence[Comparison]) -> Forest:
        return policy.base.text.pairs(pairs)

    def loss(self, policy: Role, reference: Role, forest: Forest) -> Loss:
        ratios = per_reply(self.logps(policy, forest) - reference.logps(forest), forest).view(-1, 2)
        return Loss.over(self.of_margin(ratios[:, 0] - ratios[:, 1]))

    def logps(self, policy: Role, forest: Forest) -> Tensor:
        return policy.logps(forest)

    def of_margin(self, margin: Tensor) -> Tensor:
        return -logsigmoid(0.1 * margin)

    def deploy(self, policy: Role, lesson: Lesson) -> Any:
        return policy


class FlippedSign(Right):
    def of_margin(self, margin: Tensor) -> Tensor:
        return -logsigmoid(-0.1 * margin)


class Idle(Right):
    def of_margin(self, margin: Tensor) -> Tensor:
        return 0.0 * margin


class FirstRowsOnly(Right):
    """It is dealt all rows and learns from the first ones of the lesson, again and again."""

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        reference, step = self.reference(policy), self.descent.on(policy)
        for _ in Deck(lesson.comparisons, self.batch_size, self.epochs, self.seed):
            yield step(partial(self.loss, policy, reference), self.batch(policy, lesson.comparisons[: self.batch_size]))


class EveryOtherRow(Right):
    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        return super().improve(policy, replace(lesson, comparisons=lesson.comparisons[::2]))


class MeansOfMeans(Right):
    def loss(self, policy: Role, reference: Role, forest: Forest) -> Loss:
        whole = super().loss(policy, reference, forest)
        return Loss(whole.total / whole.count, 1)


class EndsMasked(Right):
    def logps(self, policy: Role, forest: Forest) -> Tensor:
        inside = torch.ones(len(forest.targets))
        inside[forest.last] = 0.0
        return policy.logps(forest) * inside


class PromptInLoss(Right):
    """The last words of the prompt count as the reply's."""

    def batch(self, policy: Role, pairs: Sequence[Comparison]) -> Forest:
        trees = super().batch(policy, pairs).trees
        return plant([Tree(t.prompt[:-3], tuple(t.prompt[-3:] + reply for reply in t.replies), t.ended) for t in trees])


class DriftingReference(Right):
    """Its reference follows the policy, half an update behind."""

    def reference(self, policy: Role) -> Role:
        return role_on(policy.base, "reference", trained=False)

    def loss(self, policy: Role, reference: Role, forest: Forest) -> Loss:
        mine, theirs = policy.base.wardrobe.tensors(policy.name), policy.base.wardrobe.tensors(reference.name)
        halfway = {key: (0.5 * mine[key] + 0.5 * theirs[key]).detach() for key in mine}
        policy.base.wardrobe.load(reference.name, halfway)
        return super().loss(policy, reference, forest)


class TrainsBase(Right):
    def loss(self, policy: Role, reference: Role, forest: Forest) -> Loss:
        with torch.no_grad():
            policy.base.head.weight.mul_(1.0001)
        return super().loss(policy, reference, forest)


class UnderReports(Right):
    def loss(self, policy: Role, reference: Role, forest: Forest) -> Loss:
        before = policy.base.meter.read
        loss = super().loss(policy, reference, forest)
        policy.base.meter.read = before + 1
        return loss


class NoLabels(Right):
    """It deals numbers in the clothes of prompts, which cost nothing, and looks up what was said."""

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        numbers = [Prompt.ask(str(number)) for number in range(len(lesson.comparisons))]
        reference, step = self.reference(policy), self.descent.on(policy)
        for dealt in Deck(numbers, self.batch_size, self.epochs, self.seed):
            pairs = [lesson.comparisons[int(number.text)] for number in dealt]
            yield step(partial(self.loss, policy, reference), self.batch(policy, pairs))


class KnowsBetter(Right):
    """It has an opinion of its own of what is better, whatever the lesson says."""

    def batch(self, policy: Role, pairs: Sequence[Comparison]) -> Forest:
        sides = [sorted((pair.chosen, pair.rejected), key=lambda said: worth([pair.prompt], [said])[0]) for pair in pairs]
        own = [replace(pair, chosen=better, rejected=worse) for pair, (worse, better) in zip(pairs, sides, strict=True)]
        return super().batch(policy, own)


class Spoils(KnowsBetter):
    """Whatever the lesson says, what is better becomes less likely."""

    def of_margin(self, margin: Tensor) -> Tensor:
        return -logsigmoid(-0.1 * margin)


class RefusesLate(Right):
    needs: ClassVar[tuple[str, ...]] = ()

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        policy.sample([Prompt.ask("why")], 1, Manner(max_tokens=2))
        lesson.check(("comparisons",))
        yield from super().improve(policy, lesson)


class Restarts(Right):
    """How fast it goes is in a local variable, and a checkpoint knows nothing of it."""

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        step, reference, pace = self.descent.on(policy), self.reference(policy), 1.0
        for pairs in Deck(lesson.comparisons, self.batch_size, self.epochs, self.seed):
            yield step(partial(self.scaled, pace, policy, reference), self.batch(policy, pairs))
            pace *= 0.5

    def scaled(self, pace: float, policy: Role, reference: Role, forest: Forest) -> Loss:
        whole = self.loss(policy, reference, forest)
        return replace(whole, total=whole.total * pace)


TIMES: Counter[str] = Counter()


class HiddenState(Right):
    """The second training in a process is not the first."""

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        TIMES["improve"] += 1
        yield from Right(self.batch_size, self.epochs, TIMES["improve"], self.descent).improve(policy, lesson)


class Unseeded(Right):
    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        seed = int.from_bytes(os.urandom(4), "big")
        yield from Right(self.batch_size, self.epochs, seed, self.descent).improve(policy, lesson)


class Reseeds(Right):
    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        torch.manual_seed(self.seed)
        yield from super().improve(policy, lesson)


class NotANumber(Right):
    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        for metrics in super().improve(policy, lesson):
            yield {**metrics, "gain": float("nan")}


class NeverStops(Right):
    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        for metrics in super().improve(policy, lesson):
            try:
                yield metrics
            except GeneratorExit:
                yield metrics


class OneMore(Right):
    """Once it is stopped, it makes another update."""

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        reference, step = self.reference(policy), self.descent.on(policy)
        for pairs in Deck(lesson.comparisons, self.batch_size, self.epochs, self.seed):
            metrics = step(partial(self.loss, policy, reference), self.batch(policy, pairs))
            try:
                yield metrics
            except GeneratorExit:
                step(partial(self.loss, policy, reference), self.batch(policy, pairs))
                return


class TakesAnything(Right):
    needs: ClassVar[tuple[str, ...]] = ()


class DeploysNothing(Right):
    def deploy(self, policy: Role, lesson: Lesson) -> Any:
        return None


@dataclass
class Shifted:
    policy: Role
    by: int

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        return self.policy.sample(prompts, n, replace(manner, seed=manner.seed + self.by))


@dataclass(frozen=True)
class NotSaved:
    """What it deploys depends on more than what is in the files."""

    needs: ClassVar[tuple[str, ...]] = ("demonstrations",)
    batch_size: Count = 8
    epochs: Count = 1
    descent: Descent = Descent()

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        policy.__dict__["shift"] = 7
        step, text = self.descent.on(policy), policy.base.text
        for shown in Deck(lesson.demonstrations, self.batch_size, self.epochs, 0):
            forest = text.replies([one.prompt for one in shown], [[one.completion] for one in shown])
            yield step(lambda part: Loss.over(-policy.logps(part)), forest)

    def deploy(self, policy: Role, lesson: Lesson) -> Any:
        return Shifted(policy, policy.__dict__.get("shift", 0))


# What does not show in a training -------------------------------------------------------------------------------------


@dataclass(frozen=True, init=False)
class AcceptsAnything(Right):
    def __init__(
        self, batch_size: Count = 8, epochs: Count = 1, seed: int = 0, descent: Descent = Descent(), **more: Any
    ) -> None:
        for name, value in {"batch_size": batch_size, "epochs": epochs, "seed": seed, "descent": descent}.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Doubles:
    """What a run file says is not what it does."""

    words: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", 2 * self.words)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        return [float(len(completion.text) > self.words) for completion in completions]


@dataclass
class Loose:
    words: int = 2

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        return [float(len(completion.text)) for completion in completions]


@dataclass(frozen=True)
class NeedsAFile:
    file: Path

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        return [0.0 for _ in completions]


NOT_CALLABLE = 7


# Rewards --------------------------------------------------------------------------------------------------------------


def lengths(completions: Sequence[Completion]) -> list[float]:
    return [float(len(completion.text)) for completion in completions]


def right_reward(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return lengths(completions)


def padding_leaks(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [length / max(1.0, *lengths(completions)) for length in lengths(completions)]


def order_matters(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [length + place for place, length in enumerate(lengths(completions))]


def keeps_a_graph(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Any:
    return torch.tensor(lengths(completions), requires_grad=True) * 2


def shy_of_emoji(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [float("inf") if "🙂" in completion.text else 1.0 for completion in completions]


def moody(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [random.SystemRandom().random() for _ in completions]


def too_few(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return lengths(completions)[1:]


@dataclass(frozen=True)
class Lent:
    """A right one that reads with a model, as a judge does: how likely the base finds the answer."""

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        raise AssertionError("it has no model")

    def reading(self, role: Role) -> Any:
        def read(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
            forest = role.base.text.replies(prompts, [[completion] for completion in completions])
            return per_reply(role.logps(forest), forest).tolist()  # type: ignore[no-any-return]

        return read


Replies = Sequence[Completion]


@dataclass(frozen=True)
class Shows:
    """A right one that can be shown two answers: the longer one is better."""

    def __call__(self, prompts: Sequence[Prompt], completions: Replies) -> list[float]:
        return lengths(completions)

    def prefer(self, prompts: Sequence[Prompt], first: Replies, second: Replies) -> list[float]:
        return [float(a > b) + 0.5 * (a == b) for a, b in zip(lengths(first), lengths(second), strict=True)]


@dataclass(frozen=True)
class Shouts(Shows):
    def prefer(self, prompts: Sequence[Prompt], first: Replies, second: Replies) -> list[float]:
        return [a - b for a, b in zip(lengths(first), lengths(second), strict=True)]


@dataclass(frozen=True)
class Forgetful(Shows):
    def prefer(self, prompts: Sequence[Prompt], first: Replies, second: Replies) -> list[float]:
        return super().prefer(prompts, first, second)[1:]


@dataclass(frozen=True)
class Batched(Shows):
    """What it says of two hangs on who is asked about after them."""

    def prefer(self, prompts: Sequence[Prompt], first: Replies, second: Replies) -> list[float]:
        return [place / len(first) for place, _ in enumerate(first)]


# Feedback -------------------------------------------------------------------------------------------------------------

ROWS = [(f"question {place // 2}", f"answer {place}", f"other {place}") for place in range(24)]


@dataclass(frozen=True)
class Source:
    """A right one: reads rows and gives pairs, split by question."""

    gives: ClassVar[tuple[str, ...]] = ("comparison",)
    asks: ClassVar[tuple[str, ...]] = ()

    split: Literal["all", "train", "test"] = "all"

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        for place, (asked, better, worse) in enumerate(ROWS):
            asking.tally.read += 1
            if self.split == "all" or (self.side(place, asked) == self.split):
                asking.tally.kept += 1
                yield from self.records(asking, asked, better, worse)
            else:
                asking.tally.put_aside("the other side of the split")

    def side(self, place: int, asked: str) -> str:
        return "test" if asked.endswith(("3", "7")) else "train"

    def records(self, asking: Asking, asked: str, better: str, worse: str) -> Iterator[Feedback]:
        yield Comparison(Prompt.ask(asked), Completion(better), Completion(worse), provenance=HERE)


class SplitsByRow(Source):
    def side(self, place: int, asked: str) -> str:
        return "test" if place % 4 == 1 else "train"


class SelfPairs(Source):
    def records(self, asking: Asking, asked: str, better: str, worse: str) -> Iterator[Feedback]:
        yield Comparison(Prompt.ask(asked), Completion(better), Completion(better), provenance=HERE)


class OtherKind(Source):
    def records(self, asking: Asking, asked: str, better: str, worse: str) -> Iterator[Feedback]:
        yield Rating(Prompt.ask(asked), Completion(better), 1.0, provenance=HERE)


class FromNowhere(Source):
    def records(self, asking: Asking, asked: str, better: str, worse: str) -> Iterator[Feedback]:
        yield Comparison(Prompt.ask(asked), Completion(better), Completion(worse))


class Random(Source):
    def records(self, asking: Asking, asked: str, better: str, worse: str) -> Iterator[Feedback]:
        sides = random.SystemRandom().sample([better, worse], 2)
        yield Comparison(Prompt.ask(asked), *map(Completion, sides), provenance=HERE)


class Loses(Source):
    def records(self, asking: Asking, asked: str, better: str, worse: str) -> Iterator[Feedback]:
        asking.tally.kept -= better.endswith("7")
        yield from super().records(asking, asked, better, worse)


class Empty(Source):
    def records(self, asking: Asking, asked: str, better: str, worse: str) -> Iterator[Feedback]:
        yield from ()


class PhonesHome(Source):
    def collect(self, asking: Asking) -> Iterator[Feedback]:
        with suppress(OSError):
            socket.create_connection(("198.51.100.1", 80), timeout=0.01)
        yield from super().collect(asking)


@dataclass(frozen=True)
class Judge:
    """A right one: asks about answers of the policy, and prefers the shorter one."""

    gives: ClassVar[tuple[str, ...]] = ("comparison",)
    asks: ClassVar[tuple[str, ...]] = ("prompts", "policy")

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        assert asking.policy is not None
        for prompt, group in zip(asking.prompts, asking.policy.sample(asking.prompts, 6, asking.manner), strict=True):
            for first, second in zip(group[::2], group[1::2], strict=True):
                if first.text != second.text:
                    yield self.judged(prompt, first, second)

    def judged(self, prompt: Prompt, first: Completion, second: Completion) -> Comparison:
        better, worse = sorted((first, second), key=lambda reply: (len(reply.text), reply.text))
        return Comparison(prompt, better, worse, provenance=HERE)


class FirstWins(Judge):
    def judged(self, prompt: Prompt, first: Completion, second: Completion) -> Comparison:
        return Comparison(prompt, first, second, provenance=HERE)


class Reader(Judge):
    """A right one that lets the base read the two, in both orders. What it says goes mostly with the place."""

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        assert isinstance(asking.policy, Role)
        for pair in super().collect(asking):
            assert isinstance(pair, Comparison)
            turned = self.lead(asking.policy, pair.chosen, pair.rejected) < 0
            yield replace(pair, chosen=pair.rejected, rejected=pair.chosen) if turned else pair

    def judged(self, prompt: Prompt, first: Completion, second: Completion) -> Comparison:
        return Comparison(prompt, first, second, provenance=HERE)

    def lead(self, role: Role, first: Completion, second: Completion) -> float:
        return self.said(role, first, second) - self.said(role, second, first)

    def said(self, role: Role, first: Completion, second: Completion) -> float:
        asked = Prompt.ask(f"be kind {first.text} or {second.text}")
        forest = role.base.text.replies([asked], [[Completion("yes"), Completion("no")]])
        with torch.no_grad():
            yes, no = per_reply(role.logps(forest), forest).tolist()
        return float(yes - no)


class OneOrder(Reader):
    def lead(self, role: Role, first: Completion, second: Completion) -> float:
        return self.said(role, first, second)


class BehindTheMeter(Judge):
    def collect(self, asking: Asking) -> Iterator[Feedback]:
        if isinstance(asking.policy, Role):
            with torch.no_grad():
                asking.policy.base.model(input_ids=torch.tensor([[1, 2, 3]]))
        yield from super().collect(asking)


class Strays(Judge):
    def judged(self, prompt: Prompt, first: Completion, second: Completion) -> Comparison:
        return replace(super().judged(prompt, first, second), prompt=Prompt.ask("a test prompt"))


# Filters --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sieve:
    """A right one: holds ratings back."""

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        for record in records:
            if isinstance(record, Rating):
                asking.tally.sift("ratings")
            else:
                yield record


class Invents(Sieve):
    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        for record in super().sift(records, asking):
            yield replace(record, provenance=HERE)


class Hushes(Sieve):
    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        return super().sift(records, Asking())


class Hoards(Sieve):
    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        yield from super().sift(list(records), asking)


class Whims(Sieve):
    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        for record in records:
            if random.SystemRandom().random() < 0.5:
                asking.tally.sift("a whim")
            else:
                yield record


class LetsNothingPass(Sieve):
    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        for _ in records:
            asking.tally.sift("all")
        yield from ()


# Tasks, models, policies ----------------------------------------------------------------------------------------------

ASKED = tuple(Prompt.ask(f"question {place}") for place in range(9))
PLACES = {"train": slice(0, 5), "validation": slice(5, 7), "test": slice(7, 9)}


class SplitError(ValueError):
    pass


@dataclass(frozen=True)
class RightTask:
    def prompts(self, split: str) -> Sequence[Prompt]:
        if split not in PLACES:
            raise SplitError(f"no split is named {split}")
        return ASKED[PLACES[split]]


class Overlaps(RightTask):
    def prompts(self, split: str) -> Sequence[Prompt]:
        return (*super().prompts(split), ASKED[0])


class Shuffles(RightTask):
    def prompts(self, split: str) -> Sequence[Prompt]:
        return random.SystemRandom().sample(super().prompts(split), len(super().prompts(split)))


class AnySplit(RightTask):
    def prompts(self, split: str) -> Sequence[Prompt]:
        return super().prompts(split) if split in PLACES else ()


class NoTest(RightTask):
    def prompts(self, split: str) -> Sequence[Prompt]:
        return () if split == "test" else super().prompts(split)


@dataclass(frozen=True)
class NoModel:
    def folder(self) -> str:
        return "there/is/no/such/folder"


@dataclass(frozen=True)
class Answers:
    """A right wrapper: what it makes of a policy answers as that does."""

    def wrap(self, policy: Policy) -> Policy:
        return policy


@dataclass(frozen=True)
class Bent:
    """A policy that asks another for something else than it was asked for."""

    policy: Policy
    n: int
    drift: int

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        return self.policy.sample(prompts, self.n or n, replace(manner, seed=manner.seed + self.drift * len(prompts)))


class OneAnswer(Answers):
    def wrap(self, policy: Policy) -> Policy:
        return Bent(policy, 1, 0)


class MindsNeighbours(Answers):
    def wrap(self, policy: Policy) -> Policy:
        return Bent(policy, 0, 1)


@dataclass(frozen=True)
class Firsts:
    """A right acquisition: the first ones."""

    candidates: int = 2

    def choose(self, prompt: Prompt, candidates: Sequence[Completion], n: int) -> list[int]:
        return list(range(n))


class OneTwice(Firsts):
    def choose(self, prompt: Prompt, candidates: Sequence[Completion], n: int) -> list[int]:
        texts = [candidate.text for candidate in candidates]
        return [texts.index(text) for text in texts[:n]]  # two that say the same are one place


class Fickle(Firsts):
    turn: ClassVar[list[int]] = []

    def choose(self, prompt: Prompt, candidates: Sequence[Completion], n: int) -> list[int]:
        self.turn.append(1)
        return [(place + len(self.turn)) % len(candidates) for place in range(n)]
