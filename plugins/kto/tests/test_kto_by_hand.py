"""Whole batches of KTO and BCO in plain Python, and what their loops hand to the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from alignzoo.interfaces import Lesson
from alignzoo.learning.descent import Loss
from alignzoo.model.forest import Forest, Tree, plant
from alignzoo.model.role import policy_on
from alignzoo.records import Completion, Prompt, Rating
from alignzoo.testing import toy_base
from alignzoo_kto import kto
from alignzoo_kto.bco import BCO
from alignzoo_kto.kto import KTO
from alignzoo_kto.thumbs import Weights

SAID = [[-0.5, -0.25], [-2.0], [-0.1, -0.4, -1.0], [-0.9, -1.6]]
"""log π of each token of four answers."""
START = [-1.5, -1.0, -2.5, -2.0]
UP = [1.0, 0.0, 0.75, 0.25]
WEIGHTS = Weights(1.5, 0.6)


@dataclass
class Saying:
    said: Tensor

    def logps(self, batch: Forest) -> Tensor:
        return self.said


POLICY = Saying(torch.tensor([logp for answer in SAID for logp in answer]))


def batch(**notes: float) -> Forest:
    trees = plant([Tree((1, 2), (tuple(range(3, 3 + len(answer))),)) for answer in SAID])
    filled = {name: torch.full((4,), value) for name, value in notes.items()}
    return trees.attach(replies={"reference": torch.tensor(START), "up": torch.tensor(UP), **filled})


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def told(loss: Loss) -> dict[str, float]:
    return {name: float(total) / count for name, (total, count) in loss.told.items()}


RATIOS = [sum(answer) - start for answer, start in zip(SAID, START, strict=True)]
"""ρ: 0.75, −1, 1, −0.5."""


def test_kto() -> None:
    """λ_y − v(x, y), with v as eq. 8 has it; an uncertain thumb counts on both sides."""
    beta, z0 = 0.8, 0.3
    found = KTO(beta=beta).loss(POLICY, WEIGHTS, batch(z0=z0))
    wanted = 0.0
    for ratio, up in zip(RATIOS, UP, strict=True):
        wanted += up * WEIGHTS.desirable * (1 - sigma(beta * (ratio - z0)))
        wanted += (1 - up) * WEIGHTS.undesirable * (1 - sigma(beta * (z0 - ratio)))
    assert found.count == 4
    assert float(found.total) == pytest.approx(wanted, rel=1e-5)
    seen = told(found)
    assert seen["accuracy"] == 1.0
    assert (seen["reward_up"], seen["reward_down"]) == pytest.approx((beta * 0.875, beta * -0.75))
    assert (seen["logp_up"], seen["logp_down"]) == pytest.approx(((-0.75 - 1.5) / 2, (-2.0 - 2.5) / 2))
    assert seen["displacement"] == pytest.approx(0.875)
    assert told(KTO(beta=beta).loss(POLICY, WEIGHTS, batch(z0=0.9)))["accuracy"] == 0.75  # 0.75 is no gain over 0.9


def test_bco() -> None:
    beta, shift = 0.8, 0.2
    found = BCO(beta=beta).loss(POLICY, WEIGHTS, batch(shift=shift))  # type: ignore[arg-type]
    wanted = 0.0
    for ratio, up in zip(RATIOS, UP, strict=True):
        lead = beta * ratio - shift
        wanted -= up * WEIGHTS.desirable * math.log(sigma(lead)) + (1 - up) * WEIGHTS.undesirable * math.log(sigma(-lead))
    assert found.count == 4
    assert float(found.total) == pytest.approx(wanted, rel=1e-5)
    assert told(found)["reward_up"] == pytest.approx(beta * 0.875)
    assert told(found)["accuracy"] == 1.0
    assert told(BCO(beta=beta).loss(POLICY, WEIGHTS, batch(shift=0.7)))["accuracy"] == 0.75  # type: ignore[arg-type]  # 0.6 is below


# The loops -------------------------------------------------------------------------------------------------------------

THINGS = ("cat", "dog", "bird", "house", "sun", "moon")
LOG = [
    Rating(Prompt.ask(f"why the {t}"), Completion("yes" if i % 2 else "no please"), float(i % 2)) for i, t in enumerate(THINGS)
]


def seen_by(optimizer: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Forest], list[dict[str, float]]]:
    forests: list[Forest] = []
    own = type(optimizer).loss

    def noting(self: Any, policy: Any, weights: Any, forest: Forest) -> Any:
        forests.append(forest)
        return own(self, policy, weights, forest)

    with monkeypatch.context() as patched:
        patched.setattr(type(optimizer), "loss", noting)
        return forests, list(optimizer.improve(policy_on(toy_base()), Lesson(ratings=LOG)))


@pytest.mark.parametrize(("baseline", "wanted"), [("strangers", 0.7), ("neighbours", 0.7), ("none", 0.0)])
def test_every_answer_is_held_against_the_point_that_was_measured(
    baseline: Any, wanted: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kto, "reference_point", lambda ahead, met, reference: torch.tensor(0.7))
    forests, updates = seen_by(KTO(baseline=baseline, batch_size=3), monkeypatch)
    assert [forest.replies["z0"].tolist() for forest in forests] == [pytest.approx([wanted] * 3)] * 2
    assert [update["z0"] for update in updates] == pytest.approx([wanted] * 2)


def test_the_shift_of_a_batch_is_of_those_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-way between what each side has earned on average so far, a batch counting by its answers of that side and fading
    by a tenth with each batch after it. The first has none."""
    forests, updates = seen_by(BCO(batch_size=4, epochs=3), monkeypatch)
    sums, counts = {"reward_up": 0.0, "reward_down": 0.0}, {"reward_up": 0.0, "reward_down": 0.0}
    for forest, update in zip(forests, updates, strict=True):
        means = [sums[side] / counts[side] for side in sums if counts[side]]
        wanted = sum(means) / len(means) if means else 0.0
        assert forest.replies["shift"].tolist() == pytest.approx([wanted] * len(forest), rel=1e-4, abs=1e-7)
        assert update["shift"] == pytest.approx(wanted, rel=1e-4, abs=1e-7)
        ups = int(forest.replies["up"].sum())
        for side, count in (("reward_up", ups), ("reward_down", len(forest) - ups)):
            if count:
                sums[side] = 0.9 * sums[side] + count * update[side]
                counts[side] = 0.9 * counts[side] + count
    assert updates[-1]["shift"] != 0.0
    assert len({int(forest.replies["up"].sum()) / len(forest) for forest in forests}) > 1  # sides of unequal size


