"""A round of PPO, worked out in plain Python from the formulas of the paper: no tensor, no model, reply by reply."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from alignzoo.interfaces import Lesson
from alignzoo.learning.descent import Descent
from alignzoo.learning.divergence import Coefficient, Leash
from alignzoo.learning.memory import Dice
from alignzoo.learning.rollouts import Experience, Exploring
from alignzoo.model.forest import Forest, Tree, joined, plant
from alignzoo.model.role import policy_on
from alignzoo.records import Completion, Demonstration, Prompt
from alignzoo.testing import toy_base
from alignzoo_ppo.ppo import PPO
from alignzoo_ppo.ptx import Reminder

OLD = [[-1.0, -0.5, -2.0], [-0.3], [-1.5, -0.7]]
"""log π_old of three replies: two to one prompt, one to another."""
START = [[-1.2, -0.1, -2.5], [-0.8], [-1.0, -0.9]]
SCORES = [1.5, -0.5, 0.25]
VALUES = [[0.2, 0.4, 0.9], [-0.6], [0.5, 0.1]]
GAMMA, LAM, BETA = 0.9, 0.7, 0.3


def flat(rows: list[list[float]]) -> Tensor:
    return torch.tensor([number for row in rows for number in row])


def forest() -> Forest:
    trees = [Tree((1, 2), ((3, 4, 5), (6,))), Tree((7,), ((8, 9),))]
    notes = {"old": flat(OLD), "reference": flat(START), "foreseen": flat(VALUES)}
    return plant(trees).attach(tokens=notes, replies={"score": torch.tensor(SCORES)})


@dataclass
class Foreseeing:
    """A critic that says what is noted; the policy has none."""

    asked: int = 0

    def values(self, piece: Forest) -> Tensor:
        self.asked += 1
        return piece.tokens["foreseen"]


def spread(numbers: list[float], sample: bool) -> float:
    mean = sum(numbers) / len(numbers)
    return sum((number - mean) ** 2 for number in numbers) / (len(numbers) - sample)


def judged_by_hand(whiten_rewards: bool, sample: bool) -> tuple[list[float], list[float]]:
    """(advantages, returns)"""
    rewards = []
    for old, start, score in zip(OLD, START, SCORES, strict=True):
        rewards.append([-BETA * (ours - theirs) for ours, theirs in zip(old, start, strict=True)])
        rewards[-1][-1] += score
    if whiten_rewards:  # variance 1, the mean kept
        whole = [reward for own in rewards for reward in own]
        mean, deviation = sum(whole) / len(whole), spread(whole, sample) ** 0.5
        rewards = [[(reward - mean) / deviation + mean for reward in own] for own in rewards]
    advantages, returns = [], []
    for own, values in zip(rewards, VALUES, strict=True):
        for t in range(len(own)):
            gained = 0.0
            for k in range(t, len(own)):
                ahead = values[k + 1] if k + 1 < len(own) else 0.0
                gained += (GAMMA * LAM) ** (k - t) * (own[k] + GAMMA * ahead - values[k])
            advantages.append(gained)
            returns.append(gained + values[t])
    mean, deviation = sum(advantages) / len(advantages), spread(advantages, sample) ** 0.5
    return [(advantage - mean) / deviation for advantage in advantages], returns


@pytest.mark.parametrize("whiten_rewards", [False, True])
@pytest.mark.parametrize("whiten", ["population", "sample"])
def test_what_a_round_is_judged_as(whiten: Any, whiten_rewards: bool) -> None:
    """Token rewards, GAE, returns that are not whitened and advantages that are, each by its own setting; the critic is asked
    piece by piece, and the policy never."""
    optimizer = PPO(gamma=GAMMA, lam=LAM, whiten=whiten, whiten_rewards=whiten_rewards, descent=Descent(micro_tokens=6))
    experience = Experience((), (), forest(), torch.tensor(SCORES))
    critic = Foreseeing()
    batch, told = optimizer.judged(experience, None, critic, BETA)  # type: ignore[arg-type]
    advantages, returns = judged_by_hand(whiten_rewards, whiten == "sample")
    assert critic.asked == 2
    assert batch.tokens["value"].tolist() == pytest.approx(flat(VALUES).tolist())
    assert batch.tokens["return"].tolist() == pytest.approx(returns, abs=1e-6)
    assert batch.tokens["advantage"].tolist() == pytest.approx(advantages, abs=1e-5)
    missed = sum((value - wanted) ** 2 for value, wanted in zip(flat(VALUES).tolist(), returns, strict=True)) / len(returns)
    assert told["explained"] == pytest.approx(1 - missed / spread(returns, False), abs=1e-5)
    assert told["return"] == pytest.approx(sum(returns) / len(returns), abs=1e-6)


NOW = [[-0.4, -0.6, -1.0], [-0.9], [-1.5, -0.2]]
SAID = [[0.9, 0.95, 0.1], [-0.5], [-0.4, 0.3]]
ADVANTAGES = [[1.0, -0.5, 2.0], [-1.0], [0.7, -2.0]]
RETURNS = [[0.3, 1.3, 1.2], [-0.1], [0.5, -0.4]]
SHOWN = [-0.5, -2.5]
"""log π of a demonstration's tokens."""


