"""A judge on this machine: the run's bare base, or a second model, read by the log-probabilities of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from alignzoo.interfaces import Manner
from alignzoo.model.forest import Ids
from alignzoo.model.role import Role, bare_on
from alignzoo.records import Completion, Prompt
from alignzoo_rlaif.beginnings import Beginnings
from alignzoo_rlaif.form import Sheet
from alignzoo_rlaif.judging import JudgeError
from alignzoo_rlaif.parsing import parsed
from alignzoo_rlaif.sitting import Answer

if TYPE_CHECKING:
    from alignzoo_rlaif.hiring import Hired

_WRITTEN = 16
"""Tokens for an answer that is written, besides the thoughts."""


@dataclass(frozen=True)
class LocalOracle:
    """A role that never moves, and how it is to be read."""

    role: Role
    hired: Hired
    beginnings: Beginnings

    @classmethod
    def of(cls, hired: Hired, role: Role | None) -> LocalOracle:
        """The run's bare base, or the judge's own model, which is loaded here."""
        if hired.model:
            from alignzoo.model.base import Base

            role = bare_on(Base.load(hired.model, hired.loading), "judge")
        if role is None:
            raise JudgeError("model: a local judge needs a model; there is no run here to lend its base, so name one")
        return cls(role, hired, Beginnings(role))

    def answer(self, sheets: Sequence[Sheet]) -> list[Answer]:
        """By the log-probabilities of the answers, after the judge's thoughts if it may have any; or by what it writes. A sheet
        that does not fit is not read at all: a judge must not see half a case."""
        sheets = self._spelled(sheets)
        lengths = [len(self.role.base.text.prompt_ids(sheet.prompt)) for sheet in sheets]
        room = self.role.base.text.context - self.hired.thoughts - _WRITTEN
        fitting = [sheet for sheet, length in zip(sheets, lengths, strict=True) if length <= room]
        read = iter((self._written(fitting) if self.hired.reading == "written" else self._read(fitting)) if fitting else ())
        return [
            next(read) if length <= room else Answer(note=f"the sheet has {length} tokens, and there is room for {room}")
            for length in lengths
        ]

    def reply(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """The likeliest reply, as a reference."""
        return [done for (done,) in self.role.sample(prompts, manner=Manner(temperature=0.0))]

    def _spelled(self, sheets: Sequence[Sheet]) -> list[Sheet]:
        """The sheets with the tokenizer's control tokens as mere letters: a reply that spells one out ends no turn."""
        tokenizer = self.role.base.text.tokenizer
        known = (str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
        controls = sorted({*tokenizer.all_special_tokens, *known}, key=len, reverse=True)
        turns = [tuple(replace(turn, text=spelled(turn.text, controls)) for turn in sheet.prompt.turns) for sheet in sheets]
        return [replace(sheet, prompt=Prompt(own)) for sheet, own in zip(sheets, turns, strict=True)]

    def _read(self, sheets: Sequence[Sheet]) -> list[Answer]:
        thoughts = self._thoughts(sheets) if self.hired.thoughts else [""] * len(sheets)
        asked = [self._asked(sheet, thought) for sheet, thought in zip(sheets, thoughts, strict=True)]
        return [Answer(chances, thought) for chances, thought in zip(self._chances(asked), thoughts, strict=True)]

    def _written(self, sheets: Sequence[Sheet]) -> list[Answer]:
        manner = Manner(max_tokens=self.hired.thoughts + _WRITTEN, temperature=0.0)
        return [parsed(sheet, said) for sheet, said in zip(sheets, self._said(sheets, manner), strict=True)]

    def _thoughts(self, sheets: Sequence[Sheet]) -> list[str]:
        """What the judge thinks aloud, up to where its answer would begin."""
        if not (stop := sheets[0].stem.strip()):
            return [""] * len(sheets)  # nothing would tell where they end
        return self._said(sheets, Manner(max_tokens=self.hired.thoughts, temperature=0.0, stop=(stop,)))

    def _said(self, sheets: Sequence[Sheet], manner: Manner) -> list[str]:
        return [done.text for (done,) in self.role.sample([sheet.prompt for sheet in sheets], manner=manner)]

    def _asked(self, sheet: Sheet, thought: str) -> tuple[Ids, tuple[Ids, ...]]:
        """What stands before the answers, and each answer's own tokens."""
        text = self.role.base.text
        wholes = [text.reply_ids(Completion(thought + answer, finished=False)) for answer in sheet.answers]
        shared, answers = apart(wholes, sheet.answers)
        unknown = text.tokenizer.unk_token_id
        if unknown is not None and any(unknown in answer for answer in answers):
            raise JudgeError(f"the tokenizer does not know {list(sheet.marks)}; choose options that it has words for")
        return text.prompt_ids(sheet.prompt) + shared, answers

    def _chances(self, asked: Sequence[tuple[Ids, tuple[Ids, ...]]]) -> list[tuple[float, ...]]:
        """Only the answers there are share the probability: log p of all tokens of each, summed and renormalised. Of answers
        of one token no other column of the head is needed, for what all columns sum to cancels."""
        base, texts, answers = self.role.base, [text for text, _ in asked], [own for _, own in asked]
        if not base.plain_head or any(len(answer) > 1 for own in answers for answer in own):
            return renormalised(exclusive(self.beginnings.sums(texts, answers), answers))
        tokens = torch.tensor([[answer[0] for answer in own] for own in answers], device=base.device)
        return renormalised(base.head.columns(self.beginnings.ends(texts), tokens))


def spelled(text: str, controls: Sequence[str]) -> str:
    """The text with a space within each control token, so that it is none; the longest ones come first."""
    for control in controls:
        if len(control.strip()) > 1:
            text = text.replace(control, f"{control[0]} {control[1:]}")
    return text


def apart(wholes: Sequence[Ids], said: Sequence[str]) -> tuple[Ids, tuple[Ids, ...]]:
    """What all answers begin with, and what each goes on with: "(A)" and "(B)", " A" and " B", whatever the tokenizer makes of
    them. Each keeps one token at least."""
    most = min(map(len, wholes)) - 1
    shared = next((i for i in range(most) if len({whole[i] for whole in wholes}) > 1), max(most, 0))
    rest = tuple(whole[shared:] for whole in wholes)
    if len(set(rest)) < len(rest) or not all(rest):
        raise JudgeError(f"the tokenizer writes two of the answers {list(said)} alike; choose options that it can tell apart")
    return wholes[0][:shared], rest


def exclusive(sums: Tensor, answers: Sequence[Sequence[Ids]]) -> Tensor:
    """(sheets, answers) log p of each answer alone: where one begins another, as "1" does "10" for a tokenizer that goes digit
    by digit, its tokens are as likely as both together."""
    chances = (sums - sums.amax(1, keepdim=True)).double().exp()
    alone = chances.clone()
    for row, own in enumerate(answers):
        for place, answer in enumerate(own):
            begun = [other for other in own if len(other) < len(answer) and answer[: len(other)] == other]
            if begun:  # the longest of these holds it; that one is held by the others
                alone[row, own.index(max(begun, key=len))] -= chances[row, place]
    return alone.clamp(min=0).log()


def renormalised(sums: Tensor) -> list[tuple[float, ...]]:
    """(sheets, answers) → the probability of each of a sheet's answers, were there no others."""
    return [tuple(chances) for chances in sums.double().softmax(-1).tolist()]
