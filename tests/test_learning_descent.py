"""Descent: micro-batches that are exactly one batch, schedules, clipping and AdamW, by hand."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from plain import ids, mixed, pairs, stirred
from torch import Tensor

from alignzoo.learning.descent import Descent, DescentError, Loss
from alignzoo.model.base import Base
from alignzoo.model.forest import Forest, Tree, per_reply, plant
from alignzoo.model.role import Role, bare_on, policy_on, role_on
from alignzoo.testing import toy_base


def by_token(role: Role, forest: Forest) -> Loss:
    logps = role.logps(forest)
    return Loss.over(-logps, logp=logps, length=forest.lengths)


def by_pair(role: Role, forest: Forest) -> Loss:
    sums = per_reply(role.logps(forest), forest).view(-1, 2)
    margin = sums[:, 0] - sums[:, 1]
    return Loss.over(-torch.nn.functional.logsigmoid(0.1 * margin), margin=margin)


def adapter(role: Role) -> dict[str, Tensor]:
    return {key: tensor.detach().clone() for key, tensor in role.base.wardrobe.tensors(role.name).items()}


@pytest.mark.parametrize("micro_tokens", [1, 25, 45, 8192])
@pytest.mark.parametrize(("loss", "batch"), [(by_token, mixed()), (by_pair, plant([*pairs().trees] * 3))])
def test_any_micro_batch_gives_the_same_update(loss: object, batch: Forest, micro_tokens: int) -> None:
    """To rounding, which AdamW makes as large as the rate where a gradient is next to nothing: unless ε is larger than that."""
    assert (len(list(batch.split(micro_tokens))) > 1) == (micro_tokens < 100)
    done = []
    for limit in (10_000, micro_tokens):
        role = stirred(policy_on(toy_base()))
        descend = Descent(lr=1e-3, eps=1e-3, micro_tokens=limit).on(role)
        told = [descend(partial(loss, role), batch) for _ in range(3)]  # type: ignore[operator,arg-type]
        done.append((adapter(role), told))
    (whole, told_whole), (parts, told_parts) = done
    for key, tensor in whole.items():
        assert float((parts[key] - tensor).abs().max()) <= 1e-6, key
    for one, other in zip(told_whole, told_parts, strict=True):
        assert other == pytest.approx(one, rel=1e-5)


def test_counts_not_means_of_means(base: Base) -> None:
    """Replies of one and of nine tokens: the loss is the mean over ten tokens, not the mean of two means."""
    role = stirred(policy_on(base))
    batch = plant([Tree(ids(4, 1), (ids(1, 2),)), Tree(ids(4, 3), (ids(9, 4),))])
    with torch.no_grad():
        logps = role.logps(batch)
    of_means = -float(logps[:1].mean() + logps[1:].mean()) / 2
    told = Descent(micro_tokens=1).on(role)(partial(by_token, role), batch)
    assert told["loss"] == pytest.approx(-float(logps.mean()), rel=1e-5)
    assert told["loss"] != pytest.approx(of_means, rel=1e-2)
    assert told["logp"] == pytest.approx(float(logps.mean()), rel=1e-5)
    assert told["length"] == 5.0


def test_a_loss_is_a_sum_and_a_count() -> None:
    loss = Loss.over(torch.tensor([1.0, 2.0, 6.0]), seen=torch.tensor([True, False]), value=torch.tensor([0.5]))
    assert (float(loss.total), loss.count) == (9.0, 3)
    assert {name: (float(total), count) for name, (total, count) in loss.told.items()} == {"seen": (1.0, 2), "value": (0.5, 1)}


@pytest.mark.parametrize(
    ("how", "planned", "wanted"),
    [
        (Descent(), 0, [1, 1, 1, 1]),
        (Descent(warmup=3), 0, [1 / 4, 2 / 4, 3 / 4, 1, 1, 1]),
        (Descent(schedule="linear"), 4, [1, 3 / 4, 2 / 4, 1 / 4, 0, 0]),
        (Descent(schedule="linear", warmup=2), 6, [1 / 3, 2 / 3, 1, 3 / 4, 2 / 4, 1 / 4, 0]),
        (Descent(schedule="cosine"), 4, [1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0, 0]),
        (Descent(schedule="cosine", warmup=1), 3, [1 / 2, 1, 0.5, 0]),
        (Descent(schedule="linear", warmup=5), 3, [1 / 6, 2 / 6, 3 / 6]),
    ],
)
def test_schedules_by_hand(how: Descent, planned: int, wanted: list[float]) -> None:
    assert [how.rate(update, planned) for update in range(len(wanted))] == pytest.approx(wanted)


def test_the_schedule_is_what_moves_the_role(base: Base) -> None:
    role = stirred(policy_on(base))
    descend = Descent(lr=1e-3, schedule="linear", warmup=1).on(role, updates=3)
    told = [descend(partial(by_token, role), pairs())["lr"] for _ in range(3)]
    assert told == pytest.approx([0.5e-3, 1e-3, 0.5e-3])
    before = adapter(role)
    descend(partial(by_token, role), pairs())  # one more than was planned: the rate is zero
    assert all(torch.equal(tensor, before[key]) for key, tensor in adapter(role).items())


def test_a_falling_rate_needs_a_plan(base: Base) -> None:
    with pytest.raises(DescentError, match="the schedule 'cosine' needs to know how many updates are planned"):
        Descent(schedule="cosine").on(policy_on(base))


class Pull:
    """A batch that is nothing but a gradient."""

    def __init__(self, *toward: tuple[Tensor, Tensor]) -> None:
        self.toward = toward

    def __len__(self) -> int:
        return 1

    def split(self, limit: int) -> list[Pull]:
        return [self]

    def loss(self, count: int = 1) -> Loss:
        return Loss(sum(((tensor * slope).sum() for tensor, slope in self.toward), torch.zeros(())), count)


def test_adamw_by_hand_for_two_steps(base: Base) -> None:
    """θ ← θ − η λ θ − η m̂ / (√v̂ + ε), with m̂ and v̂ corrected for their start at zero."""
    role = stirred(policy_on(base))
    how = Descent(lr=0.01, weight_decay=0.1, beta1=0.8, beta2=0.9, eps=1e-3, clip=1e9)
    descend = how.on(role)
    parameter = role.parameters()[0]
    wanted = parameter.detach().double().clone()
    first_moment, second_moment = torch.zeros_like(wanted), torch.zeros_like(wanted)
    for step, seed in ((1, 5), (2, 6)):
        slope = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))
        descend(lambda batch: batch.loss(count=4), Pull((parameter, slope)))  # type: ignore[type-var]
        gradient = slope.double() / 4
        first_moment = 0.8 * first_moment + 0.2 * gradient
        second_moment = 0.9 * second_moment + 0.1 * gradient**2
        wanted -= 0.01 * 0.1 * wanted
        wanted -= 0.01 * (first_moment / (1 - 0.8**step)) / ((second_moment / (1 - 0.9**step)).sqrt() + 1e-3)
        assert torch.allclose(parameter.detach().double(), wanted, atol=1e-7)


@pytest.mark.parametrize(("clip", "share"), [(1.0, 1 / 5), (5.0, 1.0), (100.0, 1.0)])
def test_the_norm_is_clipped_over_all_roles_together(base: Base, clip: float, share: float) -> None:
    """Gradients of norm 3 on one role and 4 on the other make 5; Adam's first moment shows what was left of them."""
    policy, critic = policy_on(base), role_on(base, "critic")
    descend = Descent(clip=clip, beta1=0.5).on(policy, critic)
    one, other = torch.zeros_like(policy.parameters()[0]), torch.zeros_like(critic.parameters()[0])
    one[0, 0], other[1, 1] = 3.0, 4.0
    told = descend(lambda batch: batch.loss(), Pull((policy.parameters()[0], one), (critic.parameters()[0], other)))  # type: ignore[type-var]
    assert told["grad_norm"] == pytest.approx(5.0)
    assert descend.adam.state[policy.parameters()[0]]["exp_avg"][0, 0].item() == pytest.approx(0.5 * 3.0 * share, rel=1e-5)
    assert descend.adam.state[critic.parameters()[0]]["exp_avg"][1, 1].item() == pytest.approx(0.5 * 4.0 * share, rel=1e-5)


