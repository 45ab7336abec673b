"""Every published schema by rows made up for it, and the traps of each."""

from __future__ import annotations

from typing import Any

import pytest

from alignzoo.records import Comparison, Rating
from alignzoo_preference_sets.fields import Aside, Row, Taken, Unfit
from alignzoo_preference_sets.shp import SHP, community
from alignzoo_preference_sets.summaries import SummarizeFromFeedback, strength_of
from alignzoo_preference_sets.webgpt import WebGPT, without_citations


def only(taken: Taken) -> Any:
    [record] = taken.records
    return record


def changed(row: dict[str, Any], changes: dict[str, Any]) -> Row:
    """The row with "info.post" and the like replaced."""
    for path, value in changes.items():
        *above, last = path.split(".")
        table: Any = row
        for name in above:
            table = table[int(name) if name.isdigit() else name]
        table[last] = value
    return Row(row)


# summarize_from_feedback --------------------------------------------------------------------------------------------------


def compared(**changes: Any) -> Row:
    row = {
        "info": {
            "id": "t3_x",
            "post": "I baked bread and it sank.",
            "title": "Sunken bread",
            "subreddit": "Breadit",
            "article": None,
        },
        "summaries": [
            {"text": " Bread sank.", "policy": "sup1", "note": None},
            {"text": " I like cake.", "policy": "ref", "note": None},
        ],
        "choice": 0,
        "worker": "w1",
        "batch": "batch3",
        "split": "train",
        "extra": {"confidence": 1},
    }
    return changed(row, {path.replace("__", "."): value for path, value in changes.items()})


def test_a_choice_between_summaries() -> None:
    taken = SummarizeFromFeedback().compared(compared())
    record = only(taken)
    assert isinstance(record, Comparison)
    assert (record.chosen.text, record.rejected.text, record.strength) == ("Bread sank.", "I like cake.", 1.0)
    assert record.prompt.text == "SUBREDDIT: r/Breadit\n\nTITLE: Sunken bread\n\nPOST: I baked bread and it sank.\n\nTL;DR:"
    assert (record.provenance.annotator, record.provenance.split, record.provenance.note) == ("w1", "train", "sup1 over ref")
    assert taken.group == "t3_x"
    assert only(SummarizeFromFeedback().compared(compared(choice=1, extra__confidence=9))).chosen.text == "I like cake."


@pytest.mark.parametrize(("confidence", "strength"), [(1, 1.0), (2, 0.875), (4, 0.625), (5, 0.5), (8, 0.875), (9, 1.0)])
def test_confidence_is_strength(confidence: int, strength: float) -> None:
    assert strength_of(confidence) == strength
    record = only(SummarizeFromFeedback().compared(compared(choice=int(confidence > 5), extra__confidence=confidence)))
    assert record.strength == strength
    assert only(SummarizeFromFeedback(confidence="ignore").compared(compared(extra__confidence=confidence))).strength == 1.0


def test_confidence_may_be_missing_or_against_the_choice() -> None:
    cases: tuple[dict[str, Any], ...] = ({"extra": None}, {"extra": {}}, {"extra": {"confidence": None}})
    for missing in cases:
        assert only(SummarizeFromFeedback().compared(compared(**missing))).strength == 1.0
    taken = SummarizeFromFeedback().compared(compared(extra__confidence=8))
    assert taken.notices == ("confidence lies on the other side than the choice",)
    assert only(taken).chosen.text == "Bread sank."
    assert SummarizeFromFeedback().compared(compared(extra__confidence=5)).notices == ()
    assert SummarizeFromFeedback().compared(compared(choice=1, extra__confidence=2)).notices != ()


@pytest.mark.parametrize("confidence", [3, 5, 7, None])
def test_only_sure_choices(confidence: int | None) -> None:
    with pytest.raises(Aside, match="high confidence"):
        SummarizeFromFeedback(sure=True).compared(compared(extra__confidence=confidence))


