"""Verdicts from a file: what a judge said once goes through the same code again, with no model there.

Two kinds of lines are read. Our own, one for each thing asked (`Recording` writes them):

    {"turns": [...], "shown": ["one reply", "the other"], "question": "...", "chances": [0.9, 0.1], "note": ""}

and pairs with the recorded outputs of several judges in both orders, as the published ones for LLMBar:

    {"input": "...", "output_1": "...", "output_2": "...", "judges": {"GPT4/CoT": {"ab": {"winner": "1"}, "ba": {...}}}}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignzoo.records import Completion, Prompt, prompt_from_row
from alignzoo.rows import Fault, rows_in
from alignzoo_rlaif.form import Sheet
from alignzoo_rlaif.judging import Case, JudgeError
from alignzoo_rlaif.sitting import Answer, Oracle

Key = tuple[str, tuple[str, ...], str]
"""The prompt's id, the replies in the order shown, and the question ("" in files that do not tell it)."""


@dataclass
class RecordedOracle:
    """What was answered, by what was asked."""

    file: Path
    answers: dict[Key, Answer] = field(default_factory=dict)

    @classmethod
    def of(cls, file: Path, who: str = "") -> RecordedOracle:
        """The answers in a file; `who` names the judge where there are several."""
        oracle = cls(file)
        there: set[str] = set()
        for place, row in rows_in(file, ".jsonl"):
            try:
                if isinstance(row, Fault):
                    raise ValueError(row.reason)
                there |= set(row.get("judges", ()))
                oracle.answers.update(_answers(row, who))
            except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
                why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
                raise JudgeError(f"{file.with_name(place)}: no recorded verdict: {why}; mend this line, or delete it") from None
        if not oracle.answers:
            known = f"; there is {', '.join(sorted(there))}" if there else ""
            raise JudgeError(f"who: {file} holds no verdicts{f' of {who!r}' if who else ''}{known}")
        return oracle

    def answer(self, sheets: Sequence[Sheet]) -> list[Answer]:
        """What was recorded for each sheet; all that is missing is told at once."""
        found = [self._recorded(sheet) for sheet in sheets]
        if missing := [sheet for sheet, answer in zip(sheets, found, strict=True) if answer is None]:
            raise JudgeError(
                f"{self.file}: {len(missing)} of {len(sheets)} things asked are not recorded; the first is about "
                f"{missing[0].about.text[:60]!r}"
            )
        answers = [answer for answer in found if answer is not None]
        for sheet, answer in zip(sheets, answers, strict=True):
            if answer.chances and len(answer.chances) != len(sheet.answers):
                raise JudgeError(
                    f"{self.file}: {len(answer.chances)} chances are recorded where there are {len(sheet.answers)} answers: "
                    f"{', '.join(sheet.marks)}; record them with the form that they are read with"
                )
        return answers

    def was_asked(self, case: Case, question: str) -> bool:
        """Whether a verdict on these two replies is there, in whatever order they were shown."""
        first, second = case.first.text, case.second.text
        orders = ((first, second), (second, first))
        return any((case.prompt.id, shown, asked) in self.answers for shown in orders for asked in (question, ""))

    def reply(self, prompts: Sequence[Prompt]) -> list[Completion]:
        raise JudgeError("reference: a recorded judge answers nothing itself; give a reference reply")

    def _recorded(self, sheet: Sheet) -> Answer | None:
        asked = sheet.about.id, sheet.shown
        return self.answers.get((*asked, sheet.question)) or self.answers.get((*asked, ""))


@dataclass
class Recording:
    """An oracle whose answers are written down as they come, for `RecordedOracle` to give again."""

    oracle: Oracle
    file: Path

    def answer(self, sheets: Sequence[Sheet]) -> list[Answer]:
        answers = self.oracle.answer(sheets)
        with self.file.open("a", encoding="utf-8") as file:
            for sheet, answer in zip(sheets, answers, strict=True):
                turns = [{"speaker": turn.speaker, "text": turn.text} for turn in sheet.about.turns]
                about = {"turns": turns, "shown": sheet.shown, "question": sheet.question}
                row = {**about, "chances": answer.chances, "note": answer.note}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        return answers

    def reply(self, prompts: Sequence[Prompt]) -> list[Completion]:
        return self.oracle.reply(prompts)


def _answers(row: Mapping[str, Any], who: str) -> Iterator[tuple[Key, Answer]]:
    """The one answer of a line of ours, or both orders of a published pair."""
    if "judges" not in row:
        prompt = prompt_from_row({"turns": row["turns"]})
        if not isinstance(row["shown"], list) or not all(isinstance(reply, str) for reply in row["shown"]):
            raise ValueError("'shown' must be a list of texts, the replies in the order in which they were shown")
        if not isinstance(row["chances"], list):
            raise ValueError("'chances' must be a list of numbers, one for each answer")
        chances = tuple(float(chance) for chance in row["chances"])
        if chances and not (min(chances) >= 0 and abs(sum(chances) - 1) < 1e-6):
            raise ValueError(f"chances that do not sum to 1: {list(chances)}")
        yield (prompt.id, tuple(row["shown"]), str(row.get("question", ""))), Answer(chances, str(row.get("note", "")))
        return
    if who not in row["judges"]:  # not every judge was asked about every pair
        return
    said, one, two = row["judges"][who], row["output_1"], row["output_2"]
    for order, shown, first in (("ab", (one, two), "1"), ("ba", (two, one), "2")):
        winner = str(said[order]["winner"])
        chances = (float(winner == first), float(winner != first)) if winner in ("1", "2") else ()
        yield (Prompt.ask(row["input"]).id, shown, ""), Answer(chances, str(said[order].get("completion", "")))
