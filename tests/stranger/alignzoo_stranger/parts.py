"""The smaller parts: a reward, a source that asks, a filter, an acquisition, a wrapper, a task."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from alignzoo.interfaces import Asking, Count, Manner, Policy, Share
from alignzoo.records import (
    Comparison,
    Completion,
    Feedback,
    Prompt,
    Provenance,
    Turn,
    from_json,
    ratings_of_comparison,
    to_json,
)


@dataclass(frozen=True)
class Short:
    free: Count = 3

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        return [-float(max(0, len(reply.text.split()) - self.free)) for reply in completions]

    def by_value(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> dict[str, list[float]]:
        return {"short": self(prompts, completions)}


@dataclass(frozen=True)
class Asked:
    gives: ClassVar[tuple[str, ...]] = ("comparison",)
    asks: ClassVar[tuple[str, ...]] = ("prompts", "policy")

    count: Count = 8
    tie: Share = 0.0

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        assert asking.policy is not None
        prompts = list(asking.prompts)[: self.count]
        for prompt, (one, other) in zip(prompts, asking.policy.sample(prompts, 2, asking.manner), strict=True):
            asking.tally.read += 1
            if one.text == other.text:
                asking.tally.drop("both say the same", prompt.id)
                continue
            asking.tally.kept += 1
            better, worse = sorted((one, other), key=lambda reply: len(reply.text))
            record = Comparison(prompt, better, worse, 1.0 - self.tie, Provenance("stranger", annotator="a ruler"))
            assert from_json(to_json(record)) == record
            assert [rating.score for rating in ratings_of_comparison(record)] == [1.0 - self.tie, 1.0 - (1.0 - self.tie)]
            yield record


@dataclass(frozen=True)
class Distinct:
    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        seen: set[str] = set()
        for record in records:
            if record.prompt.id in seen:
                asking.tally.sift("stranger", record.prompt.id)
            else:
                seen.add(record.prompt.id)
                yield record


@dataclass(frozen=True)
class Ends:
    candidates: Count = 2

    def choose(self, prompt: Prompt, candidates: Sequence[Completion], n: int) -> list[int]:
        return [0, len(candidates) - 1][:n]


@dataclass(frozen=True)
class Trimming:
    policy: Policy
    words: int

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        groups = self.policy.sample(prompts, n, manner)
        return [[Completion(" ".join(reply.text.split()[: self.words])) for reply in group] for group in groups]


@dataclass(frozen=True)
class Trimmed:
    words: Count = 2

    def wrap(self, policy: Policy) -> Policy:
        return Trimming(policy, self.words)


@dataclass(frozen=True)
class Things:
    def prompts(self, split: str) -> Sequence[Prompt]:
        things = {"train": ("cat", "dog", "bird", "fish", "tree", "house", "river", "stone"), "test": ("sun", "moon")}
        return tuple(Prompt((Turn("user", f"tell i about the {thing}"),)) for thing in things.get(split, ("sky",)))
