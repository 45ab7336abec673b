"""The verbs: the page to read first.

Four small protocols. A plugin implements one of them and inherits from nothing. A `Policy` samples, a `Reward` scores, a
`FeedbackSource` collects, an `Optimizer` improves and deploys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

from annotated_types import Ge, Gt, Interval

from alignzoo.limits import check_settings
from alignzoo.records import (
    Comparison,
    Completion,
    Demonstration,
    Feedback,
    Prompt,
    Ranking,
    Rating,
    comparisons_in,
    demonstrations_in,
    ratings_in,
)
from alignzoo.tally import Tally

if TYPE_CHECKING:
    from alignzoo.model.role import Role

Metrics = dict[str, float]


@dataclass(frozen=True)
class Manner:
    """How to sample. `temperature` 0 is greedy. A reply depends on its prompt, its number among the n, and `seed`; never
    on its neighbours in the batch. A reply that says one of `stop` is finished there, and its text ends before it."""

    max_tokens: Annotated[int, Ge(1)] = 64
    temperature: Annotated[float, Ge(0)] = 1.0
    top_p: Annotated[float, Interval(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Ge(0)] = 0
    min_p: Annotated[float, Interval(ge=0, le=1)] = 0.0
    seed: Annotated[int, Ge(0)] = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.stop, str):  # it would be taken letter by letter
            raise ValueError(f"stop is a list of texts, even of one: ({self.stop!r},)")
        check_settings(self)
        if not (self.temperature == 0 or self.temperature >= 1e-6):  # logits divided by less are no numbers any more
            raise ValueError(f"temperature is 0, for greedy, or at least 1e-6; got {self.temperature:g}")
        if "" in self.stop:
            raise ValueError("an empty stop string would end every reply before it begins; leave it out")


@runtime_checkable
class Policy(Protocol):
    """Answers prompts."""

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        """Return `n` completions for each prompt, in the order of the prompts."""
        ...


@runtime_checkable
class Wrapper(Protocol):
    """Makes a policy of another: instructions before every prompt, a veto, a choice among several answers. Its fields are its
    settings. What it answers by choosing has no log-probabilities, and is given without any."""

    def wrap(self, policy: Policy) -> Policy:
        """Return what answers in the place of `policy`."""
        ...


@runtime_checkable
class Distant(Protocol):
    """A policy made of another, whose answers have no log-probabilities but whose distance from it is known by a formula."""

    @property
    def kl(self) -> float:
        """KL from the policy that it was made of, in nats per answer."""
        ...


@runtime_checkable
class Graded(Protocol):
    """A policy with a strength that is chosen and not trained, as best-of-n has its n."""

    def grades(self, prompts: Sequence[Prompt], manner: Manner, gold: Reward) -> Iterator[Mapping[str, object]]:
        """For each strength up to its own, what it is worth: `strength`, `kl` in nats by its formula, and for each prompt a
        value of `proxy` (what it chooses by), of `gold`, and, where the formula is only a bound, of `kl_estimated`."""
        ...


@runtime_checkable
class Reward(Protocol):
    """Says how good answers are."""

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Sequence[float]:
        """Return one finite score for each (prompt, completion); higher is better."""
        ...


@runtime_checkable
class Valued(Protocol):
    """A reward that can be taken apart: the same answers scored by each value alone (helpful, harmless, …)."""

    def by_value(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Mapping[str, Sequence[float]]:
        """Return the scores under each value's name."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """A reward whose scores, and those of its values, cannot be outside two numbers. Reports give them intervals that do not
    reach beyond."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that it can say."""
        ...


@runtime_checkable
class Comparing(Protocol):
    """A reward that can also be shown two answers to one prompt, as a judge is. Whoever asks shows them in both orders: what it
    owes to the place cancels, and is told."""

    def prefer(self, prompts: Sequence[Prompt], first: Sequence[Completion], second: Sequence[Completion]) -> Sequence[float]:
        """Return for each prompt the probability, in [0, 1], that the answer shown first is the better one; one half for a
        tie, nan where the verdict cannot be read."""
        ...


@runtime_checkable
class Reading(Protocol):
    """A reward that reads with a model, as a judge does, and has none of its own: the run lends it the base."""

    def reading(self, role: Role) -> Reward:
        """This reward, reading with `role`: the run's base, no adapter on it, which nobody trains."""
        ...


@runtime_checkable
class Borrowing(Protocol):
    """A reward that reads with a lent base under some of its settings alone, as a judge does that may be behind an endpoint."""

    @property
    def borrows(self) -> bool:
        """Whether it needs the base, as it is set. If not, nobody loads one for it."""
        ...


@dataclass(frozen=True)
class Asking:
    """What a run can offer to a feedback source. A corpus that is read needs none of it; an oracle that is asked about
    candidates takes the prompts and a policy that writes the candidates (or is the judge)."""

    prompts: Sequence[Prompt] = ()
    policy: Policy | None = None
    manner: Manner = Manner()
    seed: int = 0
    evaluation: Sequence[Prompt] = ()
    """The prompts that the run will be judged on, for filters that keep feedback apart from them."""
    tally: Tally = field(default_factory=Tally)
    """Where a source that reads tells what it left out, and why."""


@runtime_checkable
class FeedbackSource(Protocol):
    """Gathers somebody's judgement: readers' votes, annotators, another model. Its fields are its settings."""

    @property
    def gives(self) -> tuple[str, ...]:
        """The kinds of record that it yields as it is set: "demonstration", "comparison", "ranking", "rating", "critique"."""
        ...

    @property
    def asks(self) -> tuple[str, ...]:
        """What it needs from the run as it is set: any of "prompts" and "policy"; nothing for a corpus."""
        ...

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """Yield records as they come, each with its provenance; the same ones for the same settings and seed."""
        ...