def test_sure_choices_and_parts() -> None:
    assert SummarizeFromFeedback(sure=True).compared(compared(extra__confidence=2)).records
    with pytest.raises(Aside):
        SummarizeFromFeedback(splits=("valid2",)).compared(compared(split="valid1"))
    assert only(SummarizeFromFeedback(splits=("valid2",)).compared(compared(split="valid2"))).provenance.split == "valid2"


def test_an_article_instead_of_a_post() -> None:
    record = only(SummarizeFromFeedback().compared(compared(info__post=None, info__article="Rain fell.")))
    assert record.prompt.text == "Article:\n\nRain fell.\n\nTL;DR:"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"choice": 2}, "'choice' must be 0 or 1"),
        ({"choice": None}, "'choice' is null"),
        ({"summaries": []}, "must be two"),
        ({"summaries__1__text": " Bread sank. "}, "both answers are the same"),
        ({"summaries__0__text": " "}, r"'summaries\[\].text' is empty"),
        ({"extra__confidence": 10}, "between 1 and 9"),
        ({"info__post": None}, "neither a post nor an article"),
        ({"info": "x"}, "'info' must be a table, not text"),
    ],
)
def test_choices_that_cannot_be_used(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        SummarizeFromFeedback().compared(compared(**changes))


def test_marks_on_axes() -> None:
    axes = {"overall": 5, "accuracy": None, "coverage": 7, "coherence": 1.0}
    info = {"id": "t3_x", "post": "I baked bread.", "title": None, "subreddit": None}
    row = Row({"info": info, "summary": {"text": " Bread.", "axes": axes}, "worker": "w2", "split": "valid2"})
    source = SummarizeFromFeedback(kind="axis", axes=("overall", "accuracy", "coherence"))
    assert source.gives == ("rating",)
    taken = source.marked(row)
    assert [(record.value, record.score) for record in taken.records if isinstance(record, Rating)] == [
        ("overall", 5),
        ("coherence", 1),
    ]
    assert taken.notices == ("an axis is not marked",)
    with pytest.raises(Unfit, match="none of the axes"):
        SummarizeFromFeedback(kind="axis", axes=("accuracy",)).marked(row)
    axes["overall"] = 8
    with pytest.raises(Unfit, match="between 1 and 7"):
        source.marked(row)


# webgpt_comparisons -----------------------------------------------------------------------------------------------------------


def browsed(**changes: Any) -> Row:
    row = {
        "question": {"dataset": "eli5", "id": "q1", "full_text": "Why is the sea salty?"},
        "quotes_0": {"title": ["Salt (salt.example)"], "extract": ["Rivers carry salt."]},
        "answer_0": "Rivers carry salt into it [1].",
        "tokens_0": {"prefix": [1, 2], "completion": [3]},
        "score_0": 0.25,
        "quotes_1": {"title": [], "extract": []},
        "answer_1": "Nobody knows.",
        "tokens_1": {"prefix": [1], "completion": [4]},
        "score_1": -0.25,
    }
    return changed(row, {path.replace("__", "."): value for path, value in changes.items()})


def test_the_sign_counts_and_not_the_magnitude() -> None:
    taken = WebGPT().taken(browsed())
    record = only(taken)
    assert (record.chosen.text, record.rejected.text, record.strength) == ("Rivers carry salt into it.", "Nobody knows.", 1.0)
    assert record.chosen.tokens == ()  # GPT-2's ids are nobody else's
    assert taken.group == "q1"
    assert only(WebGPT().taken(browsed(score_0=-1.0, score_1=1.0))).chosen.text == "Nobody knows."


def test_zero_is_a_tie() -> None:
    assert only(WebGPT().taken(browsed(score_0=0.0, score_1=0.0))).strength == 0.5
    assert only(WebGPT().taken(browsed(score_0=-0.0, score_1=0))).tie
    with pytest.raises(Aside):
        WebGPT(ties=False).taken(browsed(score_0=0.0, score_1=0.0))


def test_quotes_and_their_marks() -> None:
    told = only(WebGPT(quotes="before", citations=True).taken(browsed())).chosen.text
    assert told == "[1] Salt (salt.example)\nRivers carry salt.\n\nRivers carry salt into it [1]."
    nameless = browsed(quotes_0={"title": [""], "extract": ["Rivers carry salt."]})
    assert only(WebGPT().taken(nameless)) == only(WebGPT().taken(browsed()))
    assert only(WebGPT(quotes="before").taken(nameless)).chosen.text == "[1]\nRivers carry salt.\n\nRivers carry salt into it."
    assert without_citations("So [1] it [1, 2] is [3], a[0] [2020].", 2) == "So it is [3], a[0] [2020]."


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"score_0": 0.5, "score_1": 0.5}, "do not say which"),
        ({"score_0": 0.5, "score_1": 0}, "do not say which"),
        ({"score_0": 2}, "between -1 and 1"),
        ({"score_0": float("nan")}, "finite"),
        ({"answer_1": ""}, "'answer_1' is empty"),
        ({"question__full_text": None}, "'question.full_text' is null"),
    ],
)
def test_browsed_answers_that_cannot_be_used(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        WebGPT().taken(browsed(**changes))
    assert WebGPT().taken(browsed(score_0=0.5, score_1=-0.25)).notices == ("the scores are not each other's opposites",)


# SHP --------------------------------------------------------------------------------------------------------------------------


def voted(**changes: Any) -> Row:
    row = {
        "post_id": "abc",
        "domain": "askculinary_train",
        "history": "My sauce splits. What now?",
        "human_ref_A": "Whisk in water.",
        "human_ref_B": "Throw it out.",
        "score_A": 10,
        "score_B": 40,
        "created_at_utc_A": 1_600_000_000,
        "created_at_utc_B": 1_600_000_060,
        "labels": 0,
        "seconds_difference": 60.0,
        "score_ratio": 4.0,
    }
    return Row({**row, **changes})


def test_votes() -> None:
    taken = SHP().taken(voted())
    record = only(taken)
    assert (record.chosen.text, record.rejected.text) == ("Throw it out.", "Whisk in water.")
    assert record.provenance.time == "2020-09-13T12:27:40Z"
    assert record.provenance.note == "askculinary; ratio 4; 60 s later"
    assert (taken.group, taken.notices) == ("abc", ())
    for told, time in (("1600000060", "2020-09-13T12:27:40Z"), ("2020-09-13", "2020-09-13"), (None, "")):
        assert only(SHP().taken(voted(created_at_utc_B=told))).provenance.time == time
    assert only(SHP().taken(voted(labels=1, score_A=80, score_ratio=2.0))).chosen.text == "Whisk in water."
    assert SHP().taken(voted(seconds_difference=-1)).notices == ("the preferred comment is the earlier one",)
    assert SHP().taken(voted(seconds_difference=0)).notices == ()


def test_the_ratio_is_a_threshold_that_may_be_met_exactly() -> None:
    assert SHP(ratio=4.0).taken(voted()).records
    with pytest.raises(Aside, match="score_ratio"):
        SHP(ratio=4.1).taken(voted())
    with pytest.raises(Aside, match="community"):
        SHP(domains=("askscience",)).taken(voted())
    assert SHP(domains=("askculinary",)).taken(voted()).records
    assert [community(name) for name in ("askculinary_train", "changemyview", "ask_historians_test")] == [
        "askculinary",
        "changemyview",
        "ask_historians",
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": 1}, "prefers the comment with the lower score"),
        ({"labels": "yes"}, "'labels' must be a number, not text"),
        ({"score_ratio": None}, "'score_ratio' is null"),
        ({"human_ref_A": None}, "'human_ref_A' is null"),
        ({"created_at_utc_B": 1e300}, "no time in seconds"),
    ],
)
def test_votes_that_cannot_be_used(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        SHP().taken(voted(**changes))
