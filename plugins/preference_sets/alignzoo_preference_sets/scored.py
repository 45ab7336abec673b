"""Sets in which each answer is marked for itself, and their other forms, in which two answers are compared: UltraFeedback (Cui
et al. 2023) and HelpSteer (Wang et al. 2023, 2024)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import fmean
from typing import ClassVar, Literal

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison, Completion, Feedback, Prompt, Provenance, Rating, Speaker, Turn
from alignzoo_preference_sets.columns import Columns
from alignzoo_preference_sets.data import Data, collected
from alignzoo_preference_sets.dialogues import messages_of
from alignzoo_preference_sets.fields import Aside, Row, Taken, Unfit, different, in_order
from alignzoo_preference_sets.mapped import compared, opening_of

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")

PAIRED = "HuggingFaceH4/ultrafeedback_binarized"
_PAIR = Columns(prompt="prompt", chosen="chosen", rejected="rejected")
_MARKS = (("score_chosen", "score_rejected"), ("chosen-rating", "rejected-rating"))
"""How two published forms of the pairs name the marks."""

Attribute = Literal["helpfulness", "correctness", "coherence", "complexity", "verbosity"]


@dataclass(frozen=True)
class UltraFeedback:
    """Four answers to an instruction, marked by a model on four aspects from 1 to 5; or two of them, as Zephyr was trained on
    (Tunstall et al. 2023)."""

    asks: ClassVar[tuple[str, ...]] = ()

    data: Data = Data(path="openbmb/UltraFeedback")
    """Rows with an instruction and its completions, each with annotations; for pairs, with prompt, chosen and rejected."""

    kind: Literal["ratings", "rankings", "pairs"] = "ratings"
    """A mark for each answer, or the answers in order of their marks; or the pairs of the binarized form, which is another set
    on the hub (HuggingFaceH4/ultrafeedback_binarized, train_prefs), and read from there where no data.path is given."""

    mark: Literal["mean", "overall", "aspects"] = "mean"
    """The mean of the aspects; the set's `overall_score` (some of its tens were ones); or each aspect as a value of its own."""

    def __post_init__(self) -> None:
        if self.kind == "rankings" and self.mark == "aspects":
            raise ValueError('answers are put in order by one mark: mark = "mean" or "overall"')

    @property
    def gives(self) -> tuple[str, ...]:
        return {"ratings": ("rating",), "rankings": ("ranking",), "pairs": ("comparison",)}[self.kind]

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """The ratings, or the ranking, of each instruction; or each pair."""
        if self.kind != "pairs":
            return collected(self.data, self.taken, asking.tally)
        data = replace(self.data, path=PAIRED) if self.data.path == UltraFeedback.data.path else self.data
        if (data.path, data.published) == (PAIRED, "train"):
            data = replace(data, published="train_prefs")  # its other splits are for learning otherwise
        return collected(data, self.paired, asking.tally)

    def paired(self, row: Row) -> Taken:
        """A pair; its group is the prompt. Two answers with the same mark are a tie, whichever is called chosen."""
        taken = compared(row, _PAIR, "ultrafeedback/pairs", "MIT")
        marks = next(((row.number(one), row.number(other)) for one, other in _MARKS if row.has(one) and row.has(other)), None)
        if marks is None or marks[0] > marks[1]:
            return taken
        if marks[0] < marks[1]:
            return replace(taken, notices=("the chosen answer has the lower mark",))
        tied = tuple(replace(record, strength=0.5) for record in taken.records if isinstance(record, Comparison))
        return replace(taken, records=tied, notices=("both answers have the same mark: a tie",))

    def taken(self, row: Row) -> Taken:
        """A row's records; its group is the instruction. Answers without words or a mark are left out, and told."""
        instruction = row.text("instruction")
        prompt = Prompt.ask(instruction)
        marked: list[Rating] = []
        missing = silent = False
        for answer in row.tables("completions"):
            if not answer.maybe("response"):
                silent = True
                continue
            marks = self._marks(answer)
            missing |= not marks or (self.mark == "aspects" and len(marks) < len(ASPECTS))
            source = Provenance("ultrafeedback", "GPT-4", licence="MIT", note=f"model {answer.maybe('model')}")
            text = Completion(answer.text("response"))
            marked += [Rating(prompt, text, mark, value, source) for value, mark in marks.items()]
        if not marked:
            raise Unfit("no answer has a mark")
        notices = ("an answer or an aspect without a mark",) * missing + ("an answer without words, left out",) * silent
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
    """An answer, marked by people on five attributes from 0 to 4; complexity and verbosity are kinds, not merits. Or two
    answers, and how much better one is."""

    asks: ClassVar[tuple[str, ...]] = ()

    data: Data = Data(path="nvidia/HelpSteer2")
    """Rows with prompt, response and the attributes: HelpSteer and HelpSteer2 have the same. For preferences, rows with two
    responses: the subset "preference" of HelpSteer2, which is read where none is given, and HelpSteer3."""

    kind: Literal["marks", "preferences"] = "marks"
    """Marks for one answer, or a choice between two."""

    values: tuple[Attribute, ...] = ("helpfulness",)
    """Which attributes; each is a value of its own."""

    strength: Literal["sure", "graded"] = "sure"
    """Every choice counts as sure; or "slightly better", "better" and "much better" make the strengths 2/3, 5/6 and 1."""

    splits: tuple[str, ...] = ()
    """Only preferences of these parts (train, validation), by the row's own word; all if empty."""

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("name one attribute at least: values = ['helpfulness']")

    @property
    def gives(self) -> tuple[str, ...]:
        return ("rating",) if self.kind == "marks" else ("comparison",)

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """A rating for each attribute of each row, or a comparison."""
        if self.kind == "marks":
            return collected(self.data, self.taken, asking.tally)
        theirs = self.data.path == HelpSteer.data.path and not self.data.subset
        return collected(replace(self.data, subset="preference") if theirs else self.data, self.preferred, asking.tally)

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

    def preferred(self, row: Row) -> Taken:
        """A row's comparison; its group is what is asked first. At -3 the first is much better, at 0 none, at 3 the second."""
        part = row.maybe("split")
        if self.splits and part not in self.splits:
            raise Aside("of another part than `splits` names")
        first, second, verdict = next((names for names in _CHOICES if row.has(names[2])), _CHOICES[0])
        prompt = Prompt(messages_of(row, "context")) if row.has("context") else conversation(row.text("prompt"))
        if prompt.turns[-1].speaker != "user":
            raise Unfit("the prompt does not end with the user's words")
        better = row.one_of(verdict, -3, -2, -1, 0, 1, 2, 3)
        answers = different(row.text(first), row.text(second))
        chosen, rejected = answers[::-1] if better > 0 else answers
        strength = 0.5 + abs(better) / 6 if self.strength == "graded" or not better else 1.0
        source = Provenance("helpsteer/preferences", licence="CC-BY-4.0", split=part, note=f"by {abs(better)} of 3")
        return Taken(opening_of(prompt.turns), (Comparison(prompt, chosen, rejected, strength, source),))


_CHOICES = (("response_1", "response_2", "preference_strength"), ("response1", "response2", "overall_preference"))
"""How HelpSteer2 and HelpSteer3 name two answers and the choice."""

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
