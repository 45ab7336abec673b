"""ILQL on the toy base: what it learns, its loss, and its targets."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rated_answers import BASE, LESSON, QUICK, RATINGS, begun, moved_heads, run, said, steering

from alignzoo.interfaces import Lesson, LessonError, Optimizer, Policy
from alignzoo.learning.descent import Descent
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.role import Role, policy_on, role_on
from alignzoo.records import Completion, Prompt, Rating, Turn
from alignzoo.testing import toy_base, toy_folder
from alignzoo_ilql import ilql
from alignzoo_ilql.episodes import planted
from alignzoo_ilql.heads import Heads, grown_on
from alignzoo_ilql.ilql import ILQL, bellman, expectile


def test_it_is_an_optimizer_and_says_what_it_needs() -> None:
    assert isinstance(ILQL(), Optimizer)
    assert ILQL().needs == ("ratings",)
    assert ILQL(rewards="reward").needs == ("ratings", "reward")
    with pytest.raises(LessonError, match="this run lacks ratings"):
        next(iter(ILQL().improve(policy_on(toy_base()), Lesson())))
    assert isinstance(ILQL().deploy(policy_on(toy_base()), Lesson()), Policy)


@pytest.mark.parametrize("how", [{}, {"trunk": "detached"}, {"heads": "shared", "adapter": "own"}])
def test_it_learns_to_say_what_was_rated_highly(how: dict[str, Any]) -> None:
    """Steering raises the good answers step by step over the imitation of all four."""
    policy, told = run(replace(QUICK, epochs=25, batch_size=16, **how), toy_base())
    good = []
    for beta in (0.0, 4.0):
        texts = said(steering(policy, beta=beta))
        good.append(sum(texts[text] for text in ("yes please", "true thanks")) / texts.total())
    assert good[1] > max(0.85, good[0] + 0.1)
    assert told[-1]["q_loss"] < 0.2 * told[0]["q_loss"]
    assert told[-1]["nll"] < told[0]["nll"]
    assert all(math.isfinite(value) for row in told for value in row.values())


def test_on_a_four_bit_base_it_learns_too(tmp_path: Path) -> None:
    base = Base.load(str(toy_folder(tmp_path)), Loading(quantize="nf4", device="cpu"), Lora(rank=4, alpha=8.0))
    policy, told = run(replace(QUICK, epochs=6), base)
    assert told[-1]["loss"] < told[0]["loss"]
    assert {parameter.dtype for parameter in policy.heads.parameters()} == {torch.float32}
    assert said(steering(policy, beta=0.0)) == said(policy)


# The loss ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", ["apart", "shared"])
@pytest.mark.parametrize("awac_beta", [0.0, 0.7])
def test_the_loss_is_the_sum_of_its_four_terms(heads: str, awac_beta: float) -> None:
    """Against the formulas written plainly on whole rows of Q, one dialogue of two turns among the episodes."""
    policy, grown = begun(heads)
    dialogue = Prompt((Turn("user", "is the cat old"), Turn("assistant", "maybe"), Turn("user", "why")))
    lesson = Lesson(ratings=[*RATINGS[:3], Rating(dialogue, Completion("because"), 0.3)])
    optimizer = ILQL(heads=heads, awac_beta=awac_beta, cql=0.3, awac=0.5, tau=0.7, gamma=0.9)  # type: ignore[arg-type]
    batch = planted(optimizer.paths(lesson, policy.base.text))
    loss = optimizer.loss(policy, grown, batch)

    acts = batch.tokens["act"]
    assert int((~acts).sum()) > 0
    with torch.no_grad():
        states, actions = policy.read(batch).states[acts], batch.targets[acts]
        rows = {name: policy.head(name)(states) for name in grown.names}
        slow = {name: policy.head(f"{name}_target")(states) for name in grown.names}
        q, target = (torch.cat([row.unflatten(-1, (grown.twins, -1)) for row in of.values()], 1) for of in (rows, slow))
        taken, lowest = (of.gather(2, actions[:, None, None].expand(-1, 2, 1))[..., 0] for of in (q, target))
        lowest = lowest.amin(1)
        v = policy.values(batch, "v")[acts]
        y = bellman(batch.tokens["reward"][acts], v, batch.reply[acts], 0.9)
        logps = policy.logps(batch)[acts]
        wanted = {
            "q_loss": ((taken - y[:, None]) ** 2).sum(1),
            "v_loss": expectile(lowest - v, 0.7),
            "cql": (q.logsumexp(-1) - taken).sum(1),
            "awac": -(awac_beta * (lowest - v)).exp() * logps,
        }
    total = sum(part.sum() * c for part, c in zip(wanted.values(), (1, 1, 0.3, 0.5), strict=True))
    assert loss.count == int(acts.sum())
    assert float(loss.total.detach()) == pytest.approx(float(total), rel=1e-4)
    told = {name: float(value) / count for name, (value, count) in loss.told.items()}
    assert told["q_loss"] == pytest.approx(float(wanted["q_loss"].mean()) / 2, rel=1e-4)
    assert told["v_loss"] == pytest.approx(float(wanted["v_loss"].mean()), rel=1e-4)
    assert told["cql"] == pytest.approx(float(wanted["cql"].mean()) / 2, rel=1e-4)
    assert told["nll"] == pytest.approx(-float(logps.mean()), rel=1e-4)
    assert told["advantage"] == pytest.approx(float((lowest - v).mean()), rel=1e-4)
    above = float((lowest > v).float().mean())
    assert told["above"] == pytest.approx(above)
    assert above not in (0.0, 0.5, 1.0)
    assert told["v"] == pytest.approx(float(v.mean()), rel=1e-4)
    assert told["q"] == pytest.approx(float(taken.mean()), rel=1e-4)
    assert told["twins"] == pytest.approx(float((taken[:, 0] - taken[:, 1]).abs().mean()), rel=1e-3)
    assert told["weight"] == pytest.approx(float((awac_beta * (lowest - v)).exp().mean()), rel=1e-4)


@pytest.mark.parametrize("heads", ["apart", "shared"])
def test_every_head_has_the_gradient_of_its_own_term(heads: str) -> None:
    """Targets have none; V has none through y or the imitation's weight; Q none through V's loss."""
    policy, grown = begun(heads)
    optimizer = ILQL(awac_beta=1.0, cql=0.0, awac=1.0)
    batch = planted(optimizer.paths(LESSON, policy.base.text)[:6])
    optimizer.loss(policy, grown, batch).total.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for name in grown.names for p in policy.head(f"{name}_target").parameters())
    states = policy.read(batch).states.detach()
    acts, actions = batch.tokens["act"], batch.targets
    assert bool(acts.all())
    slow = grown.slow(states, actions)
    parameters = list(policy.head("v").parameters())
    own = torch.autograd.grad(expectile(slow - grown.values(states), optimizer.tau).sum(), parameters)
    for parameter, wanted in zip(parameters, own, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, wanted, atol=1e-4)


def test_detached_values_do_not_move_the_adapter() -> None:
    for trunk, moves in (("detached", False), ("trained", True)):
        policy, told = run(replace(QUICK, awac=0.0, trunk=trunk), toy_base())  # type: ignore[arg-type]
        assert policy.idle is not moves
        assert "nll" not in told[0]


def test_values_on_an_adapter_of_their_own_leave_the_policy_alone() -> None:
    policy, _ = run(replace(QUICK, awac=0.0, adapter="own", epochs=1), toy_base())
    values = policy.companions["critic"]
    assert policy.idle
    assert not values.idle
    assert not policy.heads


def test_a_policy_that_imitates_is_moved_beside_values_of_their_own_and_deployed_with_them() -> None:
    policy, told = run(replace(QUICK, adapter="own", epochs=1), toy_base())
    deployed = QUICK.deploy(policy, LESSON)
    assert not policy.idle
    assert told[0]["nll"] > 0
    assert deployed.policy is policy
    assert deployed.values is policy.companions["critic"]


@pytest.mark.parametrize("heads", ["apart", "shared"])
@pytest.mark.parametrize("awac", [0.0, 1.0])
@pytest.mark.parametrize("adapter", ["shared", "own"])
def test_who_is_moved_and_how_heads_are_grown(heads: Any, awac: float, adapter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is imitated, a policy beside values of their own is left alone."""
    grown: list[tuple[str, dict[str, Any]]] = []
    moved: list[tuple[list[str], int]] = []

    def grow(role: Role, **how: Any) -> Heads:
        grown.append((role.name, how))
        return Heads(role)

    def on(descent: Descent, *roles: Role, updates: int) -> None:
        moved.append(([role.name for role in roles], updates))
        raise InterruptedError

    monkeypatch.setattr(ilql, "grown_on", grow)
    monkeypatch.setattr(Descent, "on", on)
    how = replace(QUICK, heads=heads, awac=awac, adapter=adapter, hidden=(7, 5), seed=11, epochs=3)
    policy = policy_on(BASE)
    with pytest.raises(InterruptedError):
        next(how.improve(policy, LESSON))
    values = policy if adapter == "shared" else policy.companions["critic"]
    assert grown == [(values.name, {"shared": heads == "shared", "hidden": (7, 5), "seed": 11})]
    assert moved == [([values.name, *([policy.name] if awac and values is not policy else [])], 3 * 4)]
    if values is not policy:
        assert values.digest == role_on(toy_base(), "critic", seed=11).digest
    BASE.dismiss_all()