@dataclass
class Saying:
    """A policy, and what it said in one pass: at temperature 1, and at another (half of it, so that they can be told apart)."""

    logps_now: Tensor
    values_now: Tensor

    def read(self, batch: Forest) -> Saying:
        return self

    def logps(self, temperature: float = 1.0) -> Tensor:
        return self.logps_now if temperature == 0.5 else self.logps_now / 2

    def values(self, batch: Forest | None = None) -> Tensor:
        return self.values_now


def loss_by_hand(clip: float, value_clip: float, weight: float) -> tuple[float, float]:
    """(the policy's, the critic's), each a mean over the tokens of answers."""
    policy, critic = [], []
    rows = (OLD, NOW, ADVANTAGES, VALUES, SAID, RETURNS)
    for old, now, gained, before, value, wanted in zip(*([n for row in of for n in row] for of in rows), strict=True):
        ratio = math.exp(now - old)
        policy.append(max(-gained * ratio, -gained * min(max(ratio, 1 - clip), 1 + clip)))
        near = min(max(value, before - value_clip), before + value_clip)
        critic.append(0.5 * max((value - wanted) ** 2, (near - wanted) ** 2))
    return sum(policy) / len(policy), weight * sum(critic) / len(critic)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("ptx", [0.0, 0.4])
def test_what_a_step_is_charged_with(ptx: float, apart: bool) -> None:
    """L = E[surrogate] + c_v E[value loss] + γ E[−log π of demonstrations]: the first two over the tokens of answers, the last
    over its own and at temperature 1."""
    optimizer = PPO(clip=0.15, value_clip=0.25, value_weight=0.6, ptx=ptx, exploring=Exploring(temperature=0.5))
    notes = {"value": flat(VALUES), "advantage": flat(ADVANTAGES), "return": flat(RETURNS)}
    batch, now, values = forest().attach(tokens=notes), flat(NOW), flat(SAID)
    if ptx:
        shown = plant([Tree((1,), ((2, 3),))]).attach(tokens={"reminder": torch.full((2,), ptx * 6 / 2)})
        batch = joined(batch, shown)
        now, values = torch.cat([now, 2 * torch.tensor(SHOWN)]), torch.cat([values, torch.tensor([9.0, 9.0])])
    policy = Saying(now, values if not apart else torch.full_like(values, 7.0))
    critic = Saying(torch.zeros_like(now), values) if apart else policy
    loss = optimizer.loss(policy, critic, batch)  # type: ignore[arg-type]
    gained, foreseen = loss_by_hand(0.15, 0.25, 0.6)
    assert loss.count == 6
    reminded = ptx * -sum(SHOWN) / 2
    assert float(loss.total) / 6 == pytest.approx(gained + foreseen + reminded, rel=1e-5)
    told = {name: float(total) / count for name, (total, count) in loss.told.items()}
    ratios = [math.exp(b - a) for a, b in zip(flat(OLD).tolist(), flat(NOW).tolist(), strict=True)]
    assert told["policy_loss"] == pytest.approx(gained, rel=1e-5)
    assert 0.6 * told["value_loss"] == pytest.approx(foreseen, rel=1e-5)
    assert told["ratio"] == pytest.approx(sum(ratios) / 6, rel=1e-5)
    assert told["clipped"] == pytest.approx(sum(abs(ratio - 1) > 0.15 for ratio in ratios) / 6)
    assert told["approx_kl"] == pytest.approx(sum(r - 1 - math.log(r) for r in ratios) / 6, rel=1e-4)


def slopes_by_hand(clip: float, value_clip: float, weight: float) -> tuple[list[float], list[float]]:
    """What moves each log π and each V: nothing where the clip is what counts."""
    policy, critic = [], []
    rows = (OLD, NOW, ADVANTAGES, VALUES, SAID, RETURNS)
    for old, now, gained, before, value, wanted in zip(*([n for row in of for n in row] for of in rows), strict=True):
        ratio = math.exp(now - old)
        held = ratio > 1 + clip if gained > 0 else ratio < 1 - clip
        policy.append(0.0 if held else -gained * ratio)
        near = min(max(value, before - value_clip), before + value_clip)
        critic.append(0.0 if (near - wanted) ** 2 > (value - wanted) ** 2 else weight * (value - wanted))
    return policy, critic


