"""Rewards that are read off the words. They know nothing of what is said, so a policy that is strong enough will please them
with nonsense: use them to try an algorithm out, to watch one property, or as a part of a reward.

`Sentiment` is the compound score of VADER (Hutto and Gilbert 2014); `Rouge` is the overlap with a reference (Lin 2004);
`Length` takes something off for every word too many.

Libraries and files are looked for when a reward is made, before any model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge

from alignzoo.interfaces import Positive
from alignzoo.records import Completion, Prompt, RecordError, prompt_from_row
from alignzoo.rows import Cells, Fault, rows_in


class LexicalError(ValueError):
    """A reward that cannot be made as asked."""


def library(module: str) -> Any:
    """A library of the extra `lexical`, or what to do about its absence."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise LexicalError(f"the library '{error.name}' is not installed; get it by: pip install 'alignzoo[lexical]'") from None


# Sentiment ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sentiment:
    """How friendly an answer's words are, from −1 to 1. It has no settings."""

    def __post_init__(self) -> None:
        _ = self.analyzer

    @cached_property
    def analyzer(self) -> Any:
        return library("vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer()

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        return [float(self.analyzer.polarity_scores(said.text)["compound"]) for said in completions]


# Overlap with a reference ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rouge:
    """How much of a reference is in an answer and of the answer in the reference: the F-measure, from 0 to 1."""

    file: Path
    """JSON lines, each with a "prompt" (a text) or "turns" (a list), and the "reference" answer to it."""
    variant: Literal["rouge1", "rouge2", "rougeL"] = "rougeL"
    """Shared words, shared pairs of neighbours, or the longest common run of words with gaps."""

    def __post_init__(self) -> None:
        _ = self.scorer, self.references

    @cached_property
    def scorer(self) -> Any:
        return library("rouge_score.rouge_scorer").RougeScorer([self.variant])

    @cached_property
    def references(self) -> Mapping[str, str]:
        return read_references(self.file)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        return [self._overlap(prompt, said.text) for prompt, said in zip(prompts, completions, strict=True)]

    def _overlap(self, prompt: Prompt, text: str) -> float:
        if prompt.id not in self.references:
            raise LexicalError(f"{self.file} has no reference for the prompt {prompt.text[:60]!r}; add a line for it")
        return float(self.scorer.score(self.references[prompt.id], text)[self.variant].fmeasure)


def read_references(file: Path) -> dict[str, str]:
    """Reference answers by the id of their prompt."""
    if not file.is_file():
        raise LexicalError(f"there is no file {file}; it should hold lines such as {_LINE}")
    references: dict[str, str] = {}
    for place, row in rows_in(file, ".jsonl"):
        where = str(file.with_name(place))
        prompt, reference = _reference(row, where)
        if references.setdefault(prompt.id, reference) != reference:
            raise LexicalError(f"{where}: this prompt has another reference above; each has one")
    if not references:
        raise LexicalError(f"{file} is empty; it should hold lines such as {_LINE}")
    return references


_LINE = '{"prompt": "…", "reference": "…"}'


def _reference(row: Cells | Fault, where: str) -> tuple[Prompt, str]:
    if isinstance(row, Fault):
        raise LexicalError(f"{where}: {row.reason}; a line holds a prompt and its reference: {_LINE}")
    if set(row) not in ({"prompt", "reference"}, {"turns", "reference"}):
        raise LexicalError(f"{where}: a line holds a prompt and its reference: {_LINE}")
    if not isinstance(row["reference"], str) or not isinstance(row.get("prompt", ""), str):
        raise LexicalError(f"{where}: prompt and reference are texts: {_LINE}")
    try:
        prompt = Prompt.ask(row["prompt"]) if "prompt" in row else prompt_from_row({"turns": row["turns"]})
        "".join((row["reference"], *(turn.text for turn in prompt.turns))).encode()
    except (RecordError, UnicodeEncodeError) as error:
        raise LexicalError(f"{where}: {error}") from None
    return prompt, row["reference"]


# Length ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Length:
    """A penalty, never above 0: `price` for each word, or token, beyond those that are free."""

    free: Annotated[int, Ge(0)] = 32
    """How long an answer may be for nothing."""
    price: Positive = 0.05
    """What each one more takes off."""
    unit: Literal["words", "tokens"] = "words"
    """What is counted. Tokens are those that a policy wrote, its end token among them."""

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        return [-self.price * over if (over := self._size(said) - self.free) > 0 else 0.0 for said in completions]

    def _size(self, said: Completion) -> int:
        if self.unit == "words":
            return len(said.text.split())
        if said.text and not said.tokens:
            raise LexicalError(f'no policy wrote {said.text[:60]!r} token by token; use unit = "words"')
        return len(said.tokens)
