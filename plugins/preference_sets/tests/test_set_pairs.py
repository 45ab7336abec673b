"""Forms of sets of marks in which two answers are compared, and what is asked of the hub for each set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison
from alignzoo_preference_sets.choices import SafeRLHF
from alignzoo_preference_sets.data import Data
from alignzoo_preference_sets.fields import Aside, Row, Taken, Unfit
from alignzoo_preference_sets.hh import HH, RedTeam
from alignzoo_preference_sets.oasst import Oasst
from alignzoo_preference_sets.scored import HelpSteer, UltraFeedback
from alignzoo_preference_sets.shp import SHP
from alignzoo_preference_sets.summaries import SummarizeFromFeedback
from alignzoo_preference_sets.webgpt import WebGPT


def said(taken: Taken) -> tuple[str, str, float]:
    [one] = taken.records
    assert isinstance(one, Comparison)
    return one.chosen.text, one.rejected.text, one.strength


def talk(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


def binarized(**changes: Any) -> Row:
    marks = {"score_chosen": 8.5, "score_rejected": 3.0}
    row = {"prompt": "Hi?", "chosen": talk("Hi?", "Good."), "rejected": talk("Hi?", "Bad."), "messages": talk("Hi?", "Good.")}
    return Row({**row, **marks, **changes})


def test_the_binarized_form() -> None:
    pairs = UltraFeedback(kind="pairs")
    assert pairs.gives == ("comparison",)
    assert said(pairs.paired(binarized())) == ("Good.", "Bad.", 1.0)
    assert pairs.paired(binarized()).notices == ()
    level, turned = pairs.paired(binarized(score_rejected=8.5)), pairs.paired(binarized(score_chosen=1.0))
    assert (said(level)[2], level.notices) == (0.5, ("both answers have the same mark: a tie",))
    assert (said(turned)[2], turned.notices) == (1.0, ("the chosen answer has the lower mark",))
    cleaned = {"score_chosen": None, "score_rejected": None, "chosen-rating": "5", "rejected-rating": 5.0}
    assert said(pairs.paired(binarized(**cleaned))) == ("Good.", "Bad.", 0.5)
    assert said(pairs.paired(binarized(score_rejected=None)))[2] == 1.0
    for changes, reason in (
        ({"rejected": talk("Hi?", "Good.")}, "both answers are the same"),
        ({"rejected": talk("Ho?", "Bad.")}, "about something else"),
        ({"score_chosen": float("nan")}, "'score_chosen' must be a finite number"),
    ):
        with pytest.raises(Unfit, match=reason):
            pairs.paired(binarized(**changes))


def test_an_answer_without_words_costs_no_other() -> None:
    aspects = {name: {"Rating": "4"} for name in ("instruction_following", "honesty", "truthfulness", "helpfulness")}
    answers = [{"response": text, "annotations": aspects} for text in ("one", "", None, "two")]
    row = Row({"instruction": "Count.", "completions": answers})
    for kind, count in (("ratings", 2), ("rankings", 1)):
        taken = UltraFeedback(kind=kind).taken(row)  # type: ignore[arg-type]
        assert (len(taken.records), taken.notices) == (count, ("an answer without words, left out",))
    with pytest.raises(Unfit, match="no answer has a mark"):
        UltraFeedback().taken(Row({"instruction": "Count.", "completions": answers[1:3]}))


def preferred(strength: Any, **changes: Any) -> Row:
    row = {"split": "train", "prompt": "Hi?", "response_1": "one", "response_2": "two", "preference_strength": strength}
    return Row({**row, **changes})


@pytest.mark.parametrize(
    ("strength", "sure", "graded"),
    [
        (-3, ("one", "two", 1.0), 1.0),
        ("-1", ("one", "two", 1.0), 2 / 3),
        (0, ("one", "two", 0.5), 0.5),
        (1.0, ("two", "one", 1.0), 2 / 3),
        (2, ("two", "one", 1.0), 5 / 6),
        (3, ("two", "one", 1.0), 1.0),
    ],
)
def test_how_much_better_one_of_two_is(strength: Any, sure: tuple[str, str, float], graded: float) -> None:
    steered = HelpSteer(kind="preferences")
    assert steered.gives == ("comparison",)
    assert said(steered.preferred(preferred(strength))) == sure
    assert said(replace(steered, strength="graded").preferred(preferred(strength))) == (*sure[:2], pytest.approx(graded))


def test_preferences_of_both_names_and_parts() -> None:
    steered = HelpSteer(kind="preferences")
    third = Row({"context": talk("Hi?", "Hello.", "And?"), "response1": "one", "response2": "two", "overall_preference": 1})
    assert said(steered.preferred(third)) == ("two", "one", 1.0)
    taken = steered.preferred(third)
    assert (taken.group, [turn.speaker for turn in taken.records[0].prompt.turns]) == ("Hi?", ["user", "assistant", "user"])
    assert steered.preferred(preferred(1)).records[0].provenance.split == "train"
    marked = steered.preferred(preferred(1, prompt="Hi?\n<extra_id_1>Assistant\nHello.\n<extra_id_1>User\nAnd?"))
    assert marked.records[0].prompt == taken.records[0].prompt
    for row, reason in (
        (preferred(4), "must be -3 or"),
        (preferred(None), "'preference_strength' is null"),
        (preferred(1, response_2="one"), "both answers are the same"),
        (Row({**third.cells, "context": talk("Hi?", "Hello.")}), "does not end with the user's words"),
    ):
        with pytest.raises(Unfit, match=reason):
            steered.preferred(row)
    with pytest.raises(Aside, match="another part"):
        HelpSteer(kind="preferences", splits=("validation",)).preferred(preferred(1))


# What is asked of the hub -----------------------------------------------------------------------------------------------------

PARQUET = {"revision": "refs/convert/parquet"}


@pytest.mark.parametrize(
    ("source", "path", "rest"),
    [
        (HH(), "Anthropic/hh-rlhf", {}),
        (HH(Data("Anthropic/hh-rlhf", subset="harmless-base")), "Anthropic/hh-rlhf", {"data_dir": "harmless-base"}),
        (HH(Data("Anthropic/hh-rlhf", published="test", revision="09be8c5")), "Anthropic/hh-rlhf", {"revision": "09be8c5"}),
        (RedTeam(), "Anthropic/hh-rlhf", {"data_dir": "red-team-attempts"}),
        (SummarizeFromFeedback(), "openai/summarize_from_feedback", {"data_dir": "comparisons", **PARQUET}),
        (SummarizeFromFeedback(kind="axis"), "openai/summarize_from_feedback", {"data_dir": "axis", **PARQUET}),
        (WebGPT(), "openai/webgpt_comparisons", PARQUET),
        (SHP(Data("stanfordnlp/SHP", subset="askculinary")), "stanfordnlp/SHP", {"data_dir": "askculinary"}),
        (Oasst(), "OpenAssistant/oasst1", {}),
        (SafeRLHF(Data("PKU-Alignment/PKU-SafeRLHF", subset="alpaca-7b")), "PKU-Alignment/PKU-SafeRLHF", {"name": "alpaca-7b"}),
        (UltraFeedback(), "openbmb/UltraFeedback", {}),
        (UltraFeedback(kind="pairs"), "HuggingFaceH4/ultrafeedback_binarized", {}),
        (HelpSteer(), "nvidia/HelpSteer2", {}),
        (HelpSteer(kind="preferences"), "nvidia/HelpSteer2", {"data_dir": "preference"}),
        (HelpSteer(Data("nvidia/HelpSteer3"), "preferences"), "nvidia/HelpSteer3", {}),
    ],
)
def test_what_is_asked_of_the_hub(source: Any, path: str, rest: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The set, its subset, split and commit; and to have it streamed, so that nothing is kept."""
    import datasets

    asked: list[tuple[Any, Any]] = []

    def load(*args: Any, **named: Any) -> Iterator[dict[str, Any]]:
        asked.append((args, named))
        return iter(())

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda path, **_: ["alpaca-7b"] if "PKU" in path else ["default"])
    assert list(source.collect(Asking())) == []
    theirs = {"axis": "validation", "pairs": "train_prefs"}  # the splits that these forms have
    split = theirs.get(getattr(source, "kind", ""), source.data.published)
    assert asked == [((path,), {"split": split, "streaming": True, **rest})]


@pytest.mark.parametrize(
    ("data", "split"),
    [(Data("HuggingFaceH4/ultrafeedback_binarized", published="test_prefs"), "test_prefs"), (None, "train_prefs")],
)
def test_the_binarized_set_has_splits_of_its_own(data: Data | None, split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[str] = []
    monkeypatch.setattr(datasets, "load_dataset", lambda path, *, split, **_: asked.append(split) or iter(()))
    source = UltraFeedback(data, "pairs") if data else UltraFeedback(kind="pairs")
    assert (list(source.collect(Asking())), asked) == ([], [split])
