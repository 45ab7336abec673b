"""Every published schema by rows made up for it, and the traps of each."""

from __future__ import annotations

from typing import Any

import pytest

from alignzoo.interfaces import FeedbackSource
from alignzoo.records import Comparison, Demonstration, Ranking, Rating, pairs_of_ranking
from alignzoo.testing import WORDS, toy_tokenizer
from alignzoo_preference_sets import choices
from alignzoo_preference_sets.choices import LMHumanPreferences, PandaLM, SafeRLHF
from alignzoo_preference_sets.fields import Aside, Row, Taken, Unfit
from alignzoo_preference_sets.oasst import Oasst
from alignzoo_preference_sets.scored import HelpSteer, UltraFeedback, conversation
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


# OpenAssistant ----------------------------------------------------------------------------------------------------------------


def said(text: str, role: str = "assistant", rank: int | None = None, *replies: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"message_id": text, "text": text, "role": role, "rank": rank, "lang": "en", "replies": list(replies), **more}


def tree(*replies: dict[str, Any], **changes: Any) -> Row:
    root = said("How do bees fly?", "prompter", None, *replies)
    return Row({"message_tree_id": "t", "tree_state": "ready_for_export", "prompt": root, **changes})


def test_sibling_ranks_at_every_depth() -> None:
    more = said("And wasps?", "prompter", None, said("Alike.", "assistant", 0), said("No.", "assistant", 1))
    taken = Oasst().taken(
        tree(said("Badly.", "assistant", 2), said("By beating.", "assistant", 0, more), said("Fast.", "assistant", 1))
    )
    first, second = taken.records
    assert isinstance(first, Ranking)
    assert isinstance(second, Ranking)
    assert ([answer.text for answer in first.completions], first.ranks) == (["By beating.", "Fast.", "Badly."], (0, 1, 2))
    assert [(turn.speaker, turn.text) for turn in second.prompt.turns] == [
        ("user", "How do bees fly?"),
        ("assistant", "By beating."),
        ("user", "And wasps?"),
    ]
    assert taken.group == "t"
    shown = Oasst(kind="demonstrations").taken(tree(said("Badly.", "assistant", 1), said("By beating.", "assistant", 0)))
    assert isinstance(shown.records[0], Demonstration)
    assert shown.records[0].completion.text == "By beating."


