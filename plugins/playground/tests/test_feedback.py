"""The feedback source: every kind, from a policy or from the world, with provenance, and the same every time."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import islice
from random import Random
from statistics import fmean

import pytest

from alignzoo.interfaces import Asking, FeedbackSource, Manner
from alignzoo.records import Comparison, Completion, Demonstration, Ranking, Rating, from_json, to_json
from alignzoo_playground.annotators import pool
from alignzoo_playground.feedback import CollectError, PlaygroundFeedback, group_of
from alignzoo_playground.gold import GoldReward
from alignzoo_playground.replies import MIXED, plan_reply, write_reply
from alignzoo_playground.requests import read_request
from alignzoo_playground.task import PlaygroundTask

TRAIN = PlaygroundTask().prompts("train")
RECORDS = {
    "comparisons": Comparison,
    "rankings": Ranking,
    "thumbs": Rating,
    "scores": Rating,
    "demonstrations": Demonstration,
}


@dataclass
class Chatterbox:
    """A small policy that answers as the world's mixed writer does; it remembers how it was asked."""

    asked: list[tuple[int, int, Manner]] = field(default_factory=list)

    def sample(self, prompts, n=1, manner=Manner()):
        self.asked.append((len(prompts), n, manner))
        return [[self.answer(prompt, number, manner) for number in range(n)] for prompt in prompts]

    def answer(self, prompt, number, manner):
        dice = Random(f"{prompt.id}/{number}/{manner.seed}")
        request = read_request(prompt.text)
        text = write_reply(request, plan_reply(request, MIXED, dice))
        return Completion(text, tokens=(number, 7, 3), logps=(-1.0, -0.5, -0.1))


@dataclass
class Bore:
    """A policy that has one answer for everything."""

    def sample(self, prompts, n=1, manner=Manner()):
        return [[Completion("I do not know.")] * n for _ in prompts]


def collect(source, policy=None, prompts=TRAIN, seed=0):
    return list(source.collect(Asking(prompts=prompts, policy=policy, seed=seed)))


@pytest.mark.parametrize("candidates", ["policy", "world"])
@pytest.mark.parametrize("kind", RECORDS)
def test_each_kind_comes_with_provenance(kind, candidates):
    source = PlaygroundFeedback(kind=kind, count=50, candidates=candidates)
    assert isinstance(source, FeedbackSource)
    records = collect(source, Chatterbox() if "policy" in source.asks else None)
    assert len(records) == 50
    assert source.gives == (RECORDS[kind].__name__.lower(),)
    names = {person.name for person in pool("crowd")} | {"writer-1"}
    for record in records:
        assert type(record) is RECORDS[kind]
        assert record.provenance.source == "playground"
        assert record.provenance.annotator in names
        assert group_of(record.provenance) == record.provenance.annotator.rpartition("-")[0].replace("writer", "writers")
        assert record.provenance.licence
        assert to_json(from_json(to_json(record))) == to_json(record)


def test_it_asks_for_a_policy_only_where_it_needs_one():
    assert PlaygroundFeedback().asks == ("prompts", "policy")
    assert PlaygroundFeedback(candidates="world").asks == ("prompts",)
    assert PlaygroundFeedback(kind="demonstrations").asks == ("prompts",)


@pytest.mark.parametrize("kind", ["comparisons", "rankings"])
def test_no_two_answers_of_a_judgement_are_equal(kind):
    for record in collect(PlaygroundFeedback(kind=kind, count=300), Chatterbox(), TRAIN[:20]):
        texts = [done.text for done in (record.completions if kind == "rankings" else (record.chosen, record.rejected))]
        assert len(set(texts)) == len(texts)


def test_what_the_policy_wrote_is_kept_as_it_was_written():
    for record in collect(PlaygroundFeedback(count=30), Chatterbox()):
        assert record.chosen.tokens
        assert len(record.chosen.tokens) == len(record.chosen.logps)


def test_the_same_seed_gives_the_same_records_and_another_does_not():
    for kind in RECORDS:
        source = PlaygroundFeedback(kind=kind, count=60)
        first, again = (collect(source, Chatterbox()) for _ in range(2))
        assert first == again
        assert first != collect(source, Chatterbox(), seed=1)


def test_a_smaller_count_is_the_beginning_of_a_larger_one():
    few, many = (collect(PlaygroundFeedback(count=count), Chatterbox()) for count in (40, 90))
    assert many[:40] == few


