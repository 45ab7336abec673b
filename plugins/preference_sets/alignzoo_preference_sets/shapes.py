"""Rows that tell in several columns, or in a list of tables, what a plain one tells in one column: brought into plain ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from alignzoo_preference_sets.columns import PLAIN, Columns
from alignzoo_preference_sets.fields import Row, Unfit, listed

Cells = Mapping[str, Any]
FLAGS = {"winner_model_a": "model_a", "winner_model_b": "model_b", "winner_tie": "tie"}
"""Three columns of 0 and 1, as in lmsys-arena-human-preference-55k, and what a winner's column would say."""
_TEXTS = (*PLAIN["completion"][0], "text", "content")
_MARKS = {"ranks": ("rank",), "scores": PLAIN["score"][0]}


@dataclass(frozen=True)
class Shape:
    """How a file's rows become plain ones, and how that is told."""

    told: str
    plain: Callable[[Cells], Cells]
    """Raises `Unfit` where a row is not like the first."""


AS_IT_IS = Shape("", lambda cells: cells)


def shape_of(cells: Cells, said: Columns, form: str) -> Shape:
    """The shape of a file whose first sound row this is. A judgement whose column is said is read from there."""
    if form in ("", "verdicts") and not said.winner and set(FLAGS) <= set(cells) and "winner" not in cells:
        return Shape(f"winner is the one of {', '.join(FLAGS)} that is 1", _flagged)
    names = [said.completions] if said.completions else PLAIN["completions"][0]
    if form in ("", "rankings") and not said.ranks and not said.scores and not {*_MARKS} & set(cells):
        for name in names:
            if found := _marked(cells.get(name)):
                text, marks, mark = found
                told = f"completions are the '{text}' of '{name}', {marks} their '{mark}'"
                return Shape(told, partial(_apart, name, text, marks, mark))
    return AS_IT_IS


def _flagged(cells: Cells) -> Cells:
    row = Row(cells)
    won = [verdict for flag, verdict in FLAGS.items() if row.yes(flag)]
    if len(won) != 1:
        raise Unfit(f"one of {', '.join(FLAGS)} must be 1, and the others 0")
    return {**{name: value for name, value in cells.items() if name not in FLAGS}, "winner": won[0]}


def _marked(value: Any) -> tuple[str, str, str] | None:
    """Which fields of listed answers are the text and the mark, and whether marks are ranks or scores."""
    answers = listed(value)
    if not answers or not all(isinstance(answer, Mapping) for answer in answers):
        return None
    text = next((name for name in _TEXTS if all(isinstance(answer.get(name), str) for answer in answers)), "")
    for marks, names in _MARKS.items():
        mark = next((name for name in names if all(answer.get(name) is not None for answer in answers)), "")
        if text and mark:
            return text, marks, mark
    return None


def _apart(name: str, text: str, marks: str, mark: str, cells: Cells) -> Cells:
    answers = Row(cells).tables(name)
    return {**cells, name: [answer.text(text) for answer in answers], marks: [answer.number(mark) for answer in answers]}
