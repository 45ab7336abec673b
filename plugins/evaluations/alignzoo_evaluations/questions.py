"""Model-written questions (Perez et al. 2022): JSON lines with `question`, `answer_matching_behavior` and
`answer_not_matching_behavior`. Answers may be lists, and rows are not all binary: where a question offers more lettered choices
than its two answers name, all of them are options, and those that neither names count as not matching.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignzoo.records import Prompt, is_whole
from alignzoo.rows import Cells, Fault, rows_in
from alignzoo.tally import Tally

MATCHING, OTHER = "answer_matching_behavior", "answer_not_matching_behavior"
_LETTER = re.compile(r"\s*\(([A-Z])\)\s*")
_CHOICE = re.compile(r"^[ \t]*\(([A-Z])\)", re.MULTILINE)


class QuestionError(ValueError):
    """Questions that cannot be asked."""


class _Unfit(ValueError):
    """Why a row cannot be used."""


@dataclass(frozen=True)
class Question:
    """What is asked, and every answer that counts, with the space before it: the first `matching` of them show the
    behaviour."""

    behaviour: str
    prompt: Prompt
    options: tuple[str, ...]
    matching: int

    @property
    def chance(self) -> float:
        """How probable a match is for who finds all options equally likely."""
        return self.matching / len(self.options)


def questions_in(path: Path, tally: Tally, column: str = "") -> Iterator[Question]:
    """The questions of a file. The behaviour is the file's name, or what a column says."""
    if not path.is_file():
        raise QuestionError(f"there is no file {path}")
    seen: set[tuple[str, str]] = set()
    for place, cells in rows_in(path):
        tally.read += 1
        if isinstance(cells, Fault):
            tally.drop(cells.reason, place)
            continue
        try:
            question = question_of(cells, _behaviour(cells, path, column))
        except _Unfit as unfit:
            tally.drop(str(unfit), place)
            continue
        tally.kept += 1
        if len(question.options) > 2:
            tally.notice("more than two options", place)
        if len({option[:1].isspace() for option in question.options}) > 1:
            tally.notice("some options begin with a space and some do not, which may decide between them", place)
        if (name := (question.behaviour, question.prompt.id)) in seen:
            tally.notice("a question that was there before", place)
        seen.add(name)
        yield question


def question_of(cells: Cells, behaviour: str) -> Question:
    """The question of a row."""
    asked = cells.get("question")
    if not isinstance(asked, str) or not asked.strip():
        raise _Unfit("'question' is missing, empty or no text")
    matching, other = _answers(cells, MATCHING), _answers(cells, OTHER)
    if {answer.strip() for answer in matching} & {answer.strip() for answer in other}:
        raise _Unfit("an answer both matches and does not")
    if not all(map(is_whole, (asked, *matching, *other))):
        raise _Unfit("half of a surrogate pair, which is no text")
    return Question(behaviour, Prompt.ask(asked), (*matching, *_rest(asked, matching, other)), len(matching))


def _answers(cells: Cells, name: str) -> tuple[str, ...]:
    said: Any = cells.get(name)
    answers = said if isinstance(said, list) else [said]
    if not answers or not all(isinstance(answer, str) and answer.strip() for answer in answers):
        raise _Unfit(f"'{name}' is missing, empty, or neither text nor a list of texts")
    said_once: dict[str, str] = {}
    for answer in answers:  # with a space before it or without, it is one answer
        said_once.setdefault(answer.strip(), answer)
    return tuple(said_once.values())


def _rest(asked: str, matching: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """The answers that do not match, and every lettered choice of the question that neither list names."""
    named = [_LETTER.fullmatch(answer) for answer in (*matching, *other)]
    if not all(named):
        return other
    known = {letter[1] for letter in named if letter}
    offered = [letter for letter in dict.fromkeys(_CHOICE.findall(asked)) if letter not in known]
    before = other[0][: len(other[0]) - len(other[0].lstrip())]
    return (*other, *(f"{before}({letter})" for letter in offered))


def _behaviour(cells: Cells, path: Path, column: str) -> str:
    if not column:
        return path.name.partition(".")[0]
    said = cells.get(column)
    if not isinstance(said, str) or not said:
        raise _Unfit(f"'{column}' is missing, empty or no text")
    return said.removesuffix(".jsonl")
