"""A constitution at the moment of answering: a policy that keeps to principles without having been trained to.

    instruction   y ~ π(·| principles, x)
    revision      y₀ ~ π(·|x), then critique and revision, round after round (`rounds`)
    choice        y₁ … y_N ~ π(·|x), and the one that a judge finds best: with sᵢ(p) the mean probability that yᵢ beats another
                  reply under principle p, the geometric mean of sᵢ over the principles, or its worst

Principles belong to a request: `under(ids)` gives the same policy with those alone, and with none of them it is the policy
itself, to the bit. What was applied to each answer is in `applied`.

Left out: principles that are chosen by what a request is about.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from alignzoo.interfaces import Count, Lesson, Manner, Metrics, Policy
from alignzoo.limits import check_settings
from alignzoo.model.role import Role
from alignzoo.records import Completion, Prompt, Turn
from alignzoo_rlaif.constitution import Constitution, Principle, read_constitution
from alignzoo_rlaif.critique_revision import bare
from alignzoo_rlaif.hiring import Hired
from alignzoo_rlaif.judging import Case, Judge
from alignzoo_rlaif.preferences import opinions
from alignzoo_rlaif.rounds import Layout, revise_in_rounds, stream

Way = Literal["instruction", "revision", "choice"]
Together = Literal["geometric", "worst"]
_LEAST = 1e-6
"""The least probability that a logarithm is taken of."""


@dataclass(frozen=True)
class Constitutional:
    """Trains nothing: deploys the policy under a constitution."""

    needs: ClassVar[tuple[str, ...]] = ()

    constitution: str = ""
    """The file of principles; with none, the policy answers as it does."""
    principles: tuple[str, ...] = ()
    """The ids of those that are used; all if empty."""
    way: Way = "revision"
    """How they are applied: told to the policy before the prompt, by critique and revision, or by a judge's choice."""
    rounds: Count = 1
    """Of critique and revision."""
    layout: Layout = "dialogue"
    """How the critic is asked: in further turns of the dialogue, or in one turn, a line for each thing."""
    temperature: Annotated[float, Ge(0)] = 1.0
    """Of critiques and revisions; 0 is greedy."""
    max_tokens: Count = 96
    """The longest critique, and the longest revision."""
    n: Annotated[int, Ge(2)] = 4
    """N: answers among which a judge chooses, each against each."""
    together: Together = "geometric"
    """How the principles of a choice come together: by the geometric mean, in which none can be given up, or by the worst."""
    judge: Hired = field(default_factory=Hired)
    """Who chooses."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.principles and not self.constitution:
            raise ValueError("principles are picked from a constitution; name its file")
        _ = self.ruling

    @cached_property
    def rules(self) -> Constitution | None:
        """The constitution, read when the settings are: before any model is loaded."""
        return read_constitution(self.constitution) if self.constitution else None

    @property
    def ruling(self) -> tuple[Principle, ...]:
        """The principles that are applied, with their questions."""
        use: Mapping[Way, Literal["revision", "comparison", "instruction"]]
        use = {"instruction": "instruction", "revision": "revision", "choice": "comparison"}
        return self.rules.only(self.principles).serving(use[self.way]) if self.rules else ()

    def framed(self, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
        """The prompts as the policy is shown them. A revision that outgrows the context is left out, and counted."""
        told = self.ruling if self.way == "instruction" else ()
        return [instructed(prompt, told) for prompt in prompts] if told else prompts

    def improve(self, policy: Policy, lesson: Lesson) -> Iterator[Metrics]:
        yield from ()

    def deploy(self, policy: Policy, lesson: Lesson) -> Policy:
        critic = bare(policy, "reviser")
        reader = bare(policy, "judge")
        judge = self.judge.judge(reader if isinstance(reader, Role) else None) if self.way == "choice" else None
        return Guided(self, policy, self.ruling, critic, judge)


@dataclass
class Guided:
    """What answers: a policy, the principles of this request, and who helps it to keep to them."""

    how: Constitutional
    policy: Policy
    principles: tuple[Principle, ...]
    critic: Policy
    judge: Judge | None = None
    applied: list[list[tuple[str, ...]]] = field(default_factory=list, init=False)
    """The ids of the principles that were applied to each answer of the last request."""

    def under(self, ids: Sequence[str]) -> Guided:
        """The same for a request with principles of its own; none of them: the policy as it is."""
        known = {principle.id: principle for principle in self.how.ruling}
        if odd := [id for id in ids if id not in known]:
            raise ValueError(f"there is no principle '{odd[0]}' that serves by {self.how.way}; there is {', '.join(known)}")
        return replace(self, principles=tuple(known[id] for id in ids))

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        """`n` answers to each prompt. An answer that was revised or chosen carries no log-probabilities: those of its words are
        not the policy's for this prompt."""
        if not self.principles:
            self.applied = [[()] * n for _ in prompts]
            return self.policy.sample(prompts, n, manner)
        answers, self.applied = WAYS[self.how.way](self, prompts, n, manner)
        return answers