def test_the_order_of_episodes_in_a_batch_changes_nothing() -> None:
    policy, grown = begun()
    paths = QUICK.paths(LESSON, policy.base.text)[:8]
    totals = [float(QUICK.loss(policy, grown, planted(some)).total.detach()) for some in (paths, paths[::-1])]
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)


# The targets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
def test_targets_begin_as_their_twins_and_follow_slowly(shared: bool) -> None:
    policy = policy_on(toy_base())
    heads = grown_on(policy, shared=shared, hidden=(8,), seed=3)
    assert ("q" in policy.heads) is shared
    for name in heads.names:
        assert all(map(torch.equal, policy.head(name).parameters(), policy.head(f"{name}_target").parameters()))
        assert not any(parameter.requires_grad for parameter in policy.head(f"{name}_target").parameters())
    name = heads.names[0]
    quick, slow = policy.head(name).state_dict(), policy.head(f"{name}_target").state_dict()
    before = {key: tensor.clone() for key, tensor in slow.items()}
    moved_heads(policy, [name])
    heads.follow(0.25)
    for key, tensor in slow.items():
        assert torch.allclose(tensor, 0.25 * quick[key] + 0.75 * before[key])
        assert not torch.equal(tensor, before[key])


def test_the_twins_differ_from_the_start() -> None:
    policy, states = policy_on(toy_base()), torch.randn(3, 64)
    for shared in (False, True):
        q, _ = grown_on(policy, shared=shared, hidden=(8,), seed=0).asked(states, torch.tensor([3, 4, 5]), sums=False)
        assert float((q[0] - q[1]).abs().min()) > 1e-4


def test_targets_follow_as_often_as_they_are_told() -> None:
    """Two updates, following every second one, all the way: then they are the twins. After the first they are not."""
    optimizer = replace(QUICK, alpha=1.0, sync_every=2, batch_size=16, epochs=1)
    policy = policy_on(toy_base())
    alike = []
    for _ in optimizer.improve(policy, LESSON):
        alike.append(all(map(torch.equal, policy.head("q1").parameters(), policy.head("q1_target").parameters())))
    assert alike == [False, True]


def test_targets_follow_as_far_as_they_are_told() -> None:
    """Both begin alike, so after one update the slow one is as far behind as the setting says."""
    policy = policy_on(toy_base())
    training = replace(QUICK, alpha=0.25).improve(policy, LESSON)
    next(training)
    quick, slow = policy.head("q1").state_dict(), policy.head("q1_target").state_dict()
    before = {key: tensor.clone() for key, tensor in slow.items()}
    next(training)
    for key, tensor in slow.items():
        assert torch.allclose(tensor, 0.25 * quick[key] + 0.75 * before[key], atol=1e-7)
        assert not torch.equal(tensor, quick[key])
