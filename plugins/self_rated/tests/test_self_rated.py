"""A policy's answers under a reward: which records come of them, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import pytest

from alignzoo.interfaces import Asking, FeedbackSource, Manner
from alignzoo.lab.runfile import plan_of
from alignzoo.lab.shelf import key_of
from alignzoo.records import Comparison, Completion, Prompt, Rating
from alignzoo.seam.discovery import discover
from alignzoo.seam.settings import SettingsError
from alignzoo.seam.zoo import ZooError
from alignzoo_self_rated.self_rated import CollectError, SelfRated

PROMPTS = [Prompt.ask(f"number {number}") for number in range(20)]
HERE = f"{__name__}:by_words"


def by_words(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [float(len(said.text.split())) for said in completions]


def all_alike(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [0.5] * len(completions)


def of_no_number(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    return [math.nan] * len(completions)


def alike_at_first(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    """The first pass has the seed 3, as `Counting` says in every answer."""
    return all_alike(prompts, completions) if completions[0].text.startswith("3 ") else by_words(prompts, completions)


class Counting:
    """Answers with as many words as its number among the n, and says the seed in them."""

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        return [[Completion(f"{manner.seed} {prompt.text}" + " so" * k) for k in range(n)] for prompt in prompts]


ASKING = Asking(prompts=PROMPTS, policy=Counting(), seed=3)


def test_it_is_a_source_that_says_what_it_gives() -> None:
    source = SelfRated(HERE)
    assert isinstance(source, FeedbackSource)
    assert source.gives == ("rating",)
    assert SelfRated(HERE, kind="comparisons").gives == ("comparison",)


def test_every_answer_is_rated_by_the_reward() -> None:
    records = list(SelfRated(HERE, count=10, answers=3).collect(ASKING))
    assert len(records) == 10
    assert all(isinstance(record, Rating) and record.score == len(record.completion.text.split()) for record in records)
    assert {record.provenance.annotator for record in records} == {HERE}
    assert records == list(SelfRated(HERE, count=10, answers=3).collect(ASKING))


def test_every_further_pass_has_answers_of_its_own() -> None:
    """Sixty to a pass: these are four, and only passes that give nothing are counted against the source."""
    records = list(SelfRated(HERE, count=200, answers=3).collect(ASKING))
    assert len({record.completion.text for record in records if isinstance(record, Rating)}) == 200


def test_seeds_and_passes_have_orders_and_answers_of_their_own() -> None:
    asked = []
    for seed in (3, 4):
        records = list(SelfRated(HERE, count=40, answers=1).collect(replace(ASKING, seed=seed)))
        prompts = [record.prompt.text for record in records if isinstance(record, Rating)]
        asked += [prompts[:20], prompts[20:]]
        assert [r.completion.text for r in records if isinstance(r, Rating)][:20] == [f"{seed} {text}" for text in prompts[:20]]
    assert all(sorted(one) == sorted(asked[0]) for one in asked)
    assert len({tuple(one) for one in asked}) == 4


def test_the_answer_of_the_higher_score_is_chosen() -> None:
    records = list(SelfRated(HERE, kind="comparisons", count=40, answers=4).collect(ASKING))
    assert len(records) == 40
    for record in records:
        assert isinstance(record, Comparison)
        assert len(record.chosen.text) == len(record.rejected.text) + 3
        assert record.chosen.text.count(" so") in (1, 3)  # no answer is in two comparisons
    assert len({(r.prompt.id, r.chosen.text) for r in records if isinstance(r, Comparison)}) == 40


def test_a_reward_that_cannot_choose_is_given_up() -> None:
    source = SelfRated(f"{__name__}:all_alike", kind="comparisons")
    with pytest.raises(CollectError, match="0 of 600 records"):
        list(source.collect(ASKING))
    assert len(list(islice(SelfRated(f"{__name__}:all_alike").collect(ASKING), 5))) == 5
    with pytest.raises(ValueError, match="a score is a finite number"):
        next(SelfRated(f"{__name__}:of_no_number").collect(ASKING))
    patient = SelfRated(f"{__name__}:alike_at_first", kind="comparisons", count=10)
    assert len(list(patient.collect(ASKING))) == 10


def test_what_is_wrong_is_said_when_it_is_made() -> None:
    with pytest.raises(ZooError, match="no reward named 'sentimant'"):
        SelfRated("sentimant")
    with pytest.raises(SettingsError, match="no such setting"):
        SelfRated("length", {"fre": 3})
    with pytest.raises(ValueError, match="2 or more"):
        SelfRated(HERE, kind="comparisons", answers=1)
    for asking in (Asking(policy=Counting()), Asking(prompts=PROMPTS)):
        with pytest.raises(CollectError, match="needs prompts and a policy"):
            next(SelfRated(HERE).collect(asking))


def test_a_rewards_settings_are_its_own() -> None:
    source = SelfRated("length", {"free": 2, "price": 1.0}, count=3, answers=3)
    assert [r.score for r in source.collect(ASKING) if isinstance(r, Rating)] == [-1, -2, -3]


def test_a_run_records_the_reward_whose_bytes_it_hangs_on() -> None:
    """With another reward behind the same name, what was collected is another stage."""
    feedback = {"use": "self-rated", "reward": "length"}
    table = {"task": {"use": "playground"}, "model": {"path": "none"}, "feedback": feedback, "optimizer": {"use": "dpo"}}
    plan = plan_of({**table, "feedback": {**feedback, "kind": "comparisons"}}, discover())
    assert plan.feedback is not None
    assert "reward:lexical/length" in plan.made_with()["plugins"]
    assert set(plan.table()) & {"feedback.within.reward", "within"} == set()
    key = key_of(plan, {}, ("feedback",))
    vars(plan.feedback.made)["_looked_up"] = (discover().find("reward", "random-walks"), by_words)
    assert key_of(plan, {}, ("feedback",)) != key
