"""Files of one's own: what is plain is guessed and told, what is not is asked."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison, Completion, Demonstration, Feedback, Prompt, Ranking, Rating, to_json
from alignzoo.rows import ReadError
from alignzoo.seam.discovery import discover
from alignzoo_preference_sets.columns import Columns, ColumnsError
from alignzoo_preference_sets.data import Data
from alignzoo_preference_sets.file import File
from alignzoo_preference_sets.mapped import Verdicts


def written(folder: Path, *rows: Any, name: str = "mine.jsonl") -> Data:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Data(str(folder / name))


def records(source: File) -> list[Any]:
    asking = Asking()
    found: list[Feedback] = list(source.collect(asking))
    assert asking.tally.unexplained == 0
    return found


MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
]
OTHER = [*MESSAGES[:2], {"role": "assistant", "content": "Go away"}]
COMPARED: dict[str, dict[str, Any]] = {
    "texts": {"Prompt": "Hi", "chosen": "Hello", "rejected": "Go away"},
    "question": {"question": "Hi", "better": "Hello", "worse": "Go away"},
    "messages": {"chosen": MESSAGES[1:], "rejected": OTHER[1:]},
    "messages and prompt": {"prompt": "Hi", "chosen": MESSAGES[1:], "rejected": OTHER[1:]},
    "prompt as messages": {"prompt": MESSAGES[1:2], "chosen": MESSAGES[2:], "rejected": OTHER[2:]},
    "transcripts": {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: Go away"},
    "open transcript": {"prompt": "\n\nHuman: Hi\n\nAssistant:", "chosen": "Hello", "rejected": "Go away"},
    "a and b": {"prompt": "Hi", "response_a": "Go away", "response_b": "Hello", "winner": "b"},
    "0 and 1": {"prompt": "Hi", "response_0": "Hello", "response_1": "Go away", "choice": 0},
    "1 and 2": {"instruction": "Hi", "output_1": "Hello", "output_2": "Go away", "label": "1"},
    "models": {"prompt": "Hi", "answer_a": "Go away", "answer_b": "Hello", "winner": "model_b"},
    "by name": {"prompt": "Hi", "response1": "Hello", "response2": "Go away", "preference": "response1"},
}


@pytest.mark.parametrize("row", COMPARED.values(), ids=COMPARED)
def test_comparisons_of_many_shapes(row: dict[str, Any], tmp_path: Path) -> None:
    source = File(written(tmp_path, row))
    assert source.gives == ("comparison",)
    [record] = records(source)
    assert isinstance(record, Comparison)
    assert (record.prompt, record.chosen.text, record.rejected.text, record.strength) == (
        Prompt.ask("Hi"),
        "Hello",
        "Go away",
        1.0,
    )


def test_a_system_text_stays_above(tmp_path: Path) -> None:
    whole = Prompt.ask("Hi", system="Be brief.")
    assert records(File(written(tmp_path, {"chosen": MESSAGES, "rejected": OTHER})))[0].prompt == whole
    assert (
        records(File(written(tmp_path, {"prompt": "Hi", "system": "Be brief.", "chosen": "a", "rejected": "b"})))[0].prompt
        == whole
    )
    assert records(File(written(tmp_path, {"prompt": "Hi", "chosen": MESSAGES, "rejected": OTHER})))[0].prompt == whole
    row = {"prompt": "Hi", "system": "Be brief.", "chosen": MESSAGES[1:], "rejected": OTHER[1:]}
    assert records(File(written(tmp_path, row)))[0].prompt == whole


@pytest.mark.parametrize("tie", ["tie", "both", "Tie (bothbad)"])
def test_verdicts_may_be_ties(tie: str, tmp_path: Path) -> None:
    [record] = records(File(written(tmp_path, {"prompt": "Hi", "response_1": "a", "response_2": "b", "winner": tie})))
    assert record.strength == 0.5


def test_verdicts_in_words_of_ones_own(tmp_path: Path) -> None:
    row = {"prompt": "Hi", "left": "a", "right": "b", "says": "L"}
    columns = Columns(first="left", second="right", winner="says")
    [record] = records(File(written(tmp_path, row), columns=columns, verdicts=Verdicts("l", "r", "=")))
    assert record.chosen.text == "a"
    with pytest.raises(ReadError, match=r"'says' names neither answer; say verdicts.first"):
        records(File(written(tmp_path, row), columns=columns))


def test_zero_is_not_guessed_where_answers_are_counted_from_one(tmp_path: Path) -> None:
    """It may be a tie, as in PandaLM, or the first of two."""
    row = {"prompt": "Hi", "response1": "a", "response2": "b", "winner": 0}
    with pytest.raises(ReadError, match=r"'winner' names neither answer; say verdicts.first"):
        records(File(written(tmp_path, row)))
    assert records(File(written(tmp_path, row), verdicts=Verdicts(tie="0")))[0].tie


def test_zero_is_the_first_where_answers_are_counted_from_it(tmp_path: Path) -> None:
    row = {"prompt": "Hi", "response_0": "a", "response_1": "b"}
    found = records(File(written(tmp_path, {**row, "winner": 0}, {**row, "winner": 1.0}, {**row, "winner": "tie"})))
    assert [(record.chosen.text, record.strength) for record in found] == [("a", 1.0), ("b", 1.0), ("a", 0.5)]


def test_strength_column(tmp_path: Path) -> None:
    row = {"prompt": "Hi", "chosen": "a", "rejected": "b"}
    assert [r.strength for r in records(File(written(tmp_path, {**row, "strength": 0.75}, {**row, "strength": 0.5})))] == [
        0.75,
        0.5,
    ]


@pytest.mark.parametrize(
    ("row", "score"),
    [
        ({"prompt": "Hi", "completion": "Hello", "label": True}, 1),
        ({"prompt": "Hi", "completion": "Hello", "label": "down"}, 0),
        ({"prompt": "Hi", "completion": "Hello", "thumbs": -1}, 0),
        ({"prompt": "Hi", "response": "Hello", "category": {"theft": True}, "is_safe": False}, 0),
        ({"context": "Hi", "response": "Hello", "is_safe": True, "judge": "ann"}, 1),
        ({"question": "Hi", "answer": "Hello", "score": 3.5}, 3.5),
        ({"question": "Hi", "answer": "Hello", "rating": "4"}, 4),
        ({"messages": MESSAGES[1:], "label": "👍"}, 1),
        ({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}], "stars": 2}, 2),
    ],
)
def test_ratings_of_many_shapes(row: dict[str, Any], score: float, tmp_path: Path) -> None:
    source = File(written(tmp_path, row))
    assert source.gives == ("rating",)
    [record] = records(source)
    assert isinstance(record, Rating)
    assert (record.prompt, record.completion.text, record.score) == (Prompt.ask("Hi"), "Hello", score)


def test_rankings(tmp_path: Path) -> None:
    row = {"prompt": "Hi", "responses": ["c", "a", "b"]}
    for judgement in ({"ranks": [3, 1, 3]}, {"scores": [0.1, 0.9, 0.1]}):
        source = File(written(tmp_path, {**row, **judgement}))
        [record] = records(source)
        assert isinstance(record, Ranking)
        assert ([answer.text for answer in record.completions], record.ranks) == (["a", "c", "b"], (0, 1, 1))


def test_demonstrations(tmp_path: Path) -> None:
    for row in ({"messages": MESSAGES[1:]}, {"instruction": "Hi", "output": "Hello"}):
        source = File(written(tmp_path, row))
        assert source.gives == ("demonstration",)
        [record] = records(source)
        assert isinstance(record, Demonstration)
        assert (record.prompt.text, record.completion.text) == ("Hi", "Hello")
    for what in ("input", "context"):
        [record] = records(File(written(tmp_path, {"instruction": "Add", what: "2 and 2", "output": "4"})))
        assert record.prompt.text == "Add\n\n2 and 2"


def test_records_of_our_own_come_back(tmp_path: Path) -> None:
    whole = Comparison(Prompt.ask("Hi"), Completion("a"), Completion("b"), strength=0.75)
    assert records(File(written(tmp_path, json.loads(to_json(whole))))) == [whole]
    with pytest.raises(ReadError, match="no sound record: 'kind' must be one of"):
        records(File(written(tmp_path, {"kind": "x"})))
    row = {"kind": "trivia", "question": "Hi", "chosen": "a", "rejected": "b"}
    assert records(File(written(tmp_path, row)))[0].prompt.text == "Hi"  # a column that happens to be called so


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text('question,answer,score,worker,created_at,thread_id\n"Why,\nso?",Because,4,ann,2024-01-01,t1\n')
    asking = Asking()
    [record] = File(Data(str(path)), value="wit", licence="ours").collect(asking)
    assert isinstance(record, Rating)
    assert (record.prompt.text, record.score, record.value) == ("Why,\nso?", 4.0, "wit")
    source = record.provenance
    assert (source.source, source.annotator, source.time, source.licence) == ("mine", "ann", "2024-01-01", "ours")
    assert list(asking.tally.noticed) == [
        "ratings; columns that were guessed: prompt = 'question', completion = 'answer', score = 'score', "
        "annotator = 'worker', time = 'created_at', group = 'thread_id'"
    ]


def test_columns_that_a_guess_leaves_unread_are_told(tmp_path: Path) -> None:
    """A column that nobody reads may be the judgement: here every answer is taken for one to follow, the rude one too."""
    asking = Asking()
    [record] = File(written(tmp_path, {"prompt": "Hi", "response": "Hello", "is_polite": False, "turn": 1})).collect(asking)
    assert isinstance(record, Demonstration)
    assert list(asking.tally.noticed) == [
        "demonstrations; columns that were guessed: prompt = 'prompt', completion = 'response'; not read: 'is_polite', 'turn'"
    ]


def test_what_the_first_row_lacks_is_found_in_others(tmp_path: Path) -> None:
    """An input, or how sure somebody was, stands only in rows that have one."""
    shown = [
        {"instruction": "Sing.", "output": "La."},
        {"instruction": "Add.", "output": "4", "input": "2 and 2", "system": "Brief."},
    ]
    first, second = records(File(written(tmp_path, *shown)))
    assert (first.prompt.text, second.prompt.text) == ("Sing.", "Add.\n\n2 and 2")
    assert second.prompt.turns[0].text == "Brief."
    pair = {"prompt": "Hi", "chosen": "Hello", "rejected": "Go away"}
    for columns in (Columns(), Columns(strength="strength")):
        asking = Asking()
        pairs = list(File(written(tmp_path, pair, {**pair, "strength": 0.75}), columns=columns).collect(asking))
        assert [record.strength for record in pairs if isinstance(record, Comparison)] == [1.0, 0.75]
        assert asking.tally.noticed["no strength: it counts as sure"].places == ["mine.jsonl:1"]
    asking = Asking()
    assert len(list(File(written(tmp_path, pair, {**pair, "strength": None})).collect(asking))) == 1
    assert list(asking.tally.dropped) == ["'strength' is null"]


def test_a_column_that_comes_too_late_is_told(tmp_path: Path) -> None:
    pair = {"prompt": "Hi", "chosen": "Hello", "rejected": "Go away"}
    asking = Asking()
    assert (
        len(list(File(written(tmp_path, *[pair] * 20, {**pair, "strength": 0.6}, {**pair, "y": None})).collect(asking))) == 22
    )
    late = asking.tally.noticed["a column that the first 20 rows do not have: 'strength'"]
    assert late.places == ["mine.jsonl:21"]
    assert not any("'y'" in told for told in asking.tally.noticed)


def test_a_row_of_another_schema_costs_itself(tmp_path: Path) -> None:
    asking = Asking()
    old, new = {"prompt": "Hi", "chosen": "a", "rejected": "b"}, {"question": "Ho", "chosen": "c", "rejected": "d"}
    assert len(list(File(written(tmp_path, old, new)).collect(asking))) == 1
    assert list(asking.tally.dropped) == ["'prompt' is missing"]


def test_days_moments_and_exact_numbers_of_parquet(tmp_path: Path) -> None:
    """As pandas and Arrow write them; also words that Arrow took for a moment."""
    day, noon = date(2024, 1, 31), datetime(2024, 1, 31, 12, tzinfo=UTC)

    def given(rows: list[dict[str, Any]]) -> Any:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine.parquet")
        [record] = records(File(Data(str(tmp_path / "mine.parquet"))))
        return record

    marked = given([{"prompt": "Hi", "completion": "Hello", "score": Decimal("1.25"), "time": noon, "annotator": day}])
    assert (marked.score, marked.provenance.time, marked.provenance.annotator) == (1.25, noon.isoformat(), "2024-01-31")
    exact = [Decimal("0.5"), Decimal("0.75")]
    assert given([{"prompt": noon, "completions": ["a", "b"], "scores": exact}]).completions[0].text == "b"
    rating = {"kind": "rating", "prompt": {"turns": [{"speaker": "user", "text": "Hi"}]}, "completion": {"text": "a"}}
    told = given([{**rating, "score": 1.0, "provenance": {"source": "s", "time": noon}}])
    assert told.provenance.time == noon.isoformat()


def test_a_judge_is_an_annotator(tmp_path: Path) -> None:
    [record] = records(File(written(tmp_path, {"prompt": "Hi", "chosen": "a", "rejected": "b", "judge": "ann"})))
    assert record.provenance.annotator == "ann"


@pytest.mark.parametrize("form", ["comparisons", "verdicts", "rankings", "records"])
def test_a_form_that_the_columns_cannot_have_is_told_at_once(form: Any, tmp_path: Path) -> None:
    data = written(tmp_path, {"prompt": "Hi", "completion": "Hello", "label": True})
    with pytest.raises(
        ColumnsError, match=r"mine.jsonl: (no telling what the columns|records as alignzoo writes them say their kind)"
    ):
        File(data, form=form)


PUBLISHED = {
    "axis": "summarize-from-feedback",
    "best-of-four": "lm-human-preferences",
    "helpsteer": "helpsteer",
    "helpsteer-preference": "helpsteer",
    "oasst": "oasst",
    "pandalm": "pandalm",
    "red-team": "hh-red-team",
    "saferlhf": "pku-saferlhf",
    "shp": "shp",
    "summaries": "summarize-from-feedback",
    "ultrafeedback": "ultrafeedback",
    "webgpt": "webgpt-comparisons",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_set_is_sent_to_the_source_that_reads_it(name: str) -> None:
    """Where nothing was said of its columns. HelpSteer's would be taken otherwise, marks and all, for examples to follow."""
    data = Data(path=str(Path(__file__).parents[3] / "benchmarks" / "feedback" / f"{name}.jsonl"))
    with pytest.raises(
        ColumnsError, match=rf'are the columns of a set that has a source of its own: use = "{PUBLISHED[name]}"; or'
    ):
        File(data)
    assert discover().find("feedback", PUBLISHED[name]).plugin == "preference_sets"
    if name == "helpsteer":
        assert File(data, form="demonstrations").gives == ("demonstration",)