@runtime_checkable
class Acquisition(Protocol):
    """Chooses which of the answers that a policy writes are worth a judgement: a source is asked about no others. Its fields
    are its settings."""

    @property
    def candidates(self) -> int:
        """How many answers are written for each one that is asked about."""
        ...

    def choose(self, prompt: Prompt, candidates: Sequence[Completion], n: int) -> Sequence[int]:
        """Return the places of `n` different candidates."""
        ...


@runtime_checkable
class Filter(Protocol):
    """Stands between a source and the run, and holds records back. Its fields are its settings."""

    def sift(self, records: Iterable[Feedback], asking: Asking) -> Iterator[Feedback]:
        """Yield what may pass, as it comes, and tell the tally of the rest."""
        ...


@runtime_checkable
class Task(Protocol):
    """Prompts to learn on and, strictly apart from them, prompts to be judged on."""

    def prompts(self, split: str) -> Sequence[Prompt]:
        """The prompts of "train", "validation" or "test". No group of prompts is in two splits, unless the task is `Closed`."""
        ...


@runtime_checkable
class Closed(Protocol):
    """A task that can hold nothing out, because its prompts are all that there are: the same ones in every split."""

    @property
    def closed(self) -> str:
        """Why that is so, for the reader of a run."""
        ...


@runtime_checkable
class ModelSource(Protocol):
    """Knows where a base model is."""

    def folder(self) -> str:
        """A local folder, or a hub name, that `transformers` can load a causal language model and tokenizer from."""
        ...


class LessonError(ValueError):
    """An optimizer needs something that this run does not have."""


def no_reward(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Sequence[float]:
    """The reward of a lesson without one."""
    raise LessonError('this run has no reward; name one in the run file: [reward] use = "reward:…"')


@dataclass(frozen=True)
class Lesson:
    """All that an optimizer may learn from. What a run does not have is empty, never None."""

    prompts: Sequence[Prompt] = ()
    demonstrations: Sequence[Demonstration] = ()
    comparisons: Sequence[Comparison] = ()
    rankings: Sequence[Ranking] = ()
    ratings: Sequence[Rating] = ()
    reward: Reward = no_reward

    @classmethod
    def of(cls, feedback: Iterable[Feedback], *, prompts: Sequence[Prompt] = (), reward: Reward = no_reward) -> Lesson:
        """Everything that this feedback teaches, in every form that it can take (see the conversions in `records`)."""
        kept = tuple(feedback)
        return cls(
            prompts=prompts,
            demonstrations=tuple(demonstrations_in(kept)),
            comparisons=tuple(comparisons_in(kept)),
            rankings=tuple(record for record in kept if isinstance(record, Ranking)),
            ratings=tuple(ratings_in(kept)),
            reward=reward,
        )

    def check(self, needs: Iterable[str]) -> None:
        """Raise `LessonError`, before any work is done, if something needed is missing or is of another kind."""
        have = {name: bool(getattr(self, name)) for name in _KINDS} | {"reward": self.reward is not no_reward}
        if missing := [need for need in needs if not have[need]]:
            present = [name for name, there in have.items() if there]
            raise LessonError(
                f"this run lacks {' and '.join(missing)}; it has {', '.join(present) or 'nothing'}. "
                "Choose a feedback source that gives it, or an optimizer that does not need it"
            )
        for name in (need for need in needs if need in _KINDS):
            kind = _KINDS[name]
            for place, record in enumerate(getattr(self, name)):
                if not isinstance(record, kind):
                    raise LessonError(
                        f"{name}[{place}] is a {type(record).__name__}, where a lesson holds {kind.__name__} records. "
                        "Prompt.ask(text) makes one of a question; Lesson.of(feedback) puts judgements where they belong"
                    )


_KINDS: Mapping[str, type] = {
    "prompts": Prompt,
    "demonstrations": Demonstration,
    "comparisons": Comparison,
    "rankings": Ranking,
    "ratings": Rating,
}
"""What the records of a lesson are."""


@runtime_checkable
class Optimizer(Protocol):
    """An alignment algorithm. A frozen dataclass: its fields are its hyper-parameters."""

    @property
    def needs(self) -> tuple[str, ...]:
        """What its lesson must hold, as it is set: ("comparisons",), ("prompts", "reward"), …"""
        ...

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        """Update `policy` in place, yielding once per update. The caller may stop pulling at any time."""
        ...

    def deploy(self, policy: Role, lesson: Lesson) -> Policy | Reward:
        """Return what training was for: what answers prompts, most often `policy` itself, or what scores answers."""
        ...


@runtime_checkable
class Choosy(Protocol):
    """An optimizer that can learn nothing from some records, though they are of the kinds that it needs: from thumbs that are
    all up, say. A run asks it when the feedback is gathered, before a model is loaded."""

    def check_feedback(self, lesson: Lesson) -> None:
        """Raise `LessonError` where nothing can be learned from these records, nor from any of them alone: some may be left out
        later. There are neither prompts nor a reward in the lesson yet."""
        ...


@runtime_checkable
class Writing(Protocol):
    """An optimizer that has the lesson's prompts answered while it learns. What leaves its answers no room is refused before
    anything is trained."""

    @property
    def longest(self) -> int:
        """Tokens of the longest answer that it asks for."""
        ...


@runtime_checkable
class Framing(Protocol):
    """A wrapper, or an optimizer by what it deploys, that has a policy answer more than was asked: instructions before every
    prompt, say. A prompt that it leaves no room for is refused before anything is trained."""

    def framed(self, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
        """Return the prompts as that policy is shown them."""
        ...


Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Interval(ge=0, le=1)]
Count = Annotated[int, Ge(1)]
Seed = Annotated[int, Ge(0)]
