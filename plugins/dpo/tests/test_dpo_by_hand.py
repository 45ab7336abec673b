"""The losses of whole batches, worked out in plain Python from the papers' formulas: pair by pair, no tensor, no model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from alignzoo.interfaces import Lesson
from alignzoo.learning.descent import Loss
from alignzoo.model.forest import Forest, Tree, plant
from alignzoo.model.role import policy_on
from alignzoo.records import Comparison, Completion, Prompt
from alignzoo.testing import toy_base
from alignzoo_dpo.dpo import DPO
from alignzoo_dpo.orpo import ORPO, shares
from alignzoo_dpo.simpo import SimPO

CHOSEN = [[-0.5, -0.25], [-2.0], [-0.1, -0.4, -1.0]]
"""log π of each token of three chosen replies, and of the rejected ones beside them."""
REJECTED = [[-1.0, -0.5, -0.7], [-0.9, -1.6], [-3.0]]
START = [(-1.0, -2.0), (-1.5, -2.75), (-2.0, -2.5)]
"""log π_ref of each whole pair."""
STRENGTH = [1.0, 0.75, 0.5]


@dataclass
class Saying:
    """A policy, and what it says of the tokens of a batch."""

    said: Tensor

    def logps(self, batch: Forest) -> Tensor:
        return self.said


POLICY = Saying(torch.tensor([logp for pair in zip(CHOSEN, REJECTED, strict=True) for side in pair for logp in side]))


def pairs() -> Forest:
    trees = [
        Tree((1, 2), (tuple(range(5, 5 + len(c))), tuple(range(9, 9 + len(r))))) for c, r in zip(CHOSEN, REJECTED, strict=True)
    ]
    reference = torch.tensor([logp for pair in START for logp in pair])
    return plant(trees).attach(replies={"reference": reference}, trees={"strength": torch.tensor(STRENGTH)})


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def both_ways(p: float, loss: Callable[[float], float], lead: float) -> float:
    return p * loss(lead) + (1 - p) * loss(-lead)


def told_of(found: Loss) -> dict[str, float]:
    return {name: float(total) / count for name, (total, count) in found.told.items()}


def means_of(rewards: list[list[float]]) -> dict[str, float]:
    """What is told of three pairs, from the rewards of both sides."""
    chosen, rejected = zip(*rewards, strict=True)
    right = sum(good > bad for good, bad in rewards) / 3
    return {
        "accuracy": right,
        "accuracy_strict": right,
        "margin": (sum(chosen) - sum(rejected)) / 3,
        "reward_chosen": sum(chosen) / 3,
        "reward_rejected": sum(rejected) / 3,
        "logp_chosen": sum(map(sum, CHOSEN)) / 3,
        "logp_rejected": sum(map(sum, REJECTED)) / 3,
    }


BY_HAND: dict[str, Callable[[float, float, float], float]] = {
    "sigmoid": lambda h, b, e: -(1 - e) * math.log(sigma(b * h)) - e * math.log(sigma(-b * h)),
    "robust": lambda h, b, e: (-(1 - e) * math.log(sigma(b * h)) + e * math.log(sigma(-b * h))) / (1 - 2 * e),
    "ipo": lambda h, b, e: (1 - e) * (h - 1 / (2 * b)) ** 2 + e * (h + 1 / (2 * b)) ** 2,
    "hinge": lambda h, b, e: (1 - e) * max(0.0, 1 - b * h) + e * max(0.0, 1 + b * h),
}


@pytest.mark.parametrize("loss", sorted(BY_HAND))
@pytest.mark.parametrize("per", ["reply", "token"])
@pytest.mark.parametrize("reference", ["start", "none"])
def test_dpo_and_the_rows_of_its_table(loss: Any, per: Any, reference: Any) -> None:
    """Soft labels, label noise, length, the reference and the likelihood term, all at once."""
    beta, noise, weight = 0.4, 0.1, 0.3
    optimizer = DPO(loss=loss, per=per, reference=reference, beta=beta, label_noise=noise, likelihood=weight)
    batch = pairs() if reference == "start" else pairs().attach(replies={"reference": torch.zeros(6)})
    found = optimizer.pair_loss(POLICY, batch)  # type: ignore[arg-type]
    wanted, margins, moved = [], [], []
    for chosen, rejected, start, p in zip(CHOSEN, REJECTED, START, STRENGTH, strict=True):
        ours, theirs = start if reference == "start" else (0.0, 0.0)
        good, bad = sum(chosen) - ours, sum(rejected) - theirs
        moved.append(good)
        if per == "token":
            good, bad = good / len(chosen), bad / len(rejected)
        likely = p * sum(chosen) / len(chosen) + (1 - p) * sum(rejected) / len(rejected)
        wanted.append(both_ways(p, lambda h: BY_HAND[loss](h, beta, noise), good - bad) - weight * likely)
        margins.append(beta * (good - bad))
    assert found.count == 3
    assert float(found.total) == pytest.approx(sum(wanted), rel=1e-5)
    told = told_of(found)
    assert told["margin"] == pytest.approx(sum(margins) / 3, rel=1e-5)
    assert told["logp_chosen"] == pytest.approx(sum(map(sum, CHOSEN)) / 3)
    assert told["logp_rejected"] == pytest.approx(sum(map(sum, REJECTED)) / 3)
    assert told["accuracy"] == pytest.approx(sum(margin > 0 for margin in margins) / 3)
    assert ("displacement" in told) == (reference == "start")
    if reference == "start":
        assert told["displacement"] == pytest.approx(sum(moved) / 3, rel=1e-5)


def test_simpo() -> None:
    beta, gamma, noise, weight = 2.5, 0.8, 0.1, 0.3
    optimizer = SimPO(beta=beta, gamma=gamma, label_noise=noise, likelihood=weight)
    found = optimizer.pair_loss(POLICY, pairs())  # type: ignore[arg-type]
    wanted = 0.0
    for chosen, rejected, p in zip(CHOSEN, REJECTED, STRENGTH, strict=True):
        a_c, a_r = sum(chosen) / len(chosen), sum(rejected) / len(rejected)

        def loss(lead: float) -> float:
            z = beta * lead - gamma
            return -(1 - noise) * math.log(sigma(z)) - noise * math.log(sigma(-z))

        wanted += both_ways(p, loss, a_c - a_r) - weight * (p * a_c + (1 - p) * a_r)
    assert float(found.total) == pytest.approx(wanted, rel=1e-5)
    assert found.count == 3
    rewards = [[beta * sum(side) / len(side) for side in pair] for pair in zip(CHOSEN, REJECTED, strict=True)]
    assert told_of(found) == pytest.approx(means_of(rewards), rel=1e-5)


@pytest.mark.parametrize("over", ["reply", "token"])
def test_orpo(over: Any) -> None:
    """odds = P / (1 − P) of P = exp(mean log π), as it stands in the paper."""
    lam = 0.35
    batch = pairs()
    batch = batch.attach(replies={"share": shares(batch, over)})
    found = ORPO(lam=lam, over=over).pair_loss(POLICY, batch)  # type: ignore[arg-type]
    ratios, likely, counted = 0.0, 0.0, 0.0
    for chosen, rejected, p in zip(CHOSEN, REJECTED, STRENGTH, strict=True):
        means = [sum(side) / len(side) for side in (chosen, rejected)]
        odds = [math.exp(a) / (1 - math.exp(a)) for a in means]
        ratios += both_ways(p, lambda lead: -math.log(sigma(lead)), math.log(odds[0] / odds[1]))
        parts = means if over == "reply" else [sum(chosen), sum(rejected)]
        likely += p * parts[0] + (1 - p) * parts[1]
        counted += p * len(chosen) + (1 - p) * len(rejected)
    nll = -likely / 3 if over == "reply" else -likely / counted
    assert float(found.total) / found.count == pytest.approx(lam * ratios / 3 + nll, rel=1e-5)
    a = [[sum(side) / len(side) for side in pair] for pair in zip(CHOSEN, REJECTED, strict=True)]
    rewards = [[lam * math.log(math.exp(mean) / (1 - math.exp(mean))) for mean in pair] for pair in a]
    parts = {"nll": nll, "odds_ratio": ratios / 3}
    assert told_of(found) == pytest.approx({**parts, **means_of(rewards)}, rel=1e-5)


@pytest.mark.parametrize("optimizer", [DPO(), ORPO(), SimPO()], ids=lambda of: type(of).__name__)
def test_each_seed_deals_in_an_order_of_its_own(optimizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each epoch; with as many updates as are planned for the schedule."""
    dealt: list[tuple[int, ...]] = []
    kind, own = type(optimizer), type(optimizer).pair_loss

    def noting(self: Any, policy: Any, batch: Forest) -> Any:
        dealt.extend(tree.prompt for tree in batch.trees)
        return own(self, policy, batch)

    monkeypatch.setattr(kind, "pair_loss", noting)
    things = ("cat", "dog", "bird", "fish", "tree", "house")
    lesson = Lesson(comparisons=[Comparison(Prompt.ask(f"why the {t}"), Completion("yes"), Completion("no")) for t in things])
    orders = []
    for seed in (0, 0, 1):
        dealt.clear()
        told = list(replace(optimizer, seed=seed, batch_size=4, epochs=2).improve(policy_on(toy_base()), lesson))
        assert len(told) == 4
        assert told[-1]["lr"] > 0
        orders.append(tuple(dealt))
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][:6] != orders[0][6:]
    assert sorted(orders[0][:6]) == sorted(orders[0][6:])
