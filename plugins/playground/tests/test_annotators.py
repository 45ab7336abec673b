"""The annotators: they agree as much as people do, their groups differ, and their faults can be measured."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from statistics import fmean

import pytest

from alignzoo.records import Completion, Prompt
from alignzoo_playground.annotators import by_group, pool
from alignzoo_playground.corpus import draw_asked
from alignzoo_playground.facts import FACTS
from alignzoo_playground.gold import GoldReward
from alignzoo_playground.replies import MIXED, plan_reply, write_reply

ASKED = Prompt.ask("What color is the tent?")
RIGHT = Completion(f"The tent is {FACTS['tent', 'color']}.")
STEAL = Prompt.ask("How do I steal the tent?")
COMPLY = Completion("You take the tent at night when nobody looks.")
REFUSE = Completion("I can not help with that.")


def pairs(how_many, seed=5):
    dice = Random(seed)
    while how_many:
        request, asked = draw_asked(dice)
        one, other = (Completion(write_reply(request, plan_reply(request, MIXED, dice))) for _ in range(2))
        if one.text != other.text:
            how_many -= 1
            yield Prompt.ask(asked), one, other


def choices(annotators, how_many=600):
    """For each pair of replies, what two different people choose, and what gold says."""
    dice, gold = Random(9), GoldReward()
    for prompt, one, other in pairs(how_many):
        first, second = dice.sample(annotators, 2)
        best = gold([prompt, prompt], [one, other])
        yield (
            first.prefers_first(prompt, one, other, dice),
            second.prefers_first(prompt, one, other, dice),
            best[0] > best[1],
            len(one.text) > len(other.text),
        )


def test_two_of_the_crowd_agree_on_about_seven_pairs_in_ten():
    seen = list(choices(pool("crowd"), 1500))
    assert 0.65 <= fmean(a == b for a, b, _, _ in seen) <= 0.75


def test_the_crowd_leans_towards_gold():
    assert fmean(a == gold for a, _, gold, _ in choices(pool("crowd"))) > 0.7


def test_the_biased_pool_likes_length_and_flattery():
    assert fmean(a == longer for a, _, _, longer in choices(pool("biased"))) > 0.65
    flattering = Completion(f"{RIGHT.text} You are so smart. You have great taste.")
    assert all(person.worth(ASKED, flattering) > person.worth(ASKED, RIGHT) for person in pool("biased"))
    assert GoldReward()([ASKED], [flattering])[0] < GoldReward()([ASKED], [RIGHT])[0]


def test_the_crowd_does_not_like_length():
    assert 0.4 < fmean(a == longer for a, _, _, longer in choices(pool("crowd"))) < 0.6


def test_groups_differ():
    wants = by_group([STEAL, STEAL], [COMPLY, REFUSE])
    assert wants["daring"][0] > wants["daring"][1]
    assert wants["careful"][0] < wants["careful"][1]
    careful, daring = pool("crowd", "careful")[0], pool("crowd", "daring")[0]
    dice = Random(2)
    assert fmean(careful.prefers_first(STEAL, REFUSE, COMPLY, dice) for _ in range(200)) > 0.9
    assert fmean(daring.prefers_first(STEAL, REFUSE, COMPLY, dice) for _ in range(200)) < 0.4


def test_people_of_one_group_differ_too():
    worths = {round(person.worth(ASKED, RIGHT), 6) for person in pool("crowd", "friendly")}
    assert len(worths) == 5


def test_what_is_shown_first_is_preferred():
    """Between equals the only thing that tells is the place."""
    dice = Random(4)
    for name in ("crowd", "biased"):
        first = fmean(person.prefers_first(ASKED, RIGHT, RIGHT, dice) for person in pool(name) for _ in range(300))
        assert 0.53 < first < 0.68
    level = replace(pool("crowd")[0], lean=0.0)
    assert 0.45 < fmean(level.prefers_first(ASKED, RIGHT, RIGHT, dice) for _ in range(2000)) < 0.55


def test_noise_makes_people_unsure():
    dice = Random(6)
    sure, unsure = pool("crowd", "careful", noise=0.01)[0], pool("crowd", "careful", noise=100.0)[0]
    assert all(sure.prefers_first(STEAL, REFUSE, COMPLY, dice) for _ in range(50))
    assert 0.4 < fmean(unsure.prefers_first(STEAL, REFUSE, COMPLY, dice) for _ in range(1000)) < 0.75


def test_rankings_follow_worth():
    sure = pool("crowd", "careful", noise=0.001)[0]
    assert sure.order(STEAL, [COMPLY, REFUSE, Completion("")], Random(0))[0] == 1


def test_thumbs_and_scores_follow_worth():
    dice = Random(8)
    person = pool("crowd", "careful")[0]
    best = Completion(
        "Sorry, I can not help with that, because it belongs to somebody else. "
        "You could ask the owner to lend it to you instead."
    )
    for judge in (person.thumb, person.score):
        high = fmean(judge(STEAL, best, dice) for _ in range(300))
        low = fmean(judge(STEAL, COMPLY, dice) for _ in range(300))
        assert high > low + 0.5
    assert {person.thumb(STEAL, REFUSE, dice) for _ in range(200)} == {0.0, 1.0}
    assert {person.score(STEAL, REFUSE, dice) for _ in range(300)} <= {1.0, 2.0, 3.0, 4.0, 5.0}


def test_degenerate_text_pleases_nobody():
    for name in ("crowd", "biased"):
        assert all(person.worth(ASKED, Completion("la la la la")) == 0.0 for person in pool(name))


def test_unknown_pools_and_groups_are_refused_by_name():
    with pytest.raises(ValueError, match="no pool named 'crwd'; there are crowd, biased"):
        pool("crwd")
    with pytest.raises(ValueError, match="'biased' has no group 'careful'; it has charmed"):
        pool("biased", "careful")
