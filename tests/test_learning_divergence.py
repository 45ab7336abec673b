"""Divergence: what the estimators are estimates of, and where the controller steers to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch
from torch import Tensor

from alignzoo.lab.doubts import BAND
from alignzoo.learning.divergence import Coefficient, Leash, k1, k2, k3
from alignzoo.learning.memory import newest, remembering
from alignzoo.model.base import Base
from alignzoo.testing import toy_base
from alignzoo_ppo.ppo import PPO

POLICY = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64).log()
REFERENCE = torch.tensor([0.2, 0.4, 0.3, 0.1], dtype=torch.float64).log()
KL = float((POLICY.exp() * (POLICY - REFERENCE)).sum())


def expected(estimator: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Over all that the policy could have written."""
    return float((POLICY.exp() * estimator(POLICY, REFERENCE)).sum())


def test_k1_and_k3_are_unbiased_and_k2_is_not() -> None:
    assert pytest.approx(0.23321, abs=1e-5) == KL
    assert expected(k1) == pytest.approx(KL, rel=1e-12)
    assert expected(k3) == pytest.approx(KL, rel=1e-12)
    assert expected(k2) == pytest.approx(0.5 * float((POLICY.exp() * (POLICY - REFERENCE) ** 2).sum()))
    assert abs(expected(k2) - KL) > 0.01


def test_turned_round_k3_would_estimate_something_else() -> None:
    """The sign that is easily got wrong: Σ p (p/q − 1 − log p/q) = χ² − KL."""
    chi = float((POLICY.exp() ** 2 / REFERENCE.exp()).sum()) - 1
    assert expected(lambda p, q: k3(q, p)) == pytest.approx(chi - KL)
    assert abs(chi - 2 * KL) > 0.1


def test_signs_and_zero() -> None:
    assert float(k1(POLICY, REFERENCE).min()) < 0
    for estimator in (k2, k3):
        assert float(estimator(POLICY, REFERENCE).min()) > 0
    for estimator in (k1, k2, k3):
        assert estimator(POLICY, POLICY).tolist() == [0, 0, 0, 0]


def test_the_mean_slope_of_k2_is_that_of_the_divergence_and_that_of_k3_is_not() -> None:
    """Samples drawn from the policy as it is, losses differentiated after."""
    slopes = {}
    weights = POLICY.exp()
    for estimator in (k1, k2, k3):
        table = POLICY.clone().requires_grad_()
        (weights * estimator(table.log_softmax(0), REFERENCE)).sum().backward()
        slopes[estimator] = table.grad
    table = POLICY.clone().requires_grad_()
    own = table.log_softmax(0)
    (own.exp() * (own - REFERENCE)).sum().backward()  # type: ignore[no-untyped-call]
    assert table.grad is not None
    assert slopes[k1] is not None
    assert slopes[k2] is not None
    assert slopes[k3] is not None
    assert torch.allclose(slopes[k2], table.grad)
    assert torch.allclose(slopes[k1], torch.zeros(4, dtype=torch.float64), atol=1e-12)  # hence k1 goes into the reward
    assert torch.allclose(slopes[k3], weights - REFERENCE.exp())  # that of KL(reference ‖ policy)


@pytest.mark.parametrize(
    ("kl", "wanted"),
    [
        (6.0, 0.2),  # at the target
        (6.6, 0.2 * (1 + 0.1 * 512 / 10_000)),
        (5.4, 0.2 * (1 - 0.1 * 512 / 10_000)),
        (60.0, 0.2 * (1 + 0.2 * 512 / 10_000)),  # an error counts for 20 % at most
        (-3.0, 0.2 * (1 - 0.2 * 512 / 10_000)),
    ],
)
def test_the_controller_by_hand(kl: float, wanted: float) -> None:
    beta = Leash(coefficient=0.2, target=6.0).on()
    beta.steer(kl, 512)
    assert beta.value == pytest.approx(wanted, rel=1e-12)


