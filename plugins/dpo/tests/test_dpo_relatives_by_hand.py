"""SimPO, ORPO and what they share with DPO: numbers worked out by hand."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from alignzoo.model.forest import Tree, plant
from alignzoo_dpo.dpo import level
from alignzoo_dpo.ipo import IPO
from alignzoo_dpo.orpo import log_odds, odds_ratio, shares
from alignzoo_dpo.pairs import by_strength, expected, per_token, sides, told
from alignzoo_dpo.simpo import lead

PAIRS = plant([Tree((5, 6, 7), ((1, 2), (3, 4, 8, 2))), Tree((5, 9), ((1, 1, 1, 2), (2,)))])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


# SimPO ---------------------------------------------------------------------------------------------------------------


def test_simpo_by_hand() -> None:
    """a_c = −½, a_r = −1: with β = 2 and γ = ½ the argument is 2·½ − ½ = ½. (γ times β would make it 0.)"""
    difference = torch.tensor([0.5])
    assert lead(difference, 2.0, 0.5, 0.0).tolist() == pytest.approx([softplus(-0.5)])
    assert lead(difference, 2.0, 0.5, 0.1).tolist() == pytest.approx([0.9 * softplus(-0.5) + 0.1 * softplus(0.5)])


def test_simpo_under_soft_labels_asks_either_side_to_lead() -> None:
    loss = partial(lead, beta=2.0, gamma=0.5, noise=0.0)
    got = expected(loss, torch.tensor([0.5]), torch.tensor([0.75]))
    assert got.tolist() == pytest.approx([0.75 * softplus(-0.5) + 0.25 * softplus(1.5)])
    h = torch.linspace(-4, 4, 8001)
    tie = expected(loss, h, torch.full_like(h, 0.5))
    assert float(h[tie.argmin()]) == pytest.approx(0.0, abs=2e-3)


# ORPO ----------------------------------------------------------------------------------------------------------------


def test_odds_by_hand() -> None:
    """p = ½ has even odds, ¼ has 1 to 3; their ratio is 3, and −log σ(log 3) = log 4/3."""
    odds = log_odds(torch.tensor([0.5, 0.25], dtype=torch.float64).log())
    assert odds.tolist() == pytest.approx([0.0, -math.log(3)])
    assert odds_ratio(odds[:1] - odds[1:]).tolist() == pytest.approx([math.log(4 / 3)])


def test_odds_in_float32_are_those_in_float64() -> None:
    means = -torch.logspace(-5, 2, 50, dtype=torch.float64)
    assert torch.allclose(log_odds(means.float()).double(), log_odds(means), rtol=1e-5, atol=1e-5)
    exact = (means.exp() / -torch.expm1(means)).log()
    assert torch.allclose(log_odds(means), exact, rtol=1e-9)
    assert log_odds(means.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("mean", [0.0, -1e-30, -1e-9])
def test_a_certain_reply_has_finite_odds_and_no_gradient_from_them(mean: float) -> None:
    sure = torch.tensor([mean], requires_grad=True)
    odds_ratio(-log_odds(sure)).sum().backward()  # as the rejected side
    assert float(log_odds(sure)) == pytest.approx(15.94, abs=0.01)
    assert sure.grad is not None
    assert sure.grad.tolist() == [0.0]


def test_what_the_likelihood_is_a_mean_over() -> None:
    """Chosen replies of 2 and 4 tokens after prompts of 3 and 2: 6 tokens, or 6 + 2 + 1 with what is predicted of prompts."""
    pairs = PAIRS.attach(trees={"strength": torch.ones(2)})
    assert shares(pairs, "reply").tolist() == pytest.approx([1 / 2, 1 / 4, 1 / 4, 1])
    assert shares(pairs, "token").tolist() == pytest.approx([2 / 6] * 4)
    assert shares(pairs, "text").tolist() == pytest.approx([2 / 9] * 4)
    soft = PAIRS.attach(trees={"strength": torch.tensor([0.75, 0.5])})  # 0.75·2 + 0.25·4 + 0.5·4 + 0.5·1 tokens
    assert shares(soft, "token").tolist() == pytest.approx([2 / 5] * 4)


# What they share -----------------------------------------------------------------------------------------------------


def test_sides_means_and_strengths() -> None:
    sums = torch.tensor([-4.0, -8.0, -2.0, -3.0])
    assert per_token(sums, PAIRS).tolist() == [-2.0, -2.0, -0.5, -3.0]
    assert [side.tolist() for side in sides(sums)] == [[-4.0, -2.0], [-8.0, -3.0]]
    assert by_strength(sums, torch.tensor([1.0, 0.75])).tolist() == [-4.0, -2.25]


def test_an_impossible_rejected_reply_does_not_spoil_a_sure_pair() -> None:
    assert by_strength(torch.tensor([-1.0, -math.inf]), torch.ones(1)).tolist() == [-1.0]


def test_level_pairs_are_half_right_and_strictly_wrong() -> None:
    rewards = torch.tensor([1.0, 0.5, 0.5, 0.5, 0.0, 2.0])
    seen = told(rewards, 10 * rewards)
    assert seen["accuracy"].tolist() == [1.0, 0.5, 0.0]
    assert seen["accuracy_strict"].tolist() == [1.0, 0.0, 0.0]
    assert seen["margin"].tolist() == [0.5, 0.0, -2.0]
    assert (seen["reward_chosen"].tolist(), seen["reward_rejected"].tolist()) == ([1.0, 0.5, 0.0], [0.5, 0.5, 2.0])
    assert (seen["logp_chosen"].tolist(), seen["logp_rejected"].tolist()) == ([10.0, 5.0, 0.0], [5.0, 5.0, 20.0])


def test_without_a_reference_all_replies_are_level() -> None:
    assert level(PAIRS).tolist() == [0.0] * 4


def test_ipo_is_dpos_loop_with_its_own_words() -> None:
    as_dpo = IPO(tau=0.3, per="token", batch_size=7, epochs=2, seed=5).as_dpo
    assert (as_dpo.loss, as_dpo.beta, as_dpo.per, as_dpo.likelihood, as_dpo.label_noise) == ("ipo", 0.3, "token", 0.0, 0.0)
    assert (as_dpo.batch_size, as_dpo.epochs, as_dpo.seed, as_dpo.descent) == (7, 2, 5, IPO().descent)