def test_columns_of_a_published_set_that_hold_a_judgement_by_themselves_are_taken(tmp_path: Path) -> None:
    """UltraFeedback's names, and ranks: somebody's own rankings."""
    row = {"instruction": "Hi", "completions": ["Hello", "Go away"], "ranks": [1, 2]}
    assert File(written(tmp_path, row)).gives == ("ranking",)


def test_what_is_named_is_not_told_as_guessed(tmp_path: Path) -> None:
    asking = Asking()
    columns = Columns(prompt="q", completion="a", score="s")
    assert list(File(written(tmp_path, {"q": "Hi", "a": "Hello", "s": 1}), columns=columns).collect(asking))
    assert asking.tally.noticed == {}


@pytest.mark.parametrize(
    ("row", "columns", "complaint"),
    [
        (
            {"question": "Hi", "prompt": "Ho", "answer": "a", "score": 1},
            Columns(),
            "prompt and question could both be the prompt",
        ),
        ({"question": "Hi", "prompt": "Ho", "chosen": "a", "rejected": "b"}, Columns(), "could both be the prompt"),
        ({"x": 1, "y": 2}, Columns(), "no telling what the columns x, y mean; say which are chosen"),
        (
            {"question": "Hi", "answer": "a"},
            Columns(score="marks"),
            "no such column: columns.score = 'marks'; there are question",
        ),
    ],
)
def test_columns_that_cannot_be_told(row: dict[str, Any], columns: Columns, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ColumnsError, match=complaint):
        File(written(tmp_path, row), columns=columns)