def test_without_a_target_nothing_is_steered() -> None:
    beta = Leash(coefficient=0.2).on()
    beta.steer(1e6, 10_000)
    assert beta.value == 0.2


def test_a_round_larger_than_the_horizon_moves_it_by_a_fifth_at_most_and_never_below_zero() -> None:
    beta = Leash(coefficient=0.2, target=6.0, horizon=10.0).on()
    beta.steer(0.0, 100)
    assert beta.value == pytest.approx(0.16)
    beta.steer(1e9, 100)
    assert beta.value == pytest.approx(0.192)


def test_it_goes_to_where_the_target_is() -> None:
    """A policy that goes as far as it is let: KL = 1/β."""
    beta = Leash(coefficient=1.0, target=5.0, horizon=100.0).on()
    for _ in range(400):
        beta.steer(1 / beta.value, 64)
    assert beta.value == pytest.approx(0.2, rel=1e-3)


def test_the_target_rises_by_hand() -> None:
    """To 4 nats over half of 8 updates: 1, 2, 3, 4, and 4 from there on."""
    beta = Leash(coefficient=1.0, target=4.0, horizon=100.0, approach=0.5).on(8)
    wanted = 1.0
    for kl, aim, error in ((1.1, 1, 0.1), (2.0, 2, 0.0), (2.4, 3, -0.2), (4.4, 4, 0.1), (9.0, 4, 0.2)):
        beta.steer(kl, 50)
        wanted *= 1 + error / 2
        assert beta.aim == aim
        assert beta.value == pytest.approx(wanted, rel=1e-12)
        assert beta.told(kl) == {"kl_over_target": pytest.approx(kl / aim)}


def test_a_leash_without_an_approach_or_a_length_has_its_whole_target_at_once() -> None:
    for beta in (Leash(target=4.0).on(8), Leash(target=4.0, approach=0.5).on()):
        beta.steer(1.0, 50)
        assert beta.aim == 4
    assert Leash().on(8).told(3.0) == {}


@pytest.mark.parametrize("reach", [0.075, 0.13, 0.2, 0.3])
def test_the_shipped_leash_ends_near_its_target_whatever_the_reward_pulls(reach: float) -> None:
    """A policy that goes to `reach`/β, slowly at first and slower as the rate falls, as PPO's on the playground do: they have a
    reach of 0.075 (gold) to 0.25 (a learned reward)."""

    def ends(leash: Leash) -> float:
        beta, kl, seen = leash.on(40), 0.0, []
        for update in range(40):
            beta.steer(kl, 64)
            seen.append(kl / leash.target)
            kl = max(0.0, kl + (1 - update / 40) * 0.33 * (kl + 0.02) ** 0.5 * (1 - kl * beta.value / reach))
        return fmean(seen[-10:])

    shipped = PPO().leash
    assert BAND[0] <= ends(shipped) <= BAND[1]
    assert abs(ends(shipped) - 1) < abs(ends(replace(shipped, approach=0.0)) - 1)


@pytest.mark.parametrize("wrong", [{"coefficient": -0.1}, {"target": -1.0}, {"horizon": 0.0}, {"target": float("nan")}])
def test_a_leash_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"Leash: {next(iter(wrong))} must be "):
        Leash(**wrong)


def test_a_resumed_controller_goes_on_where_it_was(tmp_path: Path) -> None:
    def go_on(base: Base, steps: int) -> Coefficient:
        with remembering(base, newest(tmp_path)) as memory:
            beta = Leash(coefficient=0.2, target=6.0, horizon=100.0, approach=1.0).on(10)
            for _ in range(steps):
                beta.steer(9.0, 32)
            memory.write(tmp_path, steps, {})
        return beta

    first = go_on(toy_base(), 3)
    assert first.value > 0.2
    again = go_on(toy_base(), 0)
    assert (again.value, again.aim) == (first.value, first.aim)
