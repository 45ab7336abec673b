"""A judge, made of somebody who answers sheets with options: both orders, soft labels, expected scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import TYPE_CHECKING, Protocol

from alignzoo.records import Completion, Prompt
from alignzoo_rlaif.form import Sheet, drawn
from alignzoo_rlaif.judging import Case, JudgeError, Verdict

if TYPE_CHECKING:
    from alignzoo_rlaif.hiring import Hired

_FEW = 20
"""Verdicts before the share of unreadable ones is looked at."""

_BLANK = "N/A"
_NOT = "its probabilities are not numbers"


@dataclass(frozen=True)
class Answer:
    """What was answered to a sheet: how likely each of its answers is, summing to 1; no chances if that cannot be read."""

    chances: tuple[float, ...] = ()
    note: str = ""


class Oracle(Protocol):
    """Answers sheets: a model here, or one behind an endpoint."""

    def answer(self, sheets: Sequence[Sheet]) -> list[Answer]:
        """One answer for each sheet."""
        ...

    def reply(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """What the oracle itself would answer, to be a reference."""
        ...


@dataclass
class Sitting:
    """An oracle that judges by the settings of whoever hired it."""

    oracle: Oracle
    hired: Hired
    asked: int = 0
    unread: int = 0
    _blanks: dict[str, tuple[float, ...]] = field(default_factory=dict)
    _references: dict[str, Completion] = field(default_factory=dict)

    def compare(self, cases: Sequence[Case], question: str) -> list[Verdict]:
        """Each case in both orders, or in one that is drawn."""
        form, seed = self.hired.form, self.hired.seed
        shown = [(case, turned) for case in cases for turned in self._orders(case)]
        sheets = [form.comparison(case, question, turned=turned, seed=seed) for case, turned in shown]
        heard = iter(zip(shown, self._answers(sheets), strict=True))
        return [self._verdict([next(heard) for _ in self._orders(case)]) for case in cases]

    def prefer(self, cases: Sequence[Case], question: str) -> list[float]:
        """How likely the first reply of each case is the better one, as they stand: for who turns them himself. nan where that
        cannot be read. Both orders of a case are put with the same letters and marks."""
        form, seed = self.hired.form, self.hired.seed
        sheets = []
        for case in cases:
            turned = case.second.text < case.first.text
            known = Case(case.prompt, case.second, case.first) if turned else case
            sheets.append(form.comparison(known, question, turned=turned, seed=seed))
        return [self._first(answer, turned=False) if answer.chances else nan for answer in self._answers(sheets)]

    def rate(self, prompts: Sequence[Prompt], completions: Sequence[Completion], question: str) -> list[float]:
        """The expected score, or how likely each reply beats the reference, mapped to [-1, 1]."""
        if self.hired.rates_by == "reference":
            pairs = zip(prompts, completions, self._beaten(prompts), strict=True)
            return [2 * verdict.probability - 1 for verdict in self.compare([Case(*pair) for pair in pairs], question)]
        form, seed = self.hired.form, self.hired.seed
        asked = zip(prompts, completions, strict=True)
        sheets = [form.estimation(prompt, done, question, seed=seed) for prompt, done in asked]
        blank = self._blank(question) if self.hired.calibrate == "blank" else ()
        return [expected(_without(answer.chances, blank)) for answer in self._answers(sheets)]

    def _orders(self, case: Case) -> tuple[bool, ...]:
        if self.hired.orders == "both":
            return (False, True)
        return (bool(drawn(self.hired.seed, "order", case.prompt.id, case.first.text, case.second.text) % 2),)

    def _verdict(self, heard: Sequence[tuple[tuple[Case, bool], Answer]]) -> Verdict:
        """What was said of one case. The order is swapped back here, and nowhere else."""
        said = {turned: self._first(answer, turned) for (_, turned), answer in heard}
        notes = [answer.note for _, answer in heard if answer.note]
        (alone,) = said.values() if len(said) == 1 else (0.5,)
        unread = sum(not answer.chances for _, answer in heard)
        return Verdict(said.get(False, alone), said.get(True, alone), "\n".join(notes), unread)

    def _first(self, answer: Answer, turned: bool) -> float:
        """How likely the case's first reply is the better one."""
        if not answer.chances:
            return 0.5
        chance = answer.chances[1] if turned else answer.chances[0]
        if self.hired.labels == "hard":
            chance = float(chance > 0.5) + 0.5 * (chance == 0.5)
        return min(max(chance, self.hired.clamp), 1 - self.hired.clamp)

    def _answers(self, sheets: Sequence[Sheet]) -> list[Answer]:
        answers = [told if all(map(isfinite, told.chances)) else Answer(note=_NOT) for told in self.oracle.answer(sheets)]
        self.asked += len(answers)
        self.unread += sum(not answer.chances for answer in answers)
        if self.asked >= _FEW and self.unread > self.hired.unread * self.asked:
            wrong = next(answer.note for answer in reversed(answers) if not answer.chances)
            raise JudgeError(
                f"{self.unread} of {self.asked} verdicts cannot be read, more than unread = {self.hired.unread:g} allows; "
                f"change the form, or the judge. The last was: {wrong[:200]!r}"
            )
        return answers

    def _blank(self, question: str) -> tuple[float, ...]:
        if question not in self._blanks:
            sheet = self.hired.form.estimation(Prompt.ask(_BLANK), Completion(_BLANK), question, seed=self.hired.seed)
            self._blanks[question] = self._answers([sheet])[0].chances
        return self._blanks[question]

    def _beaten(self, prompts: Sequence[Prompt]) -> list[Completion]:
        if self.hired.reference:
            return [Completion(self.hired.reference)] * len(prompts)
        if fresh := list({prompt.id: prompt for prompt in prompts if prompt.id not in self._references}.values()):
            self._references |= zip([prompt.id for prompt in fresh], self.oracle.reply(fresh), strict=True)
        return [self._references[prompt.id] for prompt in prompts]


def expected(chances: Sequence[float]) -> float:
    """The expected step of a scale, mapped to [-1, 1] (Lee et al. 2023 have 1 to 10); 0 where nothing could be read."""
    if not chances:
        return 0.0
    top = len(chances) - 1
    return 2 * sum(step * chance for step, chance in enumerate(chances)) / top - 1


def _without(chances: tuple[float, ...], blank: tuple[float, ...]) -> tuple[float, ...]:
    """The chances divided by what is said of nothing, and made to sum to 1 again (Zhao et al. 2021)."""
    if not chances or not blank:
        return chances
    odds = [chance / max(empty, 1e-9) for chance, empty in zip(chances, blank, strict=True)]
    return tuple(odd / sum(odds) for odd in odds)
