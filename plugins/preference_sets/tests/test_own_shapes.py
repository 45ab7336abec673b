"""Files in forms that others publish: dialogues with a verdict, rounds, flags, answers that are listed with their marks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison, Prompt, Ranking, Turn
from alignzoo_preference_sets.columns import Columns, ColumnsError
from alignzoo_preference_sets.data import Data
from alignzoo_preference_sets.file import File
from alignzoo_preference_sets.mapped import Verdicts


def asked(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


ARENA = {
    "question_id": "q1",
    "model_a": "small",
    "model_b": "large",
    "winner": "model_b",
    "conversation_a": [asked("Hi"), said("Go away")],
    "conversation_b": [asked("Hi"), said("Hello")],
}
ROUNDS = {"prompt": '["Hi"]', "response_a": '["Go away"]', "response_b": '["Hello"]'}
FLAGS = {"winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0}
TUNING = {"input": {"messages": [asked("Hi")], "tools": []}, "preferred_output": [said("Hello")]}
NECTAR = {
    "prompt": "\n\nHuman: Hi\n\nAssistant: ",
    "answers": [
        {"answer": "Go away", "model": "x", "rank": 3.0},
        {"answer": "Hello", "model": "y", "rank": 1.0},
        {"answer": "What?", "model": "z", "rank": 3.0},
    ],
}
PARTS = [{"type": "text", "text": "Hi"}]


def read(folder: Path, *rows: Any, **settings: Any) -> tuple[list[Any], Asking]:
    path, asking = folder / "mine.jsonl", Asking()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found: list[Any] = list(File(Data(str(path)), **settings).collect(asking))
    assert asking.tally.unexplained == 0
    return found, asking


@pytest.mark.parametrize(
    "row",
    [
        ARENA,
        {**ARENA, "prompt": "Hi"},
        {**ARENA, "conversation_a": json.dumps(ARENA["conversation_a"])},
        {**ARENA, "conversation_a": [asked("Hi") | {"content": PARTS}, said("Go away")]},
        {**ROUNDS, **FLAGS},
        {**ROUNDS, "winner": "b"},
        {"prompt": ["Hi"], "response_a": ["Go away"], "response_b": ["Hello"], **FLAGS},
        {"prompt": "Hi", "response_a": "Go away", "response_b": "Hello", **FLAGS},
        {**TUNING, "non_preferred_output": [said("Go away")]},
        {"prompt": [asked("Hi")], "chosen": [said("Hello")], "rejected": [said("Go away")]},
        {"prompt": "Hi", "chosen": [said("Hello")], "rejected": [said("Go away")]},
        {"prompt": "Hi", "chosen": [asked("Hi"), said("Hello")], "rejected": [asked("Hi"), said("Go away")]},
    ],
)
def test_a_choice_in_a_form_of_others(row: dict[str, Any], tmp_path: Path) -> None:
    [record], asking = read(tmp_path, row)
    assert isinstance(record, Comparison)
    assert (record.prompt, record.chosen.text, record.rejected.text) == (Prompt.ask("Hi"), "Hello", "Go away")
    assert len(asking.tally.noticed) == 1


def test_the_arena_has_ties_and_no_prompt(tmp_path: Path) -> None:
    ties = ("tie", "tie (bothbad)", "both_bad")
    found, asking = read(tmp_path, *({**ARENA, "question_id": tie, "winner": tie} for tie in ties))
    assert [(record.prompt, record.strength) for record in found] == [(Prompt.ask("Hi"), 0.5)] * 3
    assert list(asking.tally.noticed) == [
        "verdicts; columns that were guessed: first = 'conversation_a', second = 'conversation_b', winner = 'winner', "
        "group = 'question_id'; not read: 'model_a', 'model_b'"
    ]


def test_the_last_answers_to_one_dialogue_are_compared(tmp_path: Path) -> None:
    more = [asked("And?"), said("So?")]
    longer = {
        "conversation_a": [*ARENA["conversation_a"], *more],
        "conversation_b": [*ARENA["conversation_a"], *more[:1], said("No")],
    }
    rounds = {"prompt": '["Hi", "And?"]', "response_a": '["Go away", "So?"]', "response_b": '["Go away", "No"]', "winner": "b"}
    for row in ({**ARENA, **longer}, rounds):
        [record], _ = read(tmp_path, row)
        assert record.prompt.turns == (Turn("user", "Hi"), Turn("assistant", "Go away"), Turn("user", "And?"))
        assert (record.chosen.text, record.rejected.text) == ("No", "So?")


@pytest.mark.parametrize(
    ("good", "changes", "reason"),
    [
        (ARENA, {"conversation_a": [asked("Ho"), said("a")]}, "the two dialogues part before the last answer"),
        ({**ARENA, "prompt": "Hi"}, {"conversation_a": [asked("Ho"), said("a")]}, "something else than the prompt"),
        (
            ARENA,
            {f"conversation_{x}": [asked("Hi"), said(x), asked("And?"), said(x)] for x in "ab"},
            "the two dialogues part before the last answer",
        ),
        (ARENA, {"conversation_a": [asked("Hi")]}, "'conversation_a' does not end with an answer"),
        (ARENA, {"conversation_a": "[{'role': 'user'"}, "'conversation_a' begins like a list of messages, and is no JSON"),
        (ARENA, {"conversation_a": "Hello"}, "the two dialogues part before the last answer"),
        (
            ARENA,
            {"conversation_a": [asked("Hi") | {"content": [{"type": "image"}]}, said("a")]},
            "'conversation_a[].content' holds something else than text",
        ),
        (ROUNDS | FLAGS, {"response_a": '["a", "b"]'}, "'prompt' holds a text for each round, and an answer has more or fewer"),
        (ROUNDS | FLAGS, {"response_a": "[null]"}, "'response_a' must be a list of texts"),
        (ROUNDS | FLAGS, {"prompt": "[null]"}, "'prompt' must be a list of texts"),
        (ROUNDS | FLAGS, {"prompt": '["Hi'}, "'prompt' begins like a list of texts, and is no JSON"),
        (ROUNDS | FLAGS, {"response_a": "a"}, "'response_a' must be a list, not text"),
        (ROUNDS | FLAGS, {"winner_tie": 1}, "one of winner_model_a, winner_model_b, winner_tie must be 1, and the others 0"),
        (ROUNDS | FLAGS, {"winner_tie": None}, "'winner_tie' is null"),
        (
            TUNING | {"non_preferred_output": [said("Go away")]},
            {"input": {"messages": [asked("Hi")], "tools": [{"type": "function"}]}},
            "'input' offers tools, which no prompt here can hold",
        ),
        (NECTAR, {"answers": [{"answer": "a", "rank": 1}, {"answer": "b"}]}, "'answers[].rank' is missing"),
        (NECTAR, {"answers": "none"}, "'answers' must be a list"),
    ],
)
def test_what_cannot_be_compared_says_why(good: dict[str, Any], changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    found, asking = read(tmp_path, good, {**good, **changes})
    assert len(found) == 1
    [(told, cases)] = asking.tally.dropped.items()
    assert reason in told
    assert cases.places == ["mine.jsonl:2"]


@pytest.mark.parametrize(
    "row",
    [
        NECTAR,
        {
            "prompt": "Hi",
            "responses": [{"text": text, "score": score} for text, score in (("Go away", 1), ("Hello", 2.5), ("What?", 1))],
        },
        {"prompt": "Hi", "completions": '["Go away", "Hello", "What?"]', "ranks": "[2, 1, 2]"},
    ],
)
def test_listed_answers_are_a_ranking(row: dict[str, Any], tmp_path: Path) -> None:
    [record], _ = read(tmp_path, row)
    assert isinstance(record, Ranking)
    assert record.prompt == Prompt.ask("Hi")
    assert ([answer.text for answer in record.completions], record.ranks) == (["Hello", "Go away", "What?"], (0, 1, 1))


def test_what_a_shape_reads_is_told(tmp_path: Path) -> None:
    _, asking = read(tmp_path, NECTAR)
    assert next(iter(asking.tally.noticed)).endswith("completions are the 'answer' of 'answers', ranks their 'rank'")
    _, asking = read(tmp_path, ROUNDS | FLAGS)
    assert next(iter(asking.tally.noticed)).endswith(
        "; winner is the one of winner_model_a, winner_model_b, winner_tie that is 1"
    )


def test_a_first_row_that_does_not_fit_costs_itself(tmp_path: Path) -> None:
    found, asking = read(tmp_path, {**ROUNDS, **FLAGS, "winner_tie": 1}, ROUNDS | FLAGS)
    assert len(found) == 1
    assert next(iter(asking.tally.dropped.values())).places == ["mine.jsonl:1"]


def test_what_is_said_is_read_and_no_shape(tmp_path: Path) -> None:
    row = {**ARENA, **FLAGS, "better": "model_a"}
    [record], _ = read(tmp_path, row, columns=Columns(winner="better"))
    assert record.chosen.text == "Go away"
    left = {"l": ARENA["conversation_a"], "r": ARENA["conversation_b"], "won": "r"}
    [record], _ = read(tmp_path, left, columns=Columns(first="l", second="r", winner="won"), verdicts=Verdicts("l", "r"))
    assert (record.prompt, record.chosen.text) == (Prompt.ask("Hi"), "Hello")
    with pytest.raises(ColumnsError, match="no telling what the columns"):  # texts need a prompt
        read(tmp_path, {"response_a": "a", "response_b": "b", "winner": "a"})


def test_lists_in_a_table(tmp_path: Path) -> None:
    """A table has no lists, so they stand in it as JSON; as Python prints them they are told, and no answer."""
    path = tmp_path / "mine.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "chosen", "rejected"])
        writer.writerow(["Hi", json.dumps([asked("Hi"), said("Hello")]), json.dumps([said("Go away")])])
        writer.writerow(["Hi", str([asked("Hi"), said("Hello")]), "Go away"])
        writer.writerow(["Hi", '[{"a": 1}]', "[1, 2]"])
    asking = Asking()
    found = [record for record in File(Data(str(path))).collect(asking) if isinstance(record, Comparison)]
    assert [(record.chosen.text, record.rejected.text) for record in found] == [("Hello", "Go away"), ('[{"a": 1}]', "[1, 2]")]
    assert list(asking.tally.dropped) == ["'chosen' begins like a list of messages, and is no JSON"]
