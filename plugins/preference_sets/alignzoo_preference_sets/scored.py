"""Sets in which each answer is marked for itself: UltraFeedback (Cui et al. 2023) and HelpSteer (Wang et al. 2023)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar, Literal

from alignzoo.interfaces import Asking
from alignzoo.records import Completion, Feedback, Prompt, Provenance, Rating, Speaker, Turn
from alignzoo_preference_sets.data import Data, collected
from alignzoo_preference_sets.fields import Row, Taken, Unfit, in_order

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")

Attribute = Literal["helpfulness", "correctness", "coherence", "complexity", "verbosity"]


@dataclass(frozen=True)
class UltraFeedback:
    """Four answers to an instruction, marked by a model on four aspects from 1 to 5."""

    asks: ClassVar[tuple[str, ...]] = ()

    data: Data = Data(path="openbmb/UltraFeedback")
    """Rows with an instruction and its completions, each with annotations."""

    kind: Literal["ratings", "rankings"] = "ratings"
    """A mark for each answer, or the answers in order of their marks."""

    mark: Literal["mean", "overall", "aspects"] = "mean"
    """The mean of the aspects; the set's `overall_score` (some of its tens were ones); or each aspect as a value of its own."""

    def __post_init__(self) -> None:
        if self.kind == "rankings" and self.mark == "aspects":
            raise ValueError('answers are put in order by one mark: mark = "mean" or "overall"')

    @property
    def gives(self) -> tuple[str, ...]:
        return ("rating",) if self.kind == "ratings" else ("ranking",)

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """The ratings, or the ranking, of each instruction."""
        return collected(self.data, self.taken, asking.tally)

    def taken(self, row: Row) -> Taken:
        """A row's records; its group is the instruction. Answers without a mark are left out, and told."""
        instruction = row.text("instruction")
        prompt = Prompt.ask(instruction)
        marked: list[Rating] = []
        missing = False
        for answer in row.tables("completions"):
            marks = self._marks(answer)
            missing |= not marks or (self.mark == "aspects" and len(marks) < len(ASPECTS))
            source = Provenance("ultrafeedback", "GPT-4", licence="MIT", note=f"model {answer.maybe('model')}")
            text = Completion(answer.text("response"))
            marked += [Rating(prompt, text, mark, value, source) for value, mark in marks.items()]
        if not marked:
            raise Unfit("no answer has a mark")
        notices = ("an answer or an aspect without a mark",) if missing else ()
        if self.kind == "ratings":
            return Taken(instruction, tuple(marked), notices=notices)
        if len(marked) < 2:
            raise Unfit("fewer than two answers have a mark")
        answers, lows = [one.completion.text for one in marked], [-one.score for one in marked]
        ranking, more = in_order(prompt, answers, lows, marked[0].provenance)
        return Taken(instruction, (ranking,), notices=notices + more)

    def _marks(self, answer: Row) -> dict[str, float]:
        if self.mark == "overall":
            return {"overall": answer.number("overall_score")} if answer.has("overall_score") else {}
        given = answer.table("annotations")
        aspects = {aspect: _mark(given.table(aspect)) for aspect in ASPECTS if given.has(aspect)}
        known = {aspect: mark for aspect, mark in aspects.items() if mark is not None}
        if self.mark == "aspects":
            return known
        return {"overall": fmean(known.values())} if len(known) == len(ASPECTS) else {}


def _mark(aspect: Row) -> float | None:
    """1 to 5, written as text; "N/A" is none."""
    if not aspect.has("Rating") or str(aspect.cells["Rating"]).strip().upper() in ("N/A", ""):
        return None
    mark = aspect.number("Rating")
    if not 1 <= mark <= 5:
        raise Unfit(f"'{aspect.at}Rating' must be between 1 and 5")
    return mark


@dataclass(frozen=True)
class HelpSteer:
    """An answer, marked by people on five attributes from 0 to 4. Complexity and verbosity are kinds, not merits."""

    gives: ClassVar[tuple[str, ...]] = ("rating",)
    asks: ClassVar[tuple[str, ...]] = ()

    data: Data = Data(path="nvidia/HelpSteer2")
    """Rows with prompt, response and the attributes; HelpSteer and HelpSteer2 have the same."""

    values: tuple[Attribute, ...] = ("helpfulness",)
    """Which attributes; each is a value of its own."""

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("name one attribute at least: values = ['helpfulness']")

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """A rating for each attribute of each row."""
        return collected(self.data, self.taken, asking.tally)

    def taken(self, row: Row) -> Taken:
        """A row's ratings; its group is the prompt."""
        asked, answer = row.text("prompt"), Completion(row.text("response"))
        marks = [(value, row.number(value)) for value in self.values if row.has(value)]
        if not marks:
            raise Unfit("none of the attributes is marked")
        if any(not 0 <= mark <= 4 for _, mark in marks):
            raise Unfit("a mark must be between 0 and 4")
        source, prompt = Provenance("helpsteer", licence="CC-BY-4.0"), conversation(asked)
        notices = ("an attribute is not marked",) if len(marks) < len(self.values) else ()
        return Taken(asked, tuple(Rating(prompt, answer, mark, value, source) for value, mark in marks), notices=notices)


_SPEAKER = re.compile(r"\n?<extra_id_1>(User|Assistant)\n")


def conversation(prompt: str) -> Prompt:
    """A prompt of one turn or, where it has the set's marks ("<extra_id_1>Assistant"), of several."""
    first, *parts = _SPEAKER.split(prompt)
    who: dict[str, Speaker] = {"User": "user", "Assistant": "assistant"}
    turns = [Turn(who[name], text.strip()) for name, text in zip(parts[::2], parts[1::2], strict=True)]
    turns = [turn for turn in (Turn("user", first.strip()), *turns) if turn.text]
    if not turns or turns[-1].speaker == "assistant":
        raise Unfit("'prompt' does not end with the user's words")
    return Prompt(tuple(turns))
