"""Whatever a row holds, it becomes records or a named reason, and whatever a file holds, rows or a named error."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignzoo.records import from_json, to_json
from alignzoo.rows import Fault, ReadError, rows_in
from alignzoo.testing import toy_tokenizer
from alignzoo_preference_sets import choices
from alignzoo_preference_sets.choices import LMHumanPreferences, PandaLM, SafeRLHF
from alignzoo_preference_sets.columns import Columns, ColumnsError, resolved
from alignzoo_preference_sets.fields import Aside, Row, Taken, Unfit
from alignzoo_preference_sets.file import File
from alignzoo_preference_sets.hh import HH, RedTeam
from alignzoo_preference_sets.oasst import Oasst, trees
from alignzoo_preference_sets.scored import HelpSteer, UltraFeedback
from alignzoo_preference_sets.shapes import shape_of
from alignzoo_preference_sets.shp import SHP
from alignzoo_preference_sets.summaries import SummarizeFromFeedback
from alignzoo_preference_sets.webgpt import WebGPT

TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["\n\nHuman: a\n\nAssistant: b", "\n\nHuman:", "\n\nAssistant: c", "\ud800", " ", "N/A", "nan", "1e999", "1"]
    ),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 5),
    st.integers(),
    st.floats(),
    TEXTS,
    st.just(10**400),
    st.sampled_from([0.0, 1.0]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


def rows_like(sound: Any) -> st.SearchStrategy[Any]:
    """Rows of this shape in which any part may be anything, or missing."""
    if isinstance(sound, dict):
        parts = {name: rows_like(part) for name, part in sound.items()}
        shape: st.SearchStrategy[Any] = st.fixed_dictionaries({}, optional=parts) | st.fixed_dictionaries(parts)
    elif isinstance(sound, list):
        shape = st.tuples(*map(rows_like, sound)).map(list) | st.lists(rows_like(sound[0]), max_size=3)
    else:
        shape = st.just(sound)
    return st.one_of(shape, shape, shape, JSON)


MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]
ROUND = [{"role": "user", "content": "Hi\n\nx"}, {"role": "assistant", "content": "Yes"}]
SAID = {"message_id": "m", "text": "A", "role": "assistant", "rank": 0, "deleted": False, "lang": "en"}
SOUND: dict[str, tuple[list[Callable[[Row], Taken]], dict[str, Any]]] = {
    "hh": (
        [HH(diverging=diverging).taken for diverging in ("drop", "answer", "whole")],
        {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
    ),
    "red team": (
        [RedTeam().taken, RedTeam(score="model").taken],
        {
            "transcript": "\n\nHuman: a\n\nAssistant: b",
            "rating": 2,
            "min_harmlessness_score_transcript": 0.5,
            "red_team_member_id": 3,
            "model_type": "rlhf",
        },
    ),
    "summaries": (
        [SummarizeFromFeedback().compared, SummarizeFromFeedback(sure=True, splits=("train",)).compared],
        {
            "info": {"id": "i", "post": "p", "title": "t", "subreddit": "s", "article": None},
            "summaries": [{"text": " a", "policy": "x"}, {"text": " b", "policy": "y"}],
            "choice": 1,
            "worker": "w",
            "split": "train",
            "extra": {"confidence": 7},
        },
    ),
    "axis": (
        [SummarizeFromFeedback(kind="axis", axes=("overall", "coverage")).marked],
        {"info": {"id": "i", "post": "p"}, "summary": {"text": "a", "axes": {"overall": 3, "coverage": None}}, "worker": "w"},
    ),
    "webgpt": (
        [WebGPT().taken, WebGPT(ties=False, quotes="before", citations=True).taken],
        {
            "question": {"dataset": "d", "id": "i", "full_text": "q"},
            "quotes_0": {"title": ["t"], "extract": ["e"]},
            "quotes_1": {"title": ["t"], "extract": ["e"]},
            "answer_0": "a [1]",
            "answer_1": "b",
            "score_0": 0.5,
            "score_1": -0.5,
        },
    ),
    "shp": (
        [SHP().taken, SHP(ratio=2.0, domains=("a",)).taken],
        {
            "post_id": "p",
            "domain": "a_train",
            "history": "h",
            "human_ref_A": "a",
            "human_ref_B": "b",
            "score_A": 4,
            "score_B": 2,
            "labels": 1,
            "seconds_difference": 1.0,
            "score_ratio": 2.0,
            "created_at_utc_A": 5,
            "created_at_utc_B": 4,
        },
    ),
    "oasst": (
        [Oasst().taken, Oasst(kind="demonstrations", languages=("en",), states=()).taken],
        {
            "message_tree_id": "t",
            "tree_state": "ready_for_export",
            "prompt": {**SAID, "role": "prompter", "text": "P", "replies": [SAID, {**SAID, "text": "B", "rank": 1}]},
        },
    ),
    "ultrafeedback": (
        [*(UltraFeedback(mark=mark).taken for mark in ("mean", "overall", "aspects")), UltraFeedback(kind="rankings").taken],
        {
            "instruction": "i",
            "completions": [
                {
                    "model": "m",
                    "response": "r",
                    "overall_score": 7,
                    "annotations": {
                        name: {"Rating": "4"} for name in ("instruction_following", "honesty", "truthfulness", "helpfulness")
                    },
                }
            ]
            * 2,
        },
    ),
    "helpsteer": (
        [HelpSteer(values=("helpfulness", "verbosity")).taken],
        {"prompt": "p\n<extra_id_1>Assistant\na\n<extra_id_1>User\nb", "response": "r", "helpfulness": 3, "verbosity": 0},
    ),
    "binarized": (
        [UltraFeedback(kind="pairs").paired],
        {
            "prompt": "Hi",
            "chosen": MESSAGES,
            "rejected": [*MESSAGES[:1], {"role": "assistant", "content": "No"}],
            "score_chosen": 8.5,
            "score_rejected": 3,
        },
    ),
    "preferences": (
        [HelpSteer(kind="preferences").preferred, HelpSteer(kind="preferences", strength="graded").preferred],
        {"split": "train", "prompt": "p", "response_1": "a", "response_2": "b", "preference_strength": -2},
    ),
    "saferlhf": (
        [SafeRLHF(value=value).taken for value in ("helpful", "safe", "safe or not")],
        {
            "prompt": "p",
            "response_0": "a",
            "response_1": "b",
            "better_response_id": 0,
            "safer_response_id": 1,
            "is_response_0_safe": True,
            "is_response_1_safe": False,
        },
    ),
    "pandalm": (
        [PandaLM().taken, PandaLM(voices="together").taken],
        {
            "instruction": "i",
            "input": "",
            "response1": "a",
            "response2": "b",
            "annotator1": 0,
            "annotator2": 1,
            "annotator3": 2,
        },
    ),
    "lm-human-preferences": (
        [LMHumanPreferences().taken],
        {"query": [20, 21], "sample0": [22], "sample1": "b", "sample2": [23, 50_259], "sample3": [24], "best": 2},
    ),
}
OWN: dict[str, dict[str, Any]] = {
    "comparisons": {
        "prompt": "Hi",
        "chosen": MESSAGES,
        "rejected": "No",
        "strength": 0.75,
        "id": 3,
        "time": 1.5,
        "system": "s",
    },
    "verdicts": {"prompt": "Hi", "input": "x", "response_a": "a", "response_b": ROUND, "winner": "a", "annotator": "w"},
    "arena": {"conversation_a": MESSAGES, "conversation_b": [*MESSAGES[:1], {**MESSAGES[1], "content": "No"}], "winner": "tie"},
    "rounds": {"prompt": '["Hi", "Ho"]', "response_a": '["a", "b"]', "response_b": ["a", "c"], "winner": "model_b"},
    "tuning": {
        "input": {"messages": MESSAGES[:1]},
        "preferred_output": MESSAGES[1:],
        "non_preferred_output": "No",
    },
    "rankings": {"prompt": "Hi", "completions": ["a", "b"], "ranks": [2, 1], "group": "g"},
    "scored": {"prompt": MESSAGES[:1], "completion": "a", "score": 3.5},
    "thumbs": {"messages": MESSAGES, "label": "up"},
    "demonstrations": {"messages": MESSAGES},
    "records": {
        "kind": "rating",
        "prompt": {"turns": [{"speaker": "user", "text": "Hi"}]},
        "completion": {"text": "a"},
        "score": 1,
    },
}
SHAPED: dict[str, dict[str, Any]] = {
    "flags": {"prompt": "Hi", "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0},
    "listed": {"prompt": "Hi", "answers": [{"answer": "a", "rank": 1.0}, {"answer": "b", "rank": 2.0}]},
    "scored": {"prompt": "Hi", "responses": '[{"text": "a", "score": 1.0}, {"text": "b", "score": 2.0}]'},
}


@pytest.fixture(autouse=True)
def _known_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    known = toy_tokenizer()
    monkeypatch.setattr(choices, "_tokenizer", lambda name: known)


def records_or_reason(convert: Callable[[Row], Taken], row: dict[str, Any]) -> bool:
    """Whether there were records; each can be written and read back."""
    taken, reason = None, ""
    try:
        taken = convert(Row(row))
    except (Unfit, Aside) as error:
        reason = str(error)
    if taken is None:
        assert 0 < len(reason) < 200
        return False
    assert taken.group
    assert taken.records
    for record in taken.records:
        line = to_json(record)
        line.encode("utf-8")
        assert from_json(line) == record
    return True


fuzzed = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", SOUND)
@fuzzed
@given(data=st.data())
def test_any_row_of_a_set(name: str, data: st.DataObject) -> None:
    converters, sound = SOUND[name]
    row = data.draw(rows_like(sound))
    for convert in converters:
        records_or_reason(convert, row if isinstance(row, dict) else {})


@pytest.mark.parametrize("name", SOUND)
def test_the_sound_row_is_sound(name: str) -> None:
    converters, sound = SOUND[name]
    assert records_or_reason(converters[0], sound)


@pytest.mark.parametrize("name", OWN)
@fuzzed
@given(data=st.data())
def test_any_row_of_a_file(name: str, data: st.DataObject) -> None:
    sound = OWN[name]
    form, columns = resolved(sound, Columns())
    source = object.__new__(File)  # one that looks into no file
    for field, value in {"source": "mine", "licence": "", "value": "overall", "verdicts": File.verdicts}.items():
        object.__setattr__(source, field, value)
    row = data.draw(rows_like(sound))
    records_or_reason(lambda cells: source.taken(form, columns, cells), row if isinstance(row, dict) else {})
    assert records_or_reason(lambda cells: source.taken(form, columns, cells), sound)


@pytest.mark.parametrize("name", SHAPED)
@fuzzed
@given(data=st.data())
def test_any_row_of_a_shape(name: str, data: st.DataObject) -> None:
    """A first row may be anything; and so may a later one, once the shape is known."""
    row = data.draw(rows_like(SHAPED[name]))
    shape_of(row if isinstance(row, dict) else {}, Columns(), "")
    with suppress(Unfit):
        plain = shape_of(SHAPED[name], Columns(), "").plain(row if isinstance(row, dict) else {})
        assert {"winner", "ranks", "scores"} & set(plain)


@fuzzed
@given(
    st.lists(st.sampled_from([name for row in OWN.values() for name in row] + ["x", "Kind", "question", "label"]), unique=True)
)
def test_any_columns(names: list[str]) -> None:
    with suppress(ColumnsError):
        form, columns = resolved(names, Columns())
        assert form in ("comparisons", "verdicts", "rankings", "ratings", "demonstrations", "records")
        assert set(columns.named().values()) <= set(names)


@fuzzed
@given(st.lists(rows_like({**SAID, "message_tree_id": "t", "parent_id": "m"}), max_size=4))
def test_any_messages(rows: list[Any]) -> None:
    placed = [(f"f:{number}", row) for number, row in enumerate(rows) if isinstance(row, dict)]
    for _, tree in trees(placed):
        if not isinstance(tree, Fault):
            records_or_reason(Oasst().taken, dict(tree))


PIECES = st.sampled_from(
    [b'{"a": 1}', b"\n", b"\r\n", b"[", b"]", b",", b'"', b"{", b"\xff", b"\xef\xbb\xbf", b"null", b" ", b"a,b", b"\x00"]
)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv"])
@fuzzed
@given(parts=st.lists(PIECES, max_size=30), packed=st.booleans(), cut=st.integers(0, 20))
def test_any_bytes(name: str, parts: list[bytes], packed: bool, cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path: Path = tmp_path_factory.getbasetemp() / name
    whole = gzip.compress(b"".join(parts)) if packed else b"".join(parts)
    path.write_bytes(whole[: len(whole) - cut])
    with suppress(ReadError):
        rows = list(rows_in(path))
        assert all(place.startswith(f"{name}:") for place, _ in rows)
        assert all(isinstance(row, dict) or (isinstance(row, Fault) and row.reason) for _, row in rows)
        json.dumps([row for _, row in rows if isinstance(row, dict)])
