"""openai/summarize_from_feedback (Stiennon et al. 2020): which of two summaries is better, and how good one is on four axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison, Completion, Feedback, Prompt, Provenance, Rating
from alignzoo_preference_sets.data import Data, collected
from alignzoo_preference_sets.fields import Aside, Row, Taken, Unfit, different

MIDDLE = 5
"""Confidence is a place on a line from 1, surely the first, over 5 to 9, surely the second; or it is null."""
HIGH = 3
"""From so far off the middle on it is called high: 1, 2, 8, 9 (Lee et al. 2023)."""
LIKERT = 7


@dataclass(frozen=True)
class SummarizeFromFeedback:
    """Labelers' choices between two summaries of a post or an article, or their marks for one."""

    asks: ClassVar[tuple[str, ...]] = ()

    data: Data = Data(path="openai/summarize_from_feedback", revision="refs/convert/parquet")
    """Read from the hub's own copy as parquet: the set comes as a script, which `datasets` runs no more. The subset
    (comparisons or axis) follows `kind` where it is not given."""

    kind: Literal["comparisons", "axis"] = "comparisons"
    """Choices between two, or marks from 1 to 7 for one."""

    confidence: Literal["strength", "ignore"] = "strength"
    """How sure a labeler was makes the choice's strength, from 0.5 in the middle to 1; or every choice counts as sure."""

    sure: bool = False
    """Only choices of high confidence (1, 2, 8 or 9), as Lee et al. (2023) take them."""

    axes: tuple[Literal["overall", "accuracy", "coverage", "coherence"], ...] = ("overall",)
    """Which marks; each is a value of its own."""

    splits: tuple[str, ...] = ()
    """Only rows of these parts (train, valid1, valid2), by the row's own word; all if empty. Models were chosen on valid1."""

    @property
    def gives(self) -> tuple[str, ...]:
        return ("comparison",) if self.kind == "comparisons" else ("rating",)

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """A comparison, or ratings, for each row."""
        data = self.data if self.data.subset else replace(self.data, subset=self.kind)
        if self.kind == "axis" and data.published == "train":
            data = replace(data, published="validation")  # on the hub the marks are in validation and test only
        return collected(data, self.compared if self.kind == "comparisons" else self.marked, asking.tally)

    def compared(self, row: Row) -> Taken:
        """One choice. Texts begin with a space, which is not theirs."""
        info, source = row.table("info"), self._source(row)
        summaries = row.tables("summaries")
        if len(summaries) != 2:
            raise Unfit("'summaries' must be two")
        choice = row.one_of("choice", 0, 1)
        texts = [summary.text("text") for summary in summaries]
        confidence = _confidence(row)
        if self.sure and (confidence is None or abs(confidence - MIDDLE) < HIGH):
            raise Aside("not of high confidence")
        strength = 1.0 if confidence is None or self.confidence == "ignore" else strength_of(confidence)
        notices = ("confidence lies on the other side than the choice",) if _against(choice, confidence) else ()
        chosen, rejected = different(texts[choice], texts[1 - choice])
        source = replace(source, note=f"{summaries[choice].maybe('policy')} over {summaries[1 - choice].maybe('policy')}")
        pair = Comparison(asked_for(info), chosen, rejected, strength, source)
        return Taken(info.text("id"), (pair,), notices=notices, named=True)

    def marked(self, row: Row) -> Taken:
        """One summary's marks, those that were given."""
        info, summary, source = row.table("info"), row.table("summary"), self._source(row)
        axes, prompt, text = summary.table("axes"), asked_for(info), Completion(summary.text("text"))
        given = [(axis, axes.whole(axis)) for axis in self.axes if axes.has(axis)]
        if not given:
            raise Unfit("none of the axes is marked")
        if any(not 1 <= mark <= LIKERT for _, mark in given):
            raise Unfit(f"a mark must be between 1 and {LIKERT}")
        ratings = tuple(Rating(prompt, text, mark, axis, source) for axis, mark in given)
        notices = ("an axis is not marked",) if len(given) < len(self.axes) else ()
        return Taken(info.text("id"), ratings, notices=notices, named=True)

    def _source(self, row: Row) -> Provenance:
        split = row.maybe("split")
        if self.splits and split not in self.splits:
            raise Aside("of another part than `splits` names")
        who = row.maybe("worker")
        return Provenance(f"summarize-from-feedback/{self.kind}", who, licence="see the set's card", split=split)


def asked_for(info: Row) -> Prompt:
    """A post as the paper's TL;DR prompts write it; the CNN/DM rows have an article instead."""
    if info.has("post"):
        return Prompt.ask(
            f"SUBREDDIT: r/{info.maybe('subreddit')}\n\nTITLE: {info.maybe('title')}\n\nPOST: {info.text('post')}\n\nTL;DR:"
        )
    if info.has("article"):
        return Prompt.ask(f"Article:\n\n{info.text('article')}\n\nTL;DR:")
    raise Unfit("'info' has neither a post nor an article")


def strength_of(confidence: int) -> float:
    """0.5 in the middle, 1 at either end, in even steps."""
    return 0.5 + abs(confidence - MIDDLE) / 8


def _confidence(row: Row) -> int | None:
    extra = row.table("extra") if row.has("extra") else Row({})
    if not extra.has("confidence"):
        return None
    confidence = extra.whole("confidence")
    if not 1 <= confidence <= 9:
        raise Unfit("'extra.confidence' must be between 1 and 9")
    return confidence


def _against(choice: int, confidence: int | None) -> bool:
    return confidence is not None and (confidence < MIDDLE, confidence > MIDDLE)[1 - choice]