def test_a_name_settles_it(tmp_path: Path) -> None:
    row = {"question": "Hi", "prompt": "Ho", "answer": "a", "score": 1}
    assert records(File(written(tmp_path, row), columns=Columns(prompt="question")))[0].prompt.text == "Hi"
    assert File(written(tmp_path, row), columns=Columns(prompt="question", score="-")).gives == ("demonstration",)
    assert File(written(tmp_path, row), form="demonstrations", columns=Columns(prompt="question")).gives == ("demonstration",)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": None, "chosen": "a", "rejected": "b"}, "'prompt' is null"),
        ({"chosen": "a", "rejected": "b"}, "'prompt' is missing"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "a"}, "both answers are the same"),
        ({"prompt": "Hi", "chosen": 3, "rejected": "a"}, "'chosen' must be text, not a number"),
        ({"prompt": "Hi", "chosen": "half \ud83d", "rejected": "a"}, "half of a surrogate pair"),
        ({"prompt": "Hi", "chosen": [], "rejected": "a"}, "'chosen' is empty"),
        ({"prompt": "Hi", "chosen": [{"content": "a"}], "rejected": "a"}, "a message without a role"),
        ({"prompt": "Hi", "chosen": [{"role": "tool", "content": "a"}], "rejected": "a"}, "neither system, user nor assistant"),
        ({"prompt": "Ho", "chosen": MESSAGES[1:], "rejected": OTHER[1:]}, "something else than the prompt"),
        ({"prompt": "Hi", "chosen": MESSAGES[1:2], "rejected": "a"}, "does not end with an answer"),
        ({"prompt": "Hi", "chosen": MESSAGES, "rejected": OTHER[1:]}, "part before the last answer"),
    ],
)
def test_rows_that_cannot_be_used(row: dict[str, Any], reason: str, tmp_path: Path) -> None:
    asking = Asking()
    good = {"prompt": "Hi", "chosen": "a", "rejected": "b"}
    assert len(list(File(written(tmp_path, good, row)).collect(asking))) == 1
    [(told, cases)] = asking.tally.dropped.items()
    assert reason in told
    assert cases.places == ["mine.jsonl:2"]


