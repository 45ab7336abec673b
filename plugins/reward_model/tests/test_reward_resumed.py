"""Reward models on the toy base: noisy annotators, ensembles, and what can be interrupted."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from judged import LESSON, PAIRS, QUICK, THINGS, judgements, run

from alignzoo.interfaces import Lesson, Metrics
from alignzoo.lab.store import Training
from alignzoo.lab.training import Seat, Terms, train
from alignzoo.learning.choices import Budget, Watch
from alignzoo.learning.descent import Descent
from alignzoo.learning.memory import newest, remembering
from alignzoo.model.role import load_role, role_on
from alignzoo.records import Comparison, Completion, Prompt, Provenance
from alignzoo.testing import toy_base
from alignzoo_reward_model.model import LearnedReward, grow_heads
from alignzoo_reward_model.reward_model import bootstraps

# Noisy annotators -----------------------------------------------------------------------------------------------------


def doubly_judged(flips: float) -> list[Comparison]:
    """Two annotators choose between a friendly answer and an unfriendly one, to many questions; each errs at random."""
    dice = Random(1)
    kind, unkind = ("yes please", "true thanks", "good and kind", "i can help you"), ("no", "false and bad", "rude", "hurt you")
    judged = []
    for thing in (*THINGS, "fish", "stone", "sun", "moon"):
        for how in ("small", "big", "red", "blue", "green", "old", "new", "fast", "slow"):
            pair = Comparison(
                Prompt.ask(f"is the {thing} {how}"), Completion(dice.choice(kind)), Completion(dice.choice(unkind))
            )
            for who in ("one", "two"):
                flipped = replace(pair, chosen=pair.rejected, rejected=pair.chosen) if dice.random() < flips else pair
                judged.append(replace(flipped, provenance=Provenance("toy", who)))
    return judged


def test_accuracy_approaches_the_ceiling_and_does_not_exceed_it() -> None:
    lesson = Lesson(comparisons=doubly_judged(flips=0.2))
    optimizer = replace(QUICK, batch_size=18, epochs=4, held_out=0.4, samples=0, descent=Descent(lr=2e-3))
    told = run(optimizer, lesson)[1][-1]
    assert told["agreement_pairs"] == 90
    assert told["ceiling"] == pytest.approx(0.8, abs=0.06)
    assert told["held_out_accuracy_low"] <= told["ceiling"]
    assert told["held_out_accuracy"] > told["ceiling"] - 0.15


def test_without_noise_the_ceiling_is_one_and_is_nearly_reached() -> None:
    optimizer = replace(QUICK, batch_size=18, epochs=8, held_out=0.4, samples=0, descent=Descent(lr=3e-3))
    told = run(optimizer, Lesson(comparisons=doubly_judged(flips=0.0)))[1][-1]
    assert told["ceiling"] == 1.0
    assert told["held_out_accuracy"] > 0.9


# Ensembles ------------------------------------------------------------------------------------------------------------


def test_members_differ_and_are_not_copies() -> None:
    role, told = run(replace(QUICK, members=3))
    scores = LearnedReward(role).members([p.prompt for p in PAIRS], [p.chosen for p in PAIRS])
    assert float((scores[:, 0] - scores[:, 1]).abs().mean()) > 0.05
    assert float((scores[:, 1] - scores[:, 2]).abs().mean()) > 0.05
    assert told[-1]["members_apart"] > 0


def test_every_member_and_every_seed_begins_elsewhere() -> None:
    begun = []
    for seed in (0, 1):
        role = role_on(toy_base(), "reward")
        begun += [role.head(name).get_parameter("weight").detach() for name in grow_heads(role, 2, seed)]
    assert not any(torch.equal(a, b) for a, b in combinations(begun, 2))


def test_bootstraps_draw_as_many_as_there_are_and_differ() -> None:
    drawn = bootstraps(50, 3, seed=1)
    assert drawn.sum(0).tolist() == [50.0] * 3
    assert not torch.equal(drawn[:, 0], drawn[:, 1])
    assert torch.equal(drawn, bootstraps(50, 3, seed=1))
    assert not torch.equal(drawn, bootstraps(50, 3, seed=2))
    assert torch.equal(bootstraps(5, 1, seed=1), torch.ones(5, 1))


def test_a_member_learns_from_a_pair_as_often_as_it_has_drawn_it() -> None:
    base = toy_base()
    role = role_on(base, "reward")
    for name in ("score1", "score2"):
        role.grow(name)
    judged = judgements(QUICK, LESSON)
    forest = judged.forest(PAIRS, base)
    one, two = (
        QUICK.loss(role, (name,), judged, forest.attach(trees={"weight": torch.ones(12, 1)})) for name in ("score1", "score2")
    )
    weights = torch.zeros(12, 2)
    weights[:, 0] = 3.0
    both = QUICK.loss(role, ("score1", "score2"), judged, forest.attach(trees={"weight": weights}))
    assert float(one.total.detach()) == float(two.total.detach())
    assert float(both.total.detach()) == pytest.approx(1.5 * float(one.total.detach()), rel=1e-6)
    assert both.count == 12


# Interruption ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 9, 18])
@pytest.mark.parametrize("members", [1, 2])
def test_interrupted_is_uninterrupted_bit_for_bit(stop: int, members: int, tmp_path: Path) -> None:
    optimizer = replace(QUICK, members=members, evaluate_every=5, descent=Descent(lr=3e-3, schedule="linear", warmup=2))

    def go_on(updates: int) -> tuple[list[Metrics], dict[str, Any]]:
        base, found = toy_base(), newest(tmp_path)
        told: list[Metrics] = []
        with remembering(base, found) as memory:
            role = role_on(base, "reward")
            for metrics in optimizer.improve(role, LESSON):
                told.append(metrics)
                if len(told) == updates:
                    memory.write(tmp_path, updates, {})
                    break
        return told, {name: role.digest for name, role in base.roles.items()}

    whole, roles = go_on(99)
    assert len(whole) == 18
    first, _ = go_on(stop)
    rest, resumed = go_on(99)
    assert first + rest == whole
    assert resumed == roles


def test_a_training_of_the_lab_goes_on_after_its_budget_as_if_there_had_been_none(tmp_path: Path) -> None:
    def trained(folder: str, updates: int | None) -> str:
        seat = Seat(toy_base(), lambda base: role_on(base, "reward"))
        terms = Terms(Budget(updates=updates), Watch(every=0, prompts=2, tokens=4, kl_limit=math.inf))
        files = Training(tmp_path / folder)
        return train(QUICK, LESSON, seat, files, terms).policy.digest

    whole = trained("whole", None)
    assert trained("parts", 7) != whole
    assert trained("parts", None) == whole
    reward = QUICK.deploy(load_role(toy_base(), Training(tmp_path / "parts").adapter, "reward"), LESSON)
    assert reward.normalised


def test_seeds_decide() -> None:
    assert run(QUICK)[1] == run(QUICK)[1]
    assert run(QUICK)[1] != run(replace(QUICK, seed=1))[1]
