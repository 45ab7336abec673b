"""One log of thumbs, as users leave it: lopsided, repeated, contradictory, some of it damaged. Whatever learns from ratings
learns from it as it is: KTO, a pointwise reward model, ILQL."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alignzoo.cli.progress import told_of
from alignzoo.interfaces import Asking, Lesson, Manner
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.choices import Limits
from alignzoo.learning.descent import Descent
from alignzoo.learning.intake import admit
from alignzoo.model.forest import per_reply
from alignzoo.model.role import Role, policy_on, role_on
from alignzoo.records import Completion, Prompt, ratings_in
from alignzoo.testing import toy_base
from alignzoo_ilql.ilql import ILQL
from alignzoo_ilql.steering import Steering
from alignzoo_kto.kto import KTO
from alignzoo_preference_sets.data import Data
from alignzoo_preference_sets.file import File
from alignzoo_reward_model.reward_model import RewardModel

THINGS = ("cat", "dog", "bird", "house")
SAID = {"yes please": (3, 1), "no": (1, 6), "true thanks": (2, 0), "false and bad": (0, 5)}
"""Of each answer to each question, how often it is liked and disliked: six ups in eighteen."""
DAMAGED = ("is the cat small,no,perhaps", "is the cat small,,up", "is the cat small,no,")
PROMPTS = [Prompt.ask(f"is the {thing} small") for thing in THINGS]
FAST = Descent(lr=3e-3)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lesson, Asking]:
    rows = [
        f"is the {thing} small,{answer},{thumb}"
        for thing in THINGS
        for answer, votes in SAID.items()
        for thumb, count in zip(("up", "down"), votes, strict=True)
        for _ in range(count)
    ]
    random.Random(0).shuffle(rows)
    path: Path = tmp_path_factory.mktemp("log") / "thumbs.csv"
    path.write_text("\n".join(["prompt,completion,thumb", *rows, *DAMAGED]) + "\n")
    asking = Asking()
    return Lesson(ratings=list(ratings_in(File(Data(str(path))).collect(asking)))), asking


def test_every_thumb_counts_and_damage_is_told(log: tuple[Lesson, Asking]) -> None:
    """Nobody's vote is taken for a copy of another's, and none is refused because others disagree."""
    lesson, asking = log
    assert (asking.tally.read, asking.tally.kept, asking.tally.unexplained) == (75, 72, 0)
    assert sum(cases.count for cases in asking.tally.dropped.values()) == 3
    kept, intake = admit(lesson, ("ratings",), toy_base().text, Limits())
    assert len(kept.ratings) == 72
    assert sum(rating.score for rating in kept.ratings) == 24
    assert intake.dropped.total() == 0


def test_kto_learns_from_it(log: tuple[Lesson, Asking]) -> None:
    policy = policy_on(toy_base())
    before = likelihoods(policy)
    with watching(Canaries(policy.base)):
        told = list(KTO(batch_size=24, epochs=3, descent=FAST).improve(policy, log[0]))
    assert (told[0]["ups"], told[0]["downs"], told[0]["weight_down"]) == (24, 48, 1)
    assert told[0]["weight_up"] == pytest.approx(2.0)
    gained = likelihoods(policy) - before
    assert float(gained[[0, 2]].min()) > float(gained[[1, 3]].max()) + 1


def test_a_pointwise_reward_learns_from_it(log: tuple[Lesson, Asking]) -> None:
    """More than an order: an answer that most like scores above zero, and one that most dislike below, before units are set."""
    role = role_on(toy_base(), "reward")
    optimizer = RewardModel(on="ratings", batch_size=24, epochs=12, held_out=0.0, samples=0, descent=FAST)
    with watching(Canaries(role.base)):
        told = list(optimizer.improve(role, log[0]))
    assert told_of(told[0]).endswith("weight_up 1.500  weight_down 0.750")  # 72 / (2 · 24) and 72 / (2 · 48)
    reward = optimizer.deploy(role, log[0])
    for prompt in PROMPTS:
        liked, no, thanked, bad = reward([prompt] * len(SAID), list(map(Completion, SAID)))
        assert min(liked, thanked) > 0 > max(no, bad)


def test_ilql_learns_from_it(log: tuple[Lesson, Asking]) -> None:
    policy = policy_on(toy_base())
    optimizer = ILQL(cql=0.1, epochs=12, batch_size=24, hidden=(32,), alpha=0.3, descent=FAST)
    with watching(Canaries(policy.base)):
        list(optimizer.improve(policy, log[0]))
    shares = []
    for beta in (0.0, 4.0):
        steered = replace(optimizer, steering=Steering(beta=beta)).deploy(policy, log[0])
        texts = [reply.text for group in steered.sample(PROMPTS, 16, Manner(max_tokens=6, seed=5)) for reply in group]
        shares.append(sum(text in ("yes please", "true thanks") for text in texts) / len(texts))
    assert shares[1] > max(0.7, shares[0] + 0.2)


def likelihoods(role: Role) -> torch.Tensor:
    """log p of each answer, a mean over the questions."""
    forest = role.base.text.replies(PROMPTS, [list(map(Completion, SAID))] * len(PROMPTS))
    with torch.no_grad():
        return per_reply(role.logps(forest), forest).view(len(PROMPTS), len(SAID)).mean(0)
