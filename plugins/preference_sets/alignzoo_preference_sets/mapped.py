"""Rows with known columns → records. Answers may be texts, or dialogues that end with the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from alignzoo.records import Comparison, Completion, Demonstration, Prompt, Provenance, Rating, Turn
from alignzoo_preference_sets.columns import Columns
from alignzoo_preference_sets.dialogues import continued, dialogue_of, rounds_of, turns_of
from alignzoo_preference_sets.fields import Row, Taken, Unfit, different, in_order, kind_of, whole_text

UP = ("true", "1", "1.0", "+1", "up", "good", "yes", "like", "liked", "desirable", "👍")
DOWN = ("false", "0", "0.0", "-1", "-1.0", "down", "bad", "no", "dislike", "disliked", "undesirable", "👎")
TIES = ("tie", "both", "equal", "same", "draw", "none", "neither", "tie (bothbad)", "bothbad", "both_bad", "0.5")


@dataclass(frozen=True)
class Verdicts:
    """Words of a winner's column. Without them, the column's own name or its ending counts: "response_a", "a", "model_a"."""

    first: str = ""
    """What it says where the first is better."""
    second: str = ""
    """Where the second is."""
    tie: str = ""
    """Where neither is."""


def compared(row: Row, columns: Columns, source: str, licence: str) -> Taken:
    """Chosen over rejected."""
    (before, better), (other, worse) = dialogue_of(row, columns.chosen), dialogue_of(row, columns.rejected)
    turns = _shared(prompt_of(row, columns), before, other, "chosen and rejected")
    sure = not columns.strength or columns.strength not in row.cells  # also where other rows say how sure they are
    strength = 1.0 if sure else row.number(columns.strength)
    if not 0 <= strength <= 1:
        raise Unfit(f"'{columns.strength}' must be between 0 and 1")
    comparison = Comparison(_prompt(turns), *different(better, worse), strength, _provenance(row, columns, source, licence))
    taken = _taken(row, columns, turns, comparison)
    return replace(taken, notices=("no strength: it counts as sure",)) if columns.strength and sure else taken


def judged(row: Row, columns: Columns, words: Verdicts, source: str, licence: str) -> Taken:
    """Two answers, and a winner or a tie."""
    spoken = (columns.first, columns.second)
    rounds = rounds_of(row, columns.prompt, *spoken) if columns.prompt else ()
    (before, one), (other, two) = rounds or [dialogue_of(row, name) for name in spoken]
    asked = _above(row, columns) if rounds else prompt_of(row, columns)
    turns, answers = _shared(asked, before, other, "the two dialogues"), different(one, two)
    first = first_wins(row, columns, words)
    better, worse = answers if first >= 0.5 else answers[::-1]
    kept = Comparison(_prompt(turns), better, worse, 1.0 if first != 0.5 else 0.5, _provenance(row, columns, source, licence))
    return _taken(row, columns, turns, kept)


def first_wins(row: Row, columns: Columns, words: Verdicts) -> float:
    """The probability that the first is better: 1, 0, or 0.5."""
    value = row.cells.get(columns.winner)
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise Unfit(f"'{columns.winner}' is {'missing' if value is None else 'no verdict but ' + kind_of(value)}")
    said = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip().lower()
    first, second = _names(columns.first, words.first), _names(columns.second, words.second)
    ties = (words.tie.strip().lower(),) if words.tie else TIES  # a bare 0 is none: it may count from 0, or be a tie
    for verdict, known in ((1.0, first), (0.0, second), (0.5, ties)):
        if said in known:
            return verdict
    raise Unfit(f"'{columns.winner}' names neither answer; say verdicts.first and verdicts.second")


def _names(column: str, word: str) -> set[str]:
    """What may stand for a column: the word that was said, or its name, or its ending: response_a, a, model_a."""
    if word:
        return {word.strip().lower()}
    low = column.lower()
    ending = re.search(r"(?:(?<=_)[a-z]|\d+|^[a-z])$", low)
    return {low} | ({ending[0], f"model_{ending[0]}"} if ending else set())


def ranked(row: Row, columns: Columns, source: str, licence: str) -> Taken:
    """Several answers by their ranks, or by their scores."""
    turns, answers = prompt_of(row, columns), row.texts(columns.completions)
    places = row.numbers(columns.ranks) if columns.ranks else tuple(-score for score in row.numbers(columns.scores))
    if len(places) != len(answers):
        raise Unfit("as many ranks or scores as answers are needed")
    ranking, notices = in_order(_prompt(turns), answers, places, _provenance(row, columns, source, licence))
    return replace(_taken(row, columns, turns, ranking), notices=notices)


def rated(row: Row, columns: Columns, value: str, source: str, licence: str) -> Taken:
    """One answer, with a score or a thumb."""
    turns, answer = _asked_and_said(row, columns)
    score = row.number(columns.score) if columns.score else _thumb(row, columns.label)
    who = _provenance(row, columns, source, licence)
    return _taken(row, columns, turns, Rating(_prompt(turns), Completion(answer), score, value, who))


def demonstrated(row: Row, columns: Columns, source: str, licence: str) -> Taken:
    """One answer, as an example to follow."""
    turns, answer = _asked_and_said(row, columns)
    who = _provenance(row, columns, source, licence)
    return _taken(row, columns, turns, Demonstration(_prompt(turns), Completion(answer), who))


# Parts of a row -------------------------------------------------------------------------------------------------------


def prompt_of(row: Row, columns: Columns) -> tuple[Turn, ...]:
    """What was asked; nothing where the dialogue itself says so."""
    above = _above(row, columns)
    if not columns.prompt:
        return above
    read = turns_of(row, columns.prompt)
    if read and not read[-1].text:
        read = read[:-1]  # "…\n\nAssistant:", where the answer is to follow
    if read:
        return above + read
    asked = row.text(columns.prompt)
    more = row.maybe(columns.input) if columns.input else ""
    return (*above, Turn("user", f"{asked}\n\n{more}" if more else asked))


def _above(row: Row, columns: Columns) -> tuple[Turn, ...]:
    system = row.maybe(columns.system) if columns.system else ""
    return (Turn("system", system),) if system else ()


def _shared(asked: tuple[Turn, ...], before: tuple[Turn, ...], other: tuple[Turn, ...], whose: str) -> tuple[Turn, ...]:
    """The prompt of two answers, which must be one."""
    turns = continued(asked, before)
    if turns != continued(asked, other):
        raise Unfit(f"{whose} part before the last answer")
    return turns


def _asked_and_said(row: Row, columns: Columns) -> tuple[tuple[Turn, ...], str]:
    if columns.messages:
        before, answer = dialogue_of(row, columns.messages)
        return before, answer
    before, answer = dialogue_of(row, columns.completion)
    return continued(prompt_of(row, columns), before), answer


def _thumb(row: Row, column: str) -> float:
    value = row.cells.get(column)
    said = str(value).strip().lower()
    if not isinstance(value, bool | int | float | str) or said not in (*UP, *DOWN):
        raise Unfit(
            f"'{column}' is {'missing' if value is None else 'no thumb: true or false, 1 or 0, up or down, good or bad'}"
        )
    return float(said in UP)


def _prompt(turns: tuple[Turn, ...]) -> Prompt:
    if not any(turn.speaker == "user" for turn in turns):
        raise Unfit("there is no prompt, in a column of its own or before the answer")
    return Prompt(turns)


def _provenance(row: Row, columns: Columns, source: str, licence: str) -> Provenance:
    who, when, note = (_cell(row, column) for column in (columns.annotator, columns.time, columns.note))
    return Provenance(source, who, when, licence, note=note)


def _cell(row: Row, column: str) -> str:
    """A name or a number, as text; also a day or a moment, which parquet has of its own."""
    value = row.cells.get(column) if column else None
    if value is None:
        return ""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Unfit(f"'{column}' must be text or a number, not {kind_of(value)}")
    return whole_text(str(value), column).strip()


def _taken(row: Row, columns: Columns, turns: tuple[Turn, ...], record: Any) -> Taken:
    named = _cell(row, columns.group)
    return Taken(named or opening_of(turns), (record,), _cell(row, columns.id), named=bool(named))


def opening_of(turns: tuple[Turn, ...]) -> str:
    """What a dialogue begins with, whatever instructions stand above it."""
    return next((turn.text for turn in turns if turn.speaker == "user"), "")
