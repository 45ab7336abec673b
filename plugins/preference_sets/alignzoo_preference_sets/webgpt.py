"""openai/webgpt_comparisons (Nakano et al. 2021): which of two answers, written from quotes of web pages, is better."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison, Feedback, Prompt, Provenance
from alignzoo_preference_sets.data import Data, collected
from alignzoo_preference_sets.fields import Aside, Row, Taken, Unfit, different

_MARK = re.compile(r" ?\[(\d+(?:, ?\d+)*)\]")
"""A citation: [1], or [1, 3]."""


@dataclass(frozen=True)
class WebGPT:
    """Scores say which answer is better and, as they are no probabilities, nothing more: the sign counts, 0 is a tie."""

    gives: ClassVar[tuple[str, ...]] = ("comparison",)
    asks: ClassVar[tuple[str, ...]] = ()

    data: Data = Data(path="openai/webgpt_comparisons", revision="refs/convert/parquet")
    """Read from the hub's own copy as parquet: the set comes as a script, which `datasets` runs no more. It has no splits of
    its own; a question that comes again stays on one side of ours."""

    ties: bool = True
    """Keep ties, as comparisons of strength 0.5."""

    quotes: Literal["leave", "before"] = "leave"
    """What an answer quotes is left out, or set before it, numbered, as a part of it."""

    citations: bool = False
    """Keep the marks, [1], that point to quotes. Without the quotes they point to nothing."""

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """One comparison for each row."""
        return collected(self.data, self.taken, asking.tally)

    def taken(self, row: Row) -> Taken:
        """A row's comparison; its group is the question."""
        question = row.table("question")
        first, second = row.number("score_0"), row.number("score_1")
        if not -1 <= first <= 1 or not -1 <= second <= 1:
            raise Unfit("a score must be between -1 and 1")
        if first == 0 and second == 0 and not self.ties:
            raise Aside("a tie")
        if first * second > 0 or (first == 0) != (second == 0):
            raise Unfit("the two scores do not say which answer is better")
        better = 1 if second > first else 0
        answers = [self._answer(row, number) for number in (better, 1 - better)]
        notices = ("the scores are not each other's opposites",) if abs(first + second) > 1e-6 else ()
        source = Provenance("webgpt-comparisons", licence="see the set's card", note=f"from {question.maybe('dataset')}")
        strength = 0.5 if first == second == 0 else 1.0
        comparison = Comparison(Prompt.ask(question.text("full_text")), *different(*answers), strength, source)
        return Taken(_name(question), (comparison,), notices=notices, named=True)

    def _answer(self, row: Row, number: int) -> str:
        quotes = row.table(f"quotes_{number}") if row.has(f"quotes_{number}") else Row({"title": [], "extract": []})
        titles, extracts = (quotes.texts(name, empty=True) if quotes.has(name) else () for name in ("title", "extract"))
        answer = row.text(f"answer_{number}")
        if not self.citations:
            answer = without_citations(answer, len(extracts)) or answer
        if self.quotes == "leave" or not extracts:
            return answer
        pairs = zip(titles if len(titles) == len(extracts) else ("",) * len(extracts), extracts, strict=True)
        told = [f"[{place}] {title}".rstrip() + f"\n{extract}" for place, (title, extract) in enumerate(pairs, start=1)]
        return "\n\n".join([*told, answer])


def without_citations(answer: str, quotes: int) -> str:
    """The answer without marks that point to one of its quotes; other numbers in brackets are part of the text."""

    def spared(mark: re.Match[str]) -> str:
        points = all(len(number) < 4 and 1 <= int(number) <= quotes for number in re.split(", ?", mark[1]))
        return "" if points else mark[0]

    return _MARK.sub(spared, answer).strip()


def _name(question: Row) -> str:
    """The question's id, or its words where it has none."""
    return question.maybe("id") or question.text("full_text")