def test_answers_are_drawn_a_few_prompts_at_a_time_and_anew_in_each_pass():
    policy = Chatterbox()
    collect(PlaygroundFeedback(count=700, skips=0.0), policy)
    assert max(prompts for prompts, _, _ in policy.asked) <= 32
    assert len({manner.seed for _, _, manner in policy.asked}) >= 2
    assert {n for _, n, _ in policy.asked} == {4}


def test_nothing_is_drawn_before_it_is_asked_for():
    policy = Chatterbox()
    list(islice(PlaygroundFeedback(count=10**9).collect(Asking(TRAIN, policy)), 20))
    assert len(policy.asked) == 1


def test_demonstrations_are_good_and_vary():
    shown = collect(PlaygroundFeedback(kind="demonstrations", count=300))
    gold = GoldReward()([one.prompt for one in shown], [one.completion for one in shown])
    assert 0.85 < fmean(gold) < 0.98
    assert len({one.completion.text for one in shown}) > 150


def test_chosen_answers_are_better_on_the_whole():
    gold = GoldReward()
    records = collect(PlaygroundFeedback(count=300), Chatterbox())
    prompts = [record.prompt for record in records]
    chosen, rejected = (gold(prompts, [getattr(r, side) for r in records]) for side in ("chosen", "rejected"))
    assert fmean(chosen) > fmean(rejected) + 0.1


def test_the_place_that_was_chosen_is_noted():
    records = collect(PlaygroundFeedback(count=600, candidates="world"))
    places = Counter(record.provenance.note.rpartition(" ")[2] for record in records)
    assert set(places) == {"first", "second"}
    assert places["first"] > places["second"]


def test_a_group_can_be_asked_alone():
    records = collect(PlaygroundFeedback(group="daring", count=80), Chatterbox())
    assert {group_of(record.provenance) for record in records} == {"daring"}


def test_annotators_drop_out_and_the_last_one_stays():
    source = PlaygroundFeedback(count=400, candidates="world", drop_out=0.1)
    records = collect(source)
    early = {record.provenance.annotator for record in records[:40]}
    late = {record.provenance.annotator for record in records[-40:]}
    assert len(records) == 400
    assert len(early) > 5
    assert len(late) == 1
    stable = collect(replace(source, drop_out=0.0))
    assert len({record.provenance.annotator for record in stable[-100:]}) > 10


def test_skipped_prompts_get_no_record():
    prompts = TRAIN[:30]
    seen = collect(PlaygroundFeedback(count=24, candidates="world", skips=0.5), prompts=prompts)
    assert len({record.prompt.id for record in seen}) < 24


def test_a_policy_with_one_answer_is_refused_and_not_waited_for():
    with pytest.raises(CollectError, match="0 of 600 records, and no more to be had"):
        collect(PlaygroundFeedback(), Bore())


def test_missing_prompts_and_policy_are_named():
    with pytest.raises(CollectError, match="need prompts"):
        collect(PlaygroundFeedback(), Chatterbox(), prompts=())
    with pytest.raises(CollectError, match="no policy to ask"):
        collect(PlaygroundFeedback())


def test_several_annotators_judge_the_same_answers():
    """Three different people for each pair, unless somebody passes; what they were shown is the same."""
    records = collect(PlaygroundFeedback(count=300, judges=3, skips=0.0), Chatterbox())
    for first in range(0, 300, 3):
        three = records[first : first + 3]
        assert len({record.provenance.annotator for record in three}) == 3
        assert len({(r.prompt.id, frozenset((r.chosen.text, r.rejected.text))) for r in three}) == 1
    alike = [a.chosen == b.chosen for a, b in zip(records[::3], records[1::3], strict=True)]
    assert 0.5 < sum(alike) / len(alike) < 0.95


def test_no_more_can_judge_than_there_are():
    records = collect(PlaygroundFeedback(count=40, judges=9, pool="biased", skips=0.0, drop_out=0.0), Chatterbox())
    assert len({(r.prompt.id, r.chosen.text, r.rejected.text) for r in records[:8]}) <= 2
    assert len({r.provenance.annotator for r in records[:8]}) == 8


def test_a_prompt_of_another_world_cannot_be_answered_by_this_one():
    prompt = replace(TRAIN[0], turns=(replace(TRAIN[0].turns[0], text="What is love?"),))
    with pytest.raises(CollectError, match="What is love"):
        collect(PlaygroundFeedback(kind="demonstrations"), prompts=[prompt])


def test_records_do_not_change():
    """A golden: feedback that is collected today can be collected again tomorrow."""
    lines = "\n".join(map(to_json, collect(PlaygroundFeedback(count=50), Chatterbox())))
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == "3b6d3c2b201d7b7d"