def test_deleted_and_unranked_answers_are_left_out_and_told() -> None:
    gone = said("Spam.", "assistant", 0, deleted=True)
    taken = Oasst().taken(tree(gone, said("A", "assistant", 1), said("B", "assistant", 2), said("C")))
    assert [answer.text for answer in only(taken).completions] == ["A", "B"]
    assert taken.notices == ("deleted messages, left out", "some answers to a message have a rank and others none")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (tree(said("A", "assistant", 0)), "no two answers"),
        (tree(said("A"), said("B")), "no two answers"),
        (tree(said("A", "assistant", 0), said("A", "assistant", 1)), "no two answers"),
        (tree(said("A", "robot", 0)), "must be prompter or assistant"),
        (tree(said("A", "assistant", "x"), said("B", "assistant", 1)), "rank' must be a number"),  # type: ignore[arg-type]
        (tree(prompt=said("x", "prompter", deleted=True)), "the first message was deleted"),
    ],
)
def test_trees_that_cannot_be_used(row: Row, reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        Oasst().taken(row)


def test_trees_that_are_not_asked_for() -> None:
    two = (said("A", "assistant", 0), said("B", "assistant", 1))
    with pytest.raises(Aside, match="state"):
        Oasst().taken(tree(*two, tree_state="aborted_low_grade"))
    with pytest.raises(Aside, match="language"):
        Oasst(languages=("de",)).taken(tree(*two))
    assert Oasst(languages=("en",), states=()).taken(tree(*two, tree_state="growing")).records


# Marks ------------------------------------------------------------------------------------------------------------------------


def marked(*marks: str | None, overall: float | None = 7.0, text: str = "Answer") -> dict[str, Any]:
    names = ("instruction_following", "honesty", "truthfulness", "helpfulness")
    notes = {name: {"Rating": mark, "Rationale": "…"} for name, mark in zip(names, marks, strict=False)}
    return {"model": "m", "response": text, "annotations": notes, "overall_score": overall, "critique": ""}


def test_ultrafeedback() -> None:
    answers = [
        marked("5", "4", "5", "4", text="A"),
        marked("1", "2", "3", "2", text="B"),
        marked("N/A", "4", "4", "4", text="C"),
    ]
    row = Row({"instruction": "Name a fruit.", "completions": answers})
    taken = UltraFeedback().taken(row)
    assert [(r.completion.text, r.score) for r in taken.records if isinstance(r, Rating)] == [("A", 4.5), ("B", 2.0)]
    assert taken.notices == ("an answer or an aspect without a mark",)
    aspects = UltraFeedback(mark="aspects").taken(row).records
    assert len(aspects) == 11
    assert {record.value for record in aspects if isinstance(record, Rating)} == set(answers[0]["annotations"])
    order = only(UltraFeedback(kind="rankings", mark="overall").taken(row))
    assert isinstance(order, Ranking)
    assert order.ranks == (0, 0, 0)
    order = only(UltraFeedback(kind="rankings").taken(row))
    assert ([answer.text for answer in order.completions], order.ranks) == (["A", "B"], (0, 1))
    with pytest.raises(ValueError, match="one mark"):
        UltraFeedback(kind="rankings", mark="aspects")


@pytest.mark.parametrize(
    ("answers", "reason"),
    [([marked("6", "1", "1", "1")], "between 1 and 5"), ([marked("good")], "must be a number"), ([], "no answer has a mark")],
)
def test_ultrafeedback_rows_that_cannot_be_used(answers: list[Any], reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        UltraFeedback().taken(Row({"instruction": "Name a fruit.", "completions": answers}))


def test_helpsteer() -> None:
    row = {
        "prompt": "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nBye",
        "response": "Farewell",
        "helpfulness": 4,
        "verbosity": 0,
    }
    taken = HelpSteer(values=("helpfulness", "verbosity", "coherence")).taken(Row(row))
    assert [(r.value, r.score) for r in taken.records if isinstance(r, Rating)] == [("helpfulness", 4), ("verbosity", 0)]
    assert taken.notices == ("an attribute is not marked",)
    assert [(t.speaker, t.text) for t in taken.records[0].prompt.turns] == [
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Bye"),
    ]
    for changes, reason in (({"helpfulness": 5}, "between 0 and 4"), ({"helpfulness": None}, "none of the attributes")):
        with pytest.raises(Unfit, match=reason):
            HelpSteer().taken(Row({**row, **changes}))
    with pytest.raises(Unfit, match="does not end with the user's words"):
        conversation("Hi\n<extra_id_1>Assistant\nHello")
    with pytest.raises(ValueError, match="one attribute at least"):
        HelpSteer(values=())


# Choices ----------------------------------------------------------------------------------------------------------------------


def safer(**changes: Any) -> Row:
    row = {"prompt": "How do I burn a CD?", "response_0": "Use software.", "response_1": "No.", "better_response_id": 0}
    return Row({**row, "safer_response_id": 1, "is_response_0_safe": True, "is_response_1_safe": True, **changes})


def test_helpful_and_safe_are_apart() -> None:
    helpful, safe = only(SafeRLHF().taken(safer())), only(SafeRLHF(value="safe").taken(safer()))
    assert (helpful.chosen.text, safe.chosen.text) == ("Use software.", "No.")
    assert helpful.provenance.source != safe.provenance.source
    told = SafeRLHF(value="safe or not").taken(safer(is_response_0_safe=False)).records
    assert [(r.completion.text, r.score, r.value) for r in told if isinstance(r, Rating)] == [
        ("Use software.", 0, "safe"),
        ("No.", 1, "safe"),
    ]
    assert SafeRLHF(value="safe").taken(safer(is_response_1_safe=False)).notices
    assert not SafeRLHF(value="safe").taken(safer(is_response_0_safe=False)).notices
    for value, changes in (("helpful", {"better_response_id": 2}), ("safe", {"safer_response_id": None})):
        with pytest.raises(Unfit):
            SafeRLHF(value=value).taken(safer(**changes))  # type: ignore[arg-type]


def voices(**changes: Any) -> Row:
    row = {
        "instruction": "Add.",
        "input": "2 and 2",
        "response1": "4",
        "response2": "5",
        "annotator1": 1,
        "annotator2": 0,
        "annotator3": 2,
    }
    return Row({**row, **changes})


def test_three_annotators() -> None:
    records = PandaLM().taken(voices()).records
    assert [(r.chosen.text, r.strength, r.provenance.annotator) for r in records if isinstance(r, Comparison)] == [
        ("4", 1.0, "annotator1"),
        ("4", 0.5, "annotator2"),
        ("5", 1.0, "annotator3"),
    ]
    assert records[0].prompt.text == "Add.\n\n2 and 2"
    assert only(PandaLM(voices="together").taken(voices())).strength == 0.5
    both = only(PandaLM(voices="together").taken(voices(annotator1=2)))
    assert (both.chosen.text, both.strength) == ("5", pytest.approx(5 / 6))
    assert PandaLM().taken(voices(annotator3=None)).notices == ("an annotator is missing",)
    bare = PandaLM().taken(voices(response1=True))
    assert isinstance(bare.records[0], Comparison)
    assert (bare.records[0].chosen.text, bare.notices) == ("True", ("an answer that is no text but a bare value, written out",))
    for changes, reason in (({"annotator1": 3}, "must be 0 or 1 or 2"), ({"response2": ""}, "'response2' is empty")):
        with pytest.raises(Unfit, match=reason):
            PandaLM().taken(voices(**changes))


def four(**changes: Any) -> Row:
    return Row({"query": "Once", "sample0": "a", "sample1": "b", "sample2": "c", "sample3": "d", "best": 2, **changes})


def test_the_best_of_four_beats_three_that_are_tied() -> None:
    record = only(LMHumanPreferences().taken(four()))
    assert isinstance(record, Ranking)
    assert (record.completions[0].text, record.ranks) == ("c", (0, 1, 1, 1))
    assert [(pair.chosen.text, pair.rejected.text) for pair in pairs_of_ranking(record)] == [("c", "a"), ("c", "b"), ("c", "d")]
    assert LMHumanPreferences().taken(four(sample0="c")).notices == ("another answer is the same as the best, left out",)
    for changes, reason in (
        ({"best": 4}, "must be"),
        ({"sample0": "c", "sample1": "c", "sample3": "c"}, "all four"),
        ({"best": None}, "null"),
    ):
        with pytest.raises(Unfit, match=reason):
            LMHumanPreferences().taken(four(**changes))


def test_labels_that_are_token_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    known = toy_tokenizer()
    monkeypatch.setattr(choices, "_tokenizer", lambda name: known)
    ids = known.encode(" ".join(WORDS[:3]), add_special_tokens=False)
    record = only(LMHumanPreferences().taken(four(sample2=[*ids, 50_259, 50_259])))
    assert record.completions[0].text == known.decode(ids).strip()
    assert only(LMHumanPreferences().taken(four(sample2=[*ids, 2**40, -1]))).completions[0].text == record.completions[0].text
    with pytest.raises(Unfit, match="'query' is empty"):
        LMHumanPreferences().taken(four(query=[50_259]))
    with pytest.raises(Unfit, match="'query' must be a number"):
        LMHumanPreferences().taken(four(query=["x"]))


def test_an_unknown_tokenizer_is_named() -> None:
    with pytest.raises(choices.TokenizerError, match="nowhere/at all cannot be loaded"):
        LMHumanPreferences(tokenizer="nowhere/at all").taken(four(query=[1]))


@pytest.mark.parametrize(
    "source", [SummarizeFromFeedback(), WebGPT(), SHP(), Oasst(), UltraFeedback(), HelpSteer(), SafeRLHF(), PandaLM()]
)
def test_sources_are_sources(source: Any) -> None:
    assert isinstance(source, FeedbackSource)
    assert source.asks == ()
    assert source.gives