Answers = tuple[list[list[Completion]], list[list[tuple[str, ...]]]]


def by_instruction(guided: Guided, prompts: Sequence[Prompt], n: int, manner: Manner) -> Answers:
    """Answers to the prompts with the principles before them. Their log-probabilities are those under the principles."""
    told = [instructed(prompt, guided.principles) for prompt in prompts]
    ids = tuple(principle.id for principle in guided.principles)
    return guided.policy.sample(told, n, manner), [[ids] * n for _ in prompts]


def by_revision(guided: Guided, prompts: Sequence[Prompt], n: int, manner: Manner) -> Answers:
    """The policy's own answers, revised. Where no revision can be used the answer stays as it was, under no principle."""
    how = guided.how
    drafts = guided.policy.sample(prompts, n, manner)
    asked = [prompt for prompt in prompts for _ in range(n)]
    manners = Manner(how.max_tokens, how.temperature, seed=stream(manner.seed, "revise"))
    flat = [draft for group in drafts for draft in group]
    chains = revise_in_rounds(guided.critic, asked, flat, guided.principles, how.rounds, how.layout, manners) if flat else []
    told = [replace(chain[-1].best, logps=()) for chain in chains]
    used = [tuple(one.principle.id for one in chain if not one.flaw) for chain in chains]
    places = range(0, len(flat), n)
    return [told[place : place + n] for place in places], [used[place : place + n] for place in places]


def by_choice(guided: Guided, prompts: Sequence[Prompt], n: int, manner: Manner) -> Answers:
    """Of N answers the one that keeps best to all principles. Answers that were cut are not judged, and chosen only where there
    is no other."""
    assert guided.judge is not None
    picks: list[list[Completion]] = []
    for number in range(n):
        seed = stream(manner.seed, "choice", number)
        groups = guided.policy.sample(prompts, guided.how.n, replace(manner, seed=seed))
        fields = [_distinct(group) for group in groups]
        scores = contest(guided.judge, prompts, fields, guided.principles, guided.how.together)
        picks.append([_best(own, s, f"{seed}/{x.id}") for x, own, s in zip(prompts, fields, scores, strict=True)])
    ids = tuple(principle.id for principle in guided.principles)
    return [[replace(y, logps=()) for y in group] for group in zip(*picks, strict=True)], [[ids] * n for _ in prompts]


WAYS: Mapping[Way, Callable[[Guided, Sequence[Prompt], int, Manner], Answers]] = {
    "instruction": by_instruction,
    "revision": by_revision,
    "choice": by_choice,
}


def instructed(prompt: Prompt, principles: Sequence[Principle]) -> Prompt:
    """The prompt with the principles before it, in front of what the system says already."""
    rules = "Keep to these principles:\n" + "\n".join(f"- {principle.text}" for principle in principles)
    first, *rest = prompt.turns
    if first.speaker == "system":
        return Prompt((Turn("system", f"{rules}\n\n{first.text}"), *rest))
    return Prompt((Turn("system", rules), *prompt.turns))


def contest(
    judge: Judge,
    prompts: Sequence[Prompt],
    fields: Sequence[Sequence[Completion]],
    principles: Sequence[Principle],
    together: Together,
) -> list[list[float]]:
    """A score for each reply of each prompt's field: every two of a field are compared under every principle."""
    places = [(f, i, j) for f, own in enumerate(fields) for i in range(len(own)) for j in range(i)]
    cases = [Case(prompts[f], fields[f][i], fields[f][j]) for f, i, j in places]
    told = opinions(judge, cases, [principles] * len(cases)) if cases else []
    wins = [[[0.0] * len(principles) for _ in own] for own in fields]
    for (f, i, j), opinion in zip(places, told, strict=True):
        for p, verdict in enumerate(opinion.verdicts):
            wins[f][i][p] += verdict.label / (len(fields[f]) - 1)
            wins[f][j][p] += (1 - verdict.label) / (len(fields[f]) - 1)
    weights = [principle.weight for principle in principles]
    return [[joined(chances, weights, together) for chances in own] for own in wins]


def joined(chances: Sequence[float], weights: Sequence[float], together: Together) -> float:
    """What the principles come to: their weighted geometric mean, exp(Σ w log s / Σ w), or the worst of them."""
    if together == "worst":
        return min(chances)
    logs = [w * math.log(max(_LEAST, s)) for s, w in zip(chances, weights, strict=True)]
    return math.exp(math.fsum(logs) / math.fsum(weights))


def _distinct(group: Sequence[Completion]) -> list[Completion]:
    """What is judged of a group: its different texts, without those that were cut if any was not."""
    whole = [reply for reply in group if reply.finished] or list(group)
    return list({reply.text: reply for reply in reversed(whole)}.values())[::-1]


def _best(replies: Sequence[Completion], scores: Sequence[float], seed: str) -> Completion:
    """The highest score; among equals any."""
    highest = max(scores)
    return Random(seed).choice([reply for reply, score in zip(replies, scores, strict=True) if score == highest])
