"""A judge's preferences under a constitution: which labels, how sure, ties, what they cost, and whose word they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from alignzoo.interfaces import Asking, FeedbackSource, Manner
from alignzoo.records import Comparison, Completion, Prompt
from alignzoo.tally import Tally
from alignzoo_rlaif.constitution import ConstitutionError, Principle
from alignzoo_rlaif.critique_revision import CollectError
from alignzoo_rlaif.hiring import Hired
from alignzoo_rlaif.judging import Case, Judge, Verdict
from alignzoo_rlaif.preferences import AIPreferences, Opinion, opinions

PROMPTS = [Prompt.ask(f"say {number}") for number in range(40)]
LONG = Principle("long", comparison="Which is longer?")
SHORT = Principle("short", comparison="Which is shorter?", weight=3.0)
CASE = Case(PROMPTS[0], Completion("a b c"), Completion("a"))
RULES = """
name = "lengths"
[[principle]]
id = "long"
comparison = "Which is longer?"
[[principle]]
id = "short"
comparison = "Which is shorter?"
weight = 3.0
"""


@dataclass(frozen=True)
class WordCounter:
    """A judge who counts words: as sure as it is told to be, and leaning to what is shown first."""

    sure: float = 0.9
    lean: float = 0.0

    def compare(self, cases: Sequence[Case], question: str) -> list[Verdict]:
        sign = {"Which is longer?": 1, "Which is shorter?": -1, "Which is nicer?": 0}[question]
        return [self._verdict(sign * (len(c.first.text.split()) - len(c.second.text.split()))) for c in cases]

    def rate(self, prompts: Sequence[Prompt], completions: Sequence[Completion], question: str) -> list[float]:
        return [0.0] * len(prompts)

    def _verdict(self, lead: int) -> Verdict:
        chance = self.sure if lead > 0 else 1 - self.sure if lead < 0 else 0.5
        return Verdict(min(1.0, chance + self.lean), max(0.0, chance - self.lean))


@dataclass(frozen=True)
class HiredCounter:
    """Hires that judge, as `Hired` hires others."""

    made: WordCounter = WordCounter()
    which: str = "counter"

    def judge(self, role: object) -> Judge:
        return self.made


class Talker:
    """Answers with as many words as its number among the n; to every fifth prompt the same, or one that is cut."""

    def __init__(self, odd: str = "") -> None:
        self.odd = odd

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        return [[self._said(prompt, k, manner) for k in range(n)] for prompt in prompts]

    def _said(self, prompt: Prompt, k: int, manner: Manner) -> Completion:
        fifth = int(prompt.text.split()[1]) % 5 == 0
        words = 1 if fifth and self.odd == "same" else k + 1
        text = " ".join(["so"] * words)
        return Completion(text, tuple([7] * words), not (fifth and self.odd == "cut" and k == 0), tuple([-1.0] * words))


@pytest.fixture
def rules(tmp_path: Path) -> str:
    (tmp_path / "rules.toml").write_text(RULES)
    return str(tmp_path / "rules.toml")


def gathered(rules: str, judge: WordCounter = WordCounter(), odd: str = "", **settings: Any) -> tuple[list[Comparison], Tally]:
    source = AIPreferences(rules, judge=HiredCounter(judge), **settings)  # type: ignore[arg-type]
    asking = Asking(prompts=PROMPTS, policy=Talker(odd), seed=3)
    records = list(source.collect(asking))
    assert asking.tally.unexplained == 0
    assert all(isinstance(record, Comparison) for record in records)
    return records, asking.tally  # type: ignore[return-value]


# One opinion, by hand --------------------------------------------------------------------------------------------------


def test_an_ensemble_is_the_weighted_mean_order_by_order() -> None:
    """(0.8 · 1 + 0.4 · 3) / 4 = 0.5 and (0.6 · 1 + 0.2 · 3) / 4 = 0.3."""
    opinion = Opinion(CASE, (LONG, SHORT), (Verdict(0.8, 0.6), Verdict(0.4, 0.2, unread=1)))
    assert opinion.whole.shown_first == pytest.approx(0.5)
    assert opinion.whole.shown_second == pytest.approx(0.3)
    assert opinion.whole.label == pytest.approx(0.4)
    assert opinion.whole.unread == 1


def test_orders_that_contradict_each_other_are_a_tie() -> None:
    assert Opinion(CASE, (LONG,), (Verdict(0.9, 0.2),)).whole.label == 0.5
    assert Opinion(CASE, (LONG,), (Verdict(0.9, 0.6),)).whole.label == 0.75


def test_each_question_is_asked_once_about_all_its_cases() -> None:
    asked: list[tuple[str, int]] = []

    class Noting(WordCounter):
        def compare(self, cases: Sequence[Case], question: str) -> list[Verdict]:
            asked.append((question, len(cases)))
            return super().compare(cases, question)

    turned = Case(CASE.prompt, CASE.second, CASE.first)
    told = opinions(Noting(), [CASE, turned, CASE], [(LONG,), (SHORT, LONG), (SHORT,)])
    assert asked == [("Which is longer?", 2), ("Which is shorter?", 2)]
    assert [[v.probability for v in opinion.verdicts] for opinion in told] == [
        [pytest.approx(0.9)],
        [pytest.approx(0.9), pytest.approx(0.1)],
        [pytest.approx(0.1)],
    ]


# The labels ------------------------------------------------------------------------------------------------------------


def test_the_principle_decides_and_is_in_the_provenance(rules: str) -> None:
    records, _ = gathered(rules, count=200, answers=4)
    drawn = Counter(re.match(r"principle (\w+); constitution lengths@", record.provenance.note)[1] for record in records)  # type: ignore[index]
    assert 130 < drawn["short"] < 170  # three of four
    for record in records:
        longer = len(record.chosen.text) > len(record.rejected.text)
        assert longer is record.provenance.note.startswith("principle long;")
        assert record.strength == pytest.approx(0.9)
        assert (record.provenance.source, record.provenance.annotator) == ("ai-preferences", "judge counter")
        assert record.chosen.tokens
        assert not record.chosen.logps
    assert records == gathered(rules, count=200, answers=4)[0]


def test_another_constitution_other_labels(rules: str) -> None:
    longer, _ = gathered(rules, principles=("long",), count=40)
    shorter, _ = gathered(rules, principles=("short",), count=40)
    assert [(r.chosen.text, r.rejected.text) for r in longer] == [(r.rejected.text, r.chosen.text) for r in shorter]


def test_an_ensemble_asks_all_of_each_pair(rules: str) -> None:
    """(0.9 · 1 + 0.1 · 3) / 4 = 0.3 for the longer one."""
    records, tally = gathered(rules, under="ensemble", count=40)
    assert all(r.strength == pytest.approx(0.7) and len(r.chosen.text) < len(r.rejected.text) for r in records)
    assert records[0].provenance.note.startswith("principle long, short;")
    assert tally.said[0].startswith("40 labels cost 80 verdicts on 40 pairs; the orders")


def test_hard_labels_are_sure_and_ties_stay_ties(rules: str) -> None:
    hard, _ = gathered(rules, labels="hard", count=20)
    assert {record.strength for record in hard} == {1.0}
    tied, _ = gathered(rules, WordCounter(0.5), labels="hard", count=20)
    assert {record.strength for record in tied} == {0.5}


def test_a_judge_that_goes_by_the_place_has_no_opinion(rules: str) -> None:
    records, tally = gathered(rules, WordCounter(0.6, lean=0.3), count=20)
    assert {record.strength for record in records} == {0.5}
    assert tally.noticed["ties: the judge contradicts itself across orders"].count == 20
    assert tally.said[0].endswith("each other in 0.0% of the pairs")
    asking = Asking(prompts=PROMPTS, policy=Talker())
    source = AIPreferences(rules, judge=HiredCounter(WordCounter(0.6, lean=0.3)), ties="drop", count=20)  # type: ignore[arg-type]
    with pytest.raises(CollectError, match="0 of 20 records"):
        list(source.collect(asking))
    assert asking.tally.set_aside["ties: the judge contradicts itself across orders"].count == 3 * len(PROMPTS)


def test_a_lean_that_does_not_decide_cancels(rules: str) -> None:
    records, _ = gathered(rules, WordCounter(0.7, lean=0.1), count=20)
    assert all(record.strength == pytest.approx(0.7) for record in records)
    assert records[0].provenance.note.endswith("orders 0.400 0.200") or records[0].provenance.note.endswith(
        "orders 0.800 0.600"
    )


@pytest.mark.parametrize(("odd", "reason"), [("same", "both answers are the same"), ("cut", "an answer was cut")])
def test_what_is_not_judged_is_counted(rules: str, odd: str, reason: str) -> None:
    records, tally = gathered(rules, odd=odd, count=32)
    assert all(int(record.prompt.text.split()[1]) % 5 for record in records)
    assert tally.noticed[f"pairs not judged: {reason}"].count == 8


def test_it_is_a_source_and_says_what_is_wrong(rules: str, tmp_path: Path) -> None:
    assert isinstance(AIPreferences(rules), FeedbackSource)
    assert AIPreferences(rules).judge == Hired()
    with pytest.raises(ConstitutionError, match="no principle 'shrt'"):
        AIPreferences(rules, principles=("shrt",))
    (tmp_path / "revise.toml").write_text('[[principle]]\nid = "a"\ncritique = "?"\nrevision = "!"\n')
    with pytest.raises(ConstitutionError, match="has a comparison"):
        AIPreferences(str(tmp_path / "revise.toml"))
    with pytest.raises(CollectError, match="name a task"):
        next(AIPreferences(rules).collect(Asking()))
