"""The laws of over-optimisation: coefficients come back from curves made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alignzoo.lab.compare.gao import GaoError, fit

D = np.array([0.5, 1.0, 2.0, 3.0, 5.0])
KLS = (D * D).tolist()


def test_best_of_n_by_hand() -> None:
    """α = 2, β = 0.25: R = 2d − d²/4, highest at d = 4 with R = 4."""
    found = fit("best-of-n", KLS, (7 + 2 * D - 0.25 * D**2).tolist(), start=7)
    assert (found.alpha, found.beta) == pytest.approx((2, 0.25))
    assert (found.alpha_error, found.beta_error, found.residual) == pytest.approx((0, 0, 0), abs=1e-9)
    assert (found.peak.d, found.peak.kl, found.peak.reward) == pytest.approx((4, 16, 4))
    assert found.at(4.0) == pytest.approx(3)
    assert found.at(0.0) == 0


def test_rl_by_hand() -> None:
    """α = 1, β = 0.5: R = d (1 − ½ log d), highest at d = e with R = e/2."""
    found = fit("rl", KLS, (-1 + D * (1 - 0.5 * np.log(D))).tolist(), start=-1)
    assert (found.alpha, found.beta) == pytest.approx((1, 0.5))
    assert (found.peak.d, found.peak.reward) == pytest.approx((math.e, math.e / 2))
    assert found.at(1.0) == pytest.approx(1)
    assert found.at(0.0) == 0


@pytest.mark.parametrize("law", ["best-of-n", "rl"])
def test_the_peak_is_a_peak(law: str) -> None:
    bend = D if law == "best-of-n" else np.log(D)
    found = fit(law, KLS, (D * (1.3 - 0.4 * bend)).tolist(), start=0)
    top = found.peak
    assert found.at(top.kl) == pytest.approx(top.reward)
    assert max(found.at(0.9 * top.kl), found.at(1.1 * top.kl)) < top.reward


def test_the_start_is_where_reward_is_counted_from() -> None:
    rewards = (2 * D - 0.25 * D**2).tolist()
    assert fit("best-of-n", KLS, rewards, start=0.5).alpha != pytest.approx(2, abs=0.1)


def test_small_distances_can_be_left_out_and_zero_always_is() -> None:
    rewards = D * (1 - 0.5 * np.log(D))
    odd = [0.0, 0.01, *KLS]
    wrong = [9.0, 9.0, *rewards.tolist()]
    found = fit("rl", odd, wrong, start=0, least_d=0.1)
    assert (found.alpha, found.beta, found.points) == (pytest.approx(1), pytest.approx(0.5), 5)
    assert fit("rl", [0.0, *KLS], [9.0, *rewards.tolist()], start=0).points == 5


def test_standard_errors_are_those_of_repeated_noise() -> None:
    dice = np.random.default_rng(0)
    d = np.linspace(0.5, 4, 40)
    fits = [
        fit("best-of-n", (d * d).tolist(), (2 * d - 0.25 * d * d + dice.normal(scale=0.1, size=40)).tolist(), start=0)
        for _ in range(400)
    ]
    for name, wanted in (("alpha", 2.0), ("beta", 0.25)):
        values = np.array([getattr(found, name) for found in fits])
        assert values.mean() == pytest.approx(wanted, rel=0.01)
        assert values.std() == pytest.approx(np.mean([getattr(found, f"{name}_error") for found in fits]), rel=0.1)


@pytest.mark.parametrize(
    ("law", "kls", "gold", "said"),
    [
        ("best-of-n", [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], "three different KLs"),
        ("best-of-n", [1.0, 4.0], [1.0, 1.0], "three different KLs"),
        ("best-of-n", [1.0, 1.0, 4.0, 4.0], [1.0] * 4, "got 2"),
        ("rl", [1.0, -0.1, 4.0], [1.0] * 3, "not below 0"),
        ("rl", [1.0, math.nan, 4.0], [1.0] * 3, "finite number"),
        ("rl", [1.0, 2.0, 4.0], [1.0, math.inf, 1.0], "cannot be fitted"),
        ("rl", [1.0, 2.0, 4.0], [1.0], "cannot have 1 rewards"),
        ("ppo", KLS, [1.0] * 5, "no law named 'ppo'"),
    ],
)
def test_points_without_a_law_are_refused(law: str, kls: list[float], gold: list[float], said: str) -> None:
    with pytest.raises(GaoError, match=said):
        fit(law, kls, gold, start=0)


def test_a_reward_that_still_rises_has_no_peak() -> None:
    found = fit("best-of-n", KLS, (D + 0.1 * D**2).tolist(), start=0)
    with pytest.raises(GaoError, match="no peak"):
        _ = found.peak


def test_a_reward_that_hardly_bends_has_its_peak_far_away_and_not_beyond_all_numbers() -> None:
    found = fit("rl", KLS, (D * (1 - 1e-5 * np.log(D))).tolist(), start=0)
    assert found.beta == pytest.approx(1e-5, rel=1e-3)
    assert 1e100 < found.peak.kl < math.inf
