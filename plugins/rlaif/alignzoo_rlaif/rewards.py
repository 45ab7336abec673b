"""A judge as a reward: direct RLAIF (Lee et al. 2023), and factual consistency by an entailment question (Roit et al. 2023)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from alignzoo.interfaces import Reward
from alignzoo.records import Completion, Prompt
from alignzoo_rlaif.form import Form
from alignzoo_rlaif.hiring import Hired
from alignzoo_rlaif.judging import Case, Judge, JudgeError

if TYPE_CHECKING:
    from alignzoo.model.role import Role

_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class AIJudge:
    """What a judge finds an answer worth, from -1 to 1: for PPO, RLOO, best-of-N, or as the judge of a run."""

    judge: Hired = Hired()
    """Who judges, and how: by expected score, or by the chance of beating a reference (rates_by)."""
    question: str = "How good is the reply? A good reply is helpful, honest and harmless."
    """What the judge is asked; where it compares with a reference, ask which reply is better."""
    between: str = "Which reply is better? A good reply is helpful, honest and harmless."
    """What it is asked where it is shown two replies, as in the duels of a bench."""

    def __post_init__(self) -> None:
        for name, asked in (("question", self.question), ("between", self.between)):
            if not asked.strip():
                raise JudgeError(f"{name}: a judge must be asked something")

    @property
    def borrows(self) -> bool:
        """Whether the judge is the run's base."""
        return self.judge.which == "local" and not self.judge.model

    def reading(self, role: Role) -> Reward:
        """This reward, with the run's base to read with."""
        return Asked(self.judge.judge(role), self.question, self.between)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        """Without a run: for a judge that needs no base of it."""
        return self._alone(prompts, completions)

    def prefer(self, prompts: Sequence[Prompt], first: Sequence[Completion], second: Sequence[Completion]) -> list[float]:
        """The same of two replies to each prompt: how likely the one shown first is the better one."""
        return self._alone.prefer(prompts, first, second)

    @cached_property
    def _alone(self) -> Asked:
        """Hired once: a judge of its own is loaded, and a file of verdicts read, for all that is asked."""
        return Asked(self.judge.judge(None), self.question, self.between)


@dataclass(frozen=True)
class Asked:
    """A judge that has its question."""

    judge: Judge
    question: str
    between: str = ""

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        """One rating for each answer."""
        return self.judge.rate(prompts, completions, self.question)

    def prefer(self, prompts: Sequence[Prompt], first: Sequence[Completion], second: Sequence[Completion]) -> list[float]:
        """How likely the reply shown first is the better one, for each two."""
        return self.judge.prefer([Case(*one) for one in zip(prompts, first, second, strict=True)], self.between)


@dataclass(frozen=True)
class Consistency:
    """Whether an answer says only what its prompt supports, from -1 to 1: the judge's entailment question, put of each
    sentence or of the whole."""

    judge: Hired = Hired(form=Form(scale=("no", "yes"), rating="The answer is {score}"))
    """Who judges, on a scale that goes from "no" to "yes"."""
    question: str = "Is everything that the reply says supported by the text above it?"
    """What the judge is asked of each part."""
    of: Literal["reply", "sentences"] = "sentences"
    """Put the question of the whole reply, or of each sentence, of which the least supported one counts."""

    def reading(self, role: Role) -> Reward:
        """This reward, with the run's base to read with."""
        return Entailed(self.judge.judge(role), self.question, self.of)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        """Without a run: for a judge that needs no base of it."""
        return Entailed(self.judge.judge(None), self.question, self.of)(prompts, completions)


@dataclass(frozen=True)
class Entailed:
    """A judge that is asked of parts of replies. A chain is as strong as its weakest link: the worst part counts."""

    judge: Judge
    question: str
    of: Literal["reply", "sentences"]

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        """One rating for each answer; an empty one says nothing that is not supported, and nothing at all: 0."""
        parts = [sentences(done) if self.of == "sentences" else [done] * bool(done.text.strip()) for done in completions]
        asked = [prompt for prompt, said in zip(prompts, parts, strict=True) for _ in said]
        rated = iter(self.judge.rate(asked, [part for said in parts for part in said], self.question) if asked else ())
        return [min((next(rated) for _ in said), default=0.0) for said in parts]


def sentences(completion: Completion) -> list[Completion]:
    """Each sentence as a reply of its own; only the last can have been cut."""
    said = [part for part in _SENTENCE.split(completion.text.strip()) if part]
    return [Completion(part, finished=completion.finished or place < len(said) - 1) for place, part in enumerate(said)]
