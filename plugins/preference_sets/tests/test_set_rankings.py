"""Rankings, marks and choices of the published schemas, by rows made up for them, and the traps of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignzoo.interfaces import FeedbackSource
from alignzoo.records import Comparison, Demonstration, Prompt, Provenance, Ranking, Rating, pairs_of_ranking
from alignzoo.testing import WORDS, toy_tokenizer
from alignzoo_preference_sets import choices
from alignzoo_preference_sets.choices import LMHumanPreferences, PandaLM, SafeRLHF
from alignzoo_preference_sets.columns import Columns
from alignzoo_preference_sets.data import Data
from alignzoo_preference_sets.fields import Aside, Row, Taken, Unfit, in_order
from alignzoo_preference_sets.file import File
from alignzoo_preference_sets.oasst import Oasst
from alignzoo_preference_sets.scored import ASPECTS, HelpSteer, UltraFeedback, conversation
from alignzoo_preference_sets.shp import SHP
from alignzoo_preference_sets.summaries import SummarizeFromFeedback
from alignzoo_preference_sets.webgpt import WebGPT


def only(taken: Taken) -> Any:
    [record] = taken.records
    return record


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


def test_messages_that_did_not_pass_review_are_left_out() -> None:
    def reply(text: str, rank: int, passed: bool | None) -> dict[str, Any]:
        return {"text": text, "role": "assistant", "rank": rank, "review_result": passed, "deleted": False, "synthetic": True}

    root = {"text": "Why?", "role": "prompter", "rank": None, "review_result": True}
    replies = [reply("refused", 0, False), reply("first", 1, True), reply("second", 2, None)]
    taken = Oasst().taken(
        Row({"message_tree_id": "t", "tree_state": "ready_for_export", "prompt": {**root, "replies": replies}})
    )
    assert [answer.text for answer in only(taken).completions] == ["first", "second"]
    assert taken.notices == ("messages that did not pass review, left out",)
    bad = {
        "message_tree_id": "t",
        "tree_state": "ready_for_export",
        "prompt": {**root, "review_result": False, "replies": replies},
    }
    with pytest.raises(Unfit, match="the first message did not pass review"):
        Oasst().taken(Row(bad))


def four(**changes: Any) -> Row:
    return Row({"query": "Once", "sample0": "a", "sample1": "b", "sample2": "c", "sample3": "d", "best": 2, **changes})


def test_the_best_of_four_beats_three_that_are_tied() -> None:
    record = only(LMHumanPreferences().taken(four()))
    assert isinstance(record, Ranking)
    assert (record.completions[0].text, record.ranks) == ("c", (0, 1, 1, 1))
    assert [(pair.chosen.text, pair.rejected.text) for pair in pairs_of_ranking(record)] == [("c", "a"), ("c", "b"), ("c", "d")]
    assert LMHumanPreferences().taken(four(sample0="c")).notices == ("another answer is the same as the best, left out",)
    doubled = LMHumanPreferences().taken(four(sample0="b"))
    assert [answer.text for answer in only(doubled).completions] == ["c", "b", "d"]
    assert doubled.notices == ("an answer is there twice, at the same place: it counts once",)
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


# The same answer twice ------------------------------------------------------------------------------------------------


def test_an_answer_that_is_there_twice_is_there_once_at_the_mean_of_its_places() -> None:
    ranking, notices = in_order(Prompt.ask("Why?"), ["a", "b", "a", "c"], [1, 2, 4, 3], Provenance("mine"))
    assert [(one.text, rank) for one, rank in zip(ranking.completions, ranking.ranks, strict=True)] == [
        ("b", 0),
        ("a", 1),
        ("c", 2),
    ]
    assert notices == ("an answer is there twice, at different places: their mean counts",)
    ranking, notices = in_order(Prompt.ask("Why?"), ["a", "b", "a"], [1, 2, 1], Provenance("mine"))
    assert [one.text for one in ranking.completions] == ["a", "b"]
    assert notices == ("an answer is there twice, at the same place: it counts once",)
    ranking, notices = in_order(Prompt.ask("Why?"), ["a", "b", "a"], [1, 2, 3], Provenance("mine"))
    assert (ranking.ranks, len(notices)) == ((0, 0), 1)
    assert in_order(Prompt.ask("Why?"), ["a", "b"], [2, 1], Provenance("mine"))[1] == ()


def test_of_one_answer_there_is_no_ranking() -> None:
    with pytest.raises(Unfit, match="all answers are the same"):
        in_order(Prompt.ask("Why?"), ["a", "a"], [1, 2], Provenance("mine"))
    with pytest.raises(Unfit, match="two answers or more"):
        in_order(Prompt.ask("Why?"), ["a"], [1], Provenance("mine"))


def test_every_source_of_rankings_tells_of_doubled_answers(tmp_path: Path) -> None:
    file = tmp_path / "ranked.jsonl"
    file.write_text('{"prompt": "Why?", "completions": ["a", "b", "a"], "scores": [3, 2, 0]}\n')
    marks = {aspect: {"Rating": "3"} for aspect in ASPECTS}
    low = {aspect: {"Rating": "1"} for aspect in ASPECTS}
    answers = [{"response": text, "annotations": given} for text, given in (("a", marks), ("b", marks), ("a", low))]
    replies = [{"role": "assistant", "text": text, "rank": rank} for text, rank in (("a", 0), ("b", 1), ("a", 2))]
    tree = {"role": "prompter", "text": "Why?", "replies": replies}
    told = [
        File(Data(str(file))).taken("rankings", Columns(prompt="prompt", completions="completions", scores="scores"),
                                    Row(json.loads(file.read_text()))),
        UltraFeedback(kind="rankings").taken(Row({"instruction": "Why?", "completions": answers})),
        Oasst().taken(Row({"message_tree_id": "t", "tree_state": "ready_for_export", "prompt": tree})),
    ]  # fmt: skip
    for one in told:
        [ranking] = one.records
        assert isinstance(ranking, Ranking)
        assert sorted(answer.text for answer in ranking.completions) == ["a", "b"]
        assert one.notices == ("an answer is there twice, at different places: their mean counts",)