@pytest.mark.parametrize("optimizer", [KTO(), BCO()], ids=["kto", "bco"])
def test_each_seed_and_each_epoch_deals_in_an_order_of_its_own(optimizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = []
    for seed in (0, 0, 1):
        forests, _ = seen_by(replace(optimizer, seed=seed, batch_size=6, epochs=2), monkeypatch)
        orders.append([tuple(tree.prompt for tree in forest.trees) for forest in forests])
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][0] != orders[0][1]


def test_a_batch_of_one_has_no_neighbour() -> None:
    """Six ratings in batches of five leave one; in threes or fours they leave none."""
    thumbs = kto.thumbs_in(LOG, None)
    KTO(baseline="neighbours", batch_size=3).check(thumbs)
    KTO(baseline="neighbours", batch_size=4).check(thumbs)
    for size in (1, 5):
        with pytest.raises(ValueError, match=f"6 ratings in batches of {size} leave a batch of one"):
            KTO(baseline="neighbours", batch_size=size).check(thumbs)
        KTO(batch_size=size).check(thumbs)


def test_who_meets_whom_is_settled_by_the_first_deal() -> None:
    """Dealt as 4 1 3 | 0 5 2, each meets the one before it, round its own batch."""

    class Dealt:
        def order(self, epoch: int) -> list[int]:
            return [[4, 1, 3, 0, 5, 2], [0, 1, 2, 3, 4, 5]][epoch]

    met = KTO(batch_size=3).mismatched(Dealt(), list("abcdef"))  # type: ignore[arg-type]
    assert met == {4: 3, 1: 4, 3: 1, 0: 2, 5: 0, 2: 5}