@pytest.mark.parametrize("apart", [False, True])
def test_what_a_step_moves(apart: bool) -> None:
    now, values = flat(NOW).requires_grad_(), flat(SAID).requires_grad_()
    notes = {"value": flat(VALUES), "advantage": flat(ADVANTAGES), "return": flat(RETURNS)}
    policy = Saying(now, values)
    critic = Saying(now, values) if apart else policy
    optimizer = PPO(clip=0.15, value_clip=0.25, value_weight=0.6, exploring=Exploring(temperature=0.5))
    optimizer.loss(policy, critic, forest().attach(tokens=notes)).total.backward()  # type: ignore[arg-type,no-untyped-call]
    of_policy, of_critic = slopes_by_hand(0.15, 0.25, 0.6)
    assert now.grad is not None
    assert values.grad is not None
    assert now.grad.tolist() == pytest.approx(of_policy, rel=1e-4)
    assert values.grad.tolist() == pytest.approx(of_critic, rel=1e-4)
    assert 0.0 in of_policy
    assert 0.0 in of_critic


@pytest.mark.parametrize(("stop", "steps"), [(None, 6), (2.5, 3), (2.0, 3), (99.0, 6)])
def test_what_is_told_of_a_round_and_when_it_ends(stop: float | None, steps: int) -> None:
    """The ratio of the first step, all else of the last; over once the policy is further away than is borne."""
    seen: list[tuple[Any, ...]] = []

    def descend(loss: object, batch: Forest) -> dict[str, float]:
        seen.append(tuple(tree.prompt for tree in batch.trees))
        return {"ratio": 10.0 + len(seen), "approx_kl": float(len(seen))}

    trees = plant([Tree((number,), ((9,),)) for number in range(1, 7)])
    told = PPO(epochs=2, minibatches=3, stop_kl=stop).learn(trees, None, None, descend, Dice(3), lambda batch: batch)  # type: ignore[arg-type]
    assert told == {"first_ratio": 11.0, "ratio": 10.0 + steps, "approx_kl": float(steps)}
    assert len(seen) == steps
    assert sorted(prompt for part in seen[:3] for prompt in part) == [(number,) for number in range(1, 7)]
    assert seen[:3] != seen[3:]  # each pass in an order of its own


def test_a_round_is_judged_by_the_leash_of_its_time_and_then_the_leash_is_steered(monkeypatch: pytest.MonkeyPatch) -> None:
    """β falls by a tenth a round: 4 replies in a horizon of 8, an error of −20 %."""
    judged, steered, planned = [], [], []
    own_judged, own_steer, own_on = PPO.judged, Coefficient.steer, Descent.on

    def judging(self: PPO, experience: Experience, policy: Any, critic: Any, coefficient: float) -> Any:
        batch, told = own_judged(self, experience, policy, critic, coefficient)
        judged.append((coefficient, experience.kl, float(batch.tokens["value"].abs().max())))
        return batch, told

    monkeypatch.setattr(PPO, "judged", judging)
    monkeypatch.setattr(Coefficient, "steer", lambda self, kl, n: (steered.append((kl, n)), own_steer(self, kl, n))[1])
    monkeypatch.setattr(
        Descent, "on", lambda self, *roles, updates: (planned.append(updates), own_on(self, *roles, updates=updates))[1]
    )
    optimizer = PPO(
        updates=3,
        prompts_per_update=2,
        replies=2,
        epochs=2,
        minibatches=2,
        leash=Leash(0.5, target=50.0, horizon=8.0),
        exploring=Exploring(max_tokens=3, unfinished="ignore"),
    )
    prompts = [Prompt.ask("is the cat small"), Prompt.ask("why")]
    lesson = Lesson(prompts=prompts, reward=lambda asked, said: [float(len(reply.text)) for reply in said])
    told = list(optimizer.improve(policy_on(toy_base()), lesson))
    assert [beta for beta, _, _ in judged] == pytest.approx([0.5, 0.45, 0.405])
    assert [update["beta"] for update in told] == pytest.approx([0.45, 0.405, 0.3645])
    assert steered == [(kl, 4) for _, kl, _ in judged]
    assert judged[0][2] == 0.0  # the critic begins by foreseeing nothing
    assert judged[1][2] > 0.0
    assert planned == [3 * 2 * 2]


def test_demonstrations_weigh_as_much_as_they_are_told_to() -> None:
    """γ = ½ beside answers of 6 tokens: each of a demonstration's 4 weighs ½ · 6/4. They are dealt for as long as there are
    steps, however few they are."""
    base = toy_base()
    shown = [
        Demonstration(Prompt.ask("why"), Completion("the cat is")),
        Demonstration(Prompt.ask("how"), Completion("the dog is")),
    ]
    remind = Reminder(shown, base, 0.5, 1, 5, seed=0)
    for _ in range(5):
        batch = remind(forest())
        weights = batch.tokens["reminder"].tolist()
        assert len(base.text.reply_ids(shown[0].completion)) == 4
        assert weights == [0.0] * 6 + [0.75] * 4
        assert batch.tokens["old"].tolist() == pytest.approx([*flat(OLD).tolist(), 0, 0, 0, 0])
    assert Reminder(shown, base, 0.0, 1, 5, seed=0)(batch) is batch
