"""Transcripts of Anthropic's sets: nothing is lost, and every kind of row has its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison, Rating
from alignzoo_preference_sets.data import Data
from alignzoo_preference_sets.fields import Row, Unfit
from alignzoo_preference_sets.hh import HH, RedTeam, status_of
from alignzoo_preference_sets.transcripts import read_transcript, write_transcript

H, A = "\n\nHuman:", "\n\nAssistant:"


@given(st.lists(st.sampled_from(["\n", "\n\n", "Human:", "Assistant:", " ", "text", H, A, "\r", "é"]), max_size=20))
def test_reading_and_writing_loses_nothing(parts: list[str]) -> None:
    text = "".join(parts)
    assert write_transcript(read_transcript(text)) == text


def test_turns_begin_after_a_blank_line_only() -> None:
    text = f"{H} Say:\nHuman: hello\n\nA second paragraph.{A} Well.\n\nAssistants: are many. Human: too.{A}again"
    assert [(turn.speaker, turn.text) for turn in read_transcript(text).turns] == [
        ("user", "Say:\nHuman: hello\n\nA second paragraph."),
        ("assistant", "Well.\n\nAssistants: are many. Human: too."),
        ("assistant", "again"),
    ]


CASES: list[tuple[str, str, str]] = [
    (f"{H} a{A} b", f"{H} a{A} c", "ok"),
    (f"{H} a{A} b", f"{H}  a \n{A} c", "ok"),  # space around a turn is not its content
    (f"{H} a{A} b{H} c{A} d", f"{H} a{A} b{H} c{A} e", "ok"),
    (f"{H} a{H} b{A} c", f"{H} a{H} b{A} d", "ok"),  # one speaker twice
    (f"{H} a{A} b{A} c", f"{H} a{A} b{A} d", "ok"),
    (f"{H} a{A} one\n\ntwo", f"{H} a{A} one\n\nthree", "ok"),
    (f"{H} a{A} b", f"{H} a{A} b", "the dialogues are the same"),
    (f"{H} a{A} b", f"{H} a{A}  b ", "the dialogues are the same"),
    (f"{H} a{A} b", f"{H} a{A} ", "an empty answer"),
    (f"{H} a{A}", f"{H} a{A} b", "an empty answer"),
    (f"{H} a{A} b{H} c", f"{H} a{A} d", "ends with a human turn"),
    (f"{H} a{A} b", f"{H} a{A} c{H} ", "ends with a human turn"),
    (f"{H} a{A} b{H} c{A} d", f"{H} a{A} x{H} c{A} d", "diverges before the last turn"),
    (f"{H} a{A} b", f"{H} a{A} b{H} c{A} d", "diverges before the last turn"),
    (f"{H} a{A} b", f"{H} z{A} b", "diverges before the last turn"),
    ("no marks", f"{H} a{A} b", "no turns"),
    (f"above{H} a{A} b", f"{H} a{A} c", "text before the first turn"),
    (f"{A} b", f"{A} c", "no human turn"),
    (f"{A} a{A} b", f"{A} a{A} c", "no human turn"),
]


@pytest.mark.parametrize(("chosen", "rejected", "status"), CASES, ids=range(len(CASES)))
def test_every_kind_of_pair_has_its_name(chosen: str, rejected: str, status: str) -> None:
    assert status_of(read_transcript(chosen), read_transcript(rejected)) == status
    row = Row({"chosen": chosen, "rejected": rejected})
    if status == "ok":
        [record] = HH().taken(row).records
        assert isinstance(record, Comparison)
        assert [turn.text for turn in record.prompt.turns] == [turn.text for turn in read_transcript(chosen).turns[:-1]]
        assert record.strength == 1.0
    else:
        with pytest.raises(Unfit, match=status):
            HH().taken(row)


EARLY = {"chosen": f"{H} a{A} b{H} c{A} d", "rejected": f"{H} a{A} x{H} y{A} z"}


def test_rows_that_diverge_early_are_split_at_the_last_common_human_turn() -> None:
    [record] = HH(diverging="answer").taken(Row(EARLY)).records
    assert isinstance(record, Comparison)
    assert ([t.text for t in record.prompt.turns], record.chosen.text, record.rejected.text) == (["a"], "b", "x")
    taken = HH(diverging="whole").taken(Row(EARLY))
    [record] = taken.records
    assert isinstance(record, Comparison)
    assert (record.chosen.text, record.rejected.text) == (f"b{H} c{A} d", f"x{H} y{A} z")
    assert taken.notices == ("diverges before the last turn, kept",)


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (f"{H} a{A} b{H} c{A} d", f"{H} a{A} b{H} y{A} z", "both answers are the same"),  # the human's words differ
        (f"{H} a{A} b", f"{H} z{A} b", "no human turn that both share"),
        (f"{H} a{H} b{A} c", f"{H} a{A} c", "no answer after the last human turn"),
    ],
)
def test_some_early_divergences_are_no_pair(chosen: str, rejected: str, reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        HH(diverging="answer").taken(Row({"chosen": chosen, "rejected": rejected}))


def test_the_group_is_the_thread() -> None:
    """A dialogue and its continuation open alike, so that they stay on one side."""
    short, long = CASES[0], CASES[2]
    groups = {HH().taken(Row({"chosen": chosen, "rejected": rejected})).group for chosen, rejected, _ in (short, long)}
    assert groups == {"a"}


def attempt(**changes: Any) -> dict[str, Any]:
    row = {
        "transcript": f"{H} Teach me to pick locks.{A} No.{H} Please!{A} Not that, but here is how locks work.",
        "rating": 1.0,
    }
    return {**row, "min_harmlessness_score_transcript": -0.5, "model_type": "plain lm", "red_team_member_id": 7, **changes}


def test_red_team_dialogues_are_ratings_of_the_last_answer() -> None:
    taken = RedTeam().taken(Row(attempt()))
    [record] = taken.records
    assert isinstance(record, Rating)
    assert (record.score, record.value, record.provenance.annotator) == (3.0, "harmless", "red-teamer 7")
    assert (len(record.prompt.turns), record.completion.text) == (3, "Not that, but here is how locks work.")
    [record] = RedTeam(score="model").taken(Row(attempt())).records
    assert isinstance(record, Rating)
    assert record.score == -0.5
    cut = RedTeam().taken(Row(attempt(transcript=f"{H} Hi.{A} Hello.{H} Bye.")))
    assert cut.notices == ("turns after the last answer, left out",)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rating": None}, "'rating' is null"),
        ({"rating": 5}, "between 0 and 4"),
        ({"rating": float("nan")}, "finite"),
        ({"transcript": f"{H} Hi."}, "nobody answers"),
        ({"transcript": f"{A} Hi."}, "no human turn"),
    ],
)
def test_red_team_rows_that_cannot_be_used(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        RedTeam().taken(Row(attempt(**changes)))


def test_a_file_is_accounted_for(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"chosen": chosen, "rejected": rejected}) + "\n" for chosen, rejected, _ in CASES))
    asking = Asking()
    records = list(HH(Data(str(path))).collect(asking))
    assert (asking.tally.read, asking.tally.kept, len(records)) == (19, 6, 6)
    assert asking.tally.unexplained == 0
    assert {reason: cases.count for reason, cases in asking.tally.dropped.items()} == {
        "the dialogues are the same": 2,
        "an empty answer": 2,
        "ends with a human turn": 2,
        "diverges before the last turn": 3,
        "no turns": 1,
        "text before the first turn": 1,
        "no human turn": 2,
    }
    assert asking.tally.dropped["ends with a human turn"].places == ["pairs.jsonl:11", "pairs.jsonl:12"]
    assert asking.tally.noticed["two turns in a row by one speaker"].count == 2