def test_only_the_roles_of_a_step_are_moved(base: Base) -> None:
    policy, critic, reference = stirred(policy_on(base)), stirred(role_on(base, "critic")), bare_on(base, "judge")
    critic.grow("value")
    digests = critic.digest, reference.digest
    descend = Descent().on(policy, reference)

    def joint(forest: Forest) -> Loss:
        return Loss.over(policy.logps(forest) + critic.values(forest))

    descend(joint, pairs())
    assert (critic.digest, reference.digest) == digests
    own = Descent().on(critic)
    assert len(own.parameters) == len(critic.adapter) + 2
    own(lambda forest: Loss.over(critic.values(forest)), pairs())
    assert critic.digest != digests[0]


def test_gradients_left_by_others_are_not_descended() -> None:
    """Somebody's backward() before the update must not get into it."""
    done = []
    for before in (False, True):
        role = stirred(policy_on(toy_base()))
        descend = Descent(lr=1e-3).on(role)
        if before:
            role.logps(mixed()).square().sum().backward()
        descend(partial(by_token, role), pairs())
        done.append(role.digest)
    assert done[0] == done[1]


def test_no_gradient_is_left_for_others(base: Base) -> None:
    role = stirred(policy_on(base))
    Descent().on(role)(partial(by_token, role), pairs())
    assert all(parameter.grad is None for parameter in role.parameters())


def test_what_there_was_nothing_of_is_not_told(base: Base) -> None:
    """Such as a figure of the answers that have ended, where none has."""
    role = policy_on(base)
    ratios = torch.zeros(0)
    told = Descent().on(role)(lambda forest: Loss.over(role.logps(forest), ended=ratios, all=torch.ones(2)), pairs())
    assert "ended" not in told
    assert told["all"] == 1.0


def test_nothing_to_train_is_said(base: Base) -> None:
    with pytest.raises(DescentError, match="nothing to train: none of these roles is trained"):
        Descent().on(bare_on(base, "judge"), policy_on(base).frozen())


def test_paged_adam_is_for_gpus(base: Base) -> None:
    with pytest.raises(DescentError, match='paged_adamw_8bit needs a CUDA GPU; use optimizer = "adamw"'):
        Descent(optimizer="paged_adamw_8bit").on(policy_on(base))


def test_heads_are_trained_with_their_role(base: Base) -> None:
    critic = role_on(base, "critic")
    critic.grow("value")
    before = critic.head("value").weight.clone()  # type: ignore[operator]
    descend = Descent(lr=1e-2).on(critic)
    losses = [descend(lambda f: Loss.over((critic.values(f) - 3.0) ** 2), mixed())["loss"] for _ in range(30)]
    assert losses[-1] < 0.05 * losses[0]
    assert not torch.equal(critic.head("value").weight, before)  # type: ignore[arg-type]