def test_doubled_ids_are_noticed(tmp_path: Path) -> None:
    row = {"id": 7, "prompt": "Hi", "chosen": "a", "rejected": "b"}
    asking = Asking()
    assert len(list(File(written(tmp_path, row, {**row, "id": 8}, row)).collect(asking))) == 3
    assert asking.tally.noticed["an id that was there before"].places == ["mine.jsonl:3"]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no file or folder .*none.jsonl"):
        File(Data(str(tmp_path / "none.jsonl")))
    with pytest.raises(ValueError, match=r"say where the feedback is"):
        File()
    with pytest.raises(ValueError, match="say what it holds"):
        File(Data("somebody/something"))


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("empty.jsonl", "", r"empty.jsonl: it has no rows"),
        ("pretty.json", '{\n "prompt": "a"\n}\n', r"no columns \(pretty.json:1: not JSON\); JSON has an object in each line"),
        ("quote.csv", 'prompt,chosen\na,"b\n', r"no columns \(quote.csv:2: no row of a table: unexpected end of data"),
        ("semi.csv", "prompt;chosen;rejected\na;b;c\n", r"one column, 'prompt;chosen;rejected': its cells are parted by ';'"),
        ("tab.csv", "prompt\tchosen\na\tb\n", r"parted by '\\t'; .csv has commas, .tsv has tabs"),
    ],
)
def test_a_file_without_columns_says_what_stands_there(name: str, text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ColumnsError, match=complaint):
        File(Data(str(tmp_path / name)))
