"""People and a judge: who is asked, what it costs, and whose word a record says it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison, Completion, Prompt, Provenance, Rating
from alignzoo_rlaif import hybrid
from alignzoo_rlaif.hybrid import Hybrid
from alignzoo_rlaif.judging import JudgeError, Verdict

SAID = {0: Verdict(0.9, 0.9), 1: Verdict(0.6, 0.5), 2: Verdict(0.9, 0.2), 3: Verdict(0.1, 0.0)}
"""What the judge says of pair n, modulo 4, about the reply "a": sure of it, unsure, contradictory, sure of the other."""


def pairs(count: int) -> list[Comparison]:
    whose = Provenance("people", "Anna", licence="CC")
    return [Comparison(Prompt.ask(f"{n}"), Completion("a"), Completion("b"), 1.0, whose) for n in range(count)]


@dataclass(frozen=True)
class Hiring:
    which: str = "here"
    asked: list[int] = field(default_factory=list)

    def judge(self, role):
        return self

    def compare(self, cases, question):
        numbers = [int(case.prompt.text) for case in cases]
        self.asked.extend(numbers)
        said = [SAID[n % 4] for n in numbers]
        turned = [Verdict(1 - v.shown_first, 1 - v.shown_second) for v in said]
        return [v if c.first.text == "a" else t for v, t, c in zip(said, turned, cases, strict=True)]


def mixed(count: int, **settings) -> tuple[list[Comparison], Asking, Hiring]:
    hiring, asking = Hiring(), Asking(seed=3)
    return list(Hybrid(judge=hiring, **settings).sift(pairs(count), asking)), asking, hiring


def whose(labels: list[Comparison]) -> str:
    return "".join("p" if label.provenance.source == "people" else "j" for label in labels)


def test_a_person_is_asked_where_the_judge_is_unsure():
    labels, asking, hiring = mixed(8)
    assert whose(labels) == "jppjjppj"
    assert hiring.asked == list(range(8))
    assert labels[1:3] == pairs(8)[1:3]
    assert (labels[0].chosen.text, labels[0].strength) == ("a", pytest.approx(0.9))
    assert (labels[3].chosen.text, labels[3].strength) == ("b", pytest.approx(0.95))
    assert labels[3].provenance.annotator == "judge here"
    assert "the pair is of people" in labels[3].provenance.note
    assert labels[3].provenance.licence == "CC"
    assert asking.tally.said == ["hybrid: 4 labels of people, 8 verdicts asked for, together 4.08"]


def test_a_person_is_asked_where_the_orders_contradict_each_other():
    labels, _, _ = mixed(4, by="contradiction")
    assert whose(labels) == "jjpj"
    assert (labels[1].chosen.text, labels[1].strength) == ("a", pytest.approx(0.55))


def test_people_are_asked_about_a_share_and_the_judge_about_the_rest():
    labels, _, hiring = mixed(200, by="share", share=0.25)
    assert 30 < whose(labels).count("p") < 70
    assert len(hiring.asked) == whose(labels).count("j")
    assert whose(labels[:64]).count("p") > 0
    assert whose(mixed(200, by="share", share=0.25)[0]) == whose(labels)
    assert whose(mixed(5, by="share", share=0.0)[0]) == "jjjjj"
    assert whose(mixed(5, by="share", share=1.0)[0]) == "ppppp"


def test_it_never_costs_more_than_is_stated():
    labels, asking, _ = mixed(8, most=2.5, verdict=0.1)  # eight verdicts, and one person
    assert whose(labels) == "jpjjjjjj"
    assert labels[2].strength == 0.5  # a contradiction, and nobody to ask
    assert "together 1.8" in asking.tally.said[0]
    labels, asking, hiring = mixed(8, most=0.35, verdict=0.1)
    assert whose(labels) == "jjj"
    assert hiring.asked == [0, 1, 2]
    (cases,) = asking.tally.sifted.values()
    assert cases.count == 5
    labels, _, _ = mixed(4, by="share", share=1.0, most=2.2, verdict=0.1)
    assert whose(labels) == "ppjj"


def test_the_place_does_not_tell_the_judge_whom_people_chose():
    cases = [hybrid._case(pair, 0) for pair in pairs(100)]
    assert 30 < sum(case.first.text == "a" for case in cases) < 70
    turned = [Comparison(pair.prompt, pair.rejected, pair.chosen) for pair in pairs(100)]
    assert [hybrid._case(pair, 0) for pair in turned] == cases


def test_only_pairs_are_mixed():
    with pytest.raises(JudgeError, match="pair by pair; this source gives a rating"):
        list(Hybrid(judge=Hiring()).sift([Rating(Prompt.ask("x"), Completion("a"), 1.0)], Asking()))
