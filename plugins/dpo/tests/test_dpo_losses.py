"""DPO's pure functions: numbers by hand, what each loss must satisfy, and the closed form as an oracle."""

from __future__ import annotations

import math
from functools import partial
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from alignzoo_dpo.dpo import DPO, LOSSES, PairLoss, hinge, ipo, robust, sigmoid
from alignzoo_dpo.pairs import expected

MARGINS = torch.tensor([0.0, 2.0, -1.0], dtype=torch.float64)
"""At β = 0.5 these are 0, 1 and −½."""


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("loss", "noise", "wanted"),
    [
        ("sigmoid", 0.0, [math.log(2), 0.3132616875182228, 0.9740769841801067]),
        ("sigmoid", 0.1, [math.log(2), 0.9 * 0.3132616875 + 0.1 * 1.3132616875, 0.9 * 0.9740769842 + 0.1 * 0.4740769842]),
        ("robust", 0.1, [math.log(2), (0.9 * 0.3132616875 - 0.1 * 1.3132616875) / 0.8, (0.8766692858 - 0.0474076984) / 0.8]),
        ("ipo", 0.0, [1.0, 1.0, 4.0]),
        ("ipo", 0.1, [1.0, 0.9 * 1 + 0.1 * 9, 0.9 * 4 + 0.1 * 0]),
        ("hinge", 0.0, [1.0, 0.0, 1.5]),
        ("hinge", 0.1, [1.0, 0.1 * 2, 0.9 * 1.5 + 0.1 * 0.5]),
    ],
)
def test_losses_by_hand(loss: str, noise: float, wanted: list[float]) -> None:
    assert LOSSES[loss](MARGINS, 0.5, noise).tolist() == pytest.approx(wanted, rel=1e-9)


def test_every_loss_is_tested_and_can_be_asked_for() -> None:
    assert set(LOSSES) == {"sigmoid", "robust", "ipo", "hinge"}
    for name in LOSSES:
        DPO(loss=name, label_noise=0.1)  # type: ignore[arg-type]


def test_soft_labels_by_hand() -> None:
    """p ℓ(h) + (1−p) ℓ(−h); at p = 1 exactly ℓ(h)."""
    strength = torch.tensor([1.0, 0.75, 0.5])
    got = expected(partial(sigmoid, beta=0.5, noise=0.0), torch.full((3,), 2.0), strength)
    assert got.tolist() == pytest.approx(
        [softplus(-1), 0.75 * softplus(-1) + 0.25 * softplus(1), (softplus(-1) + softplus(1)) / 2]
    )
    assert torch.equal(expected(partial(sigmoid, beta=0.5, noise=0.0), MARGINS, torch.ones(3)), sigmoid(MARGINS, 0.5, 0.0))
    assert expected(partial(ipo, beta=0.5, noise=0.0), torch.tensor([3.0]), torch.tensor([0.75])).tolist() == [
        0.75 * 4 + 0.25 * 16
    ]


@given(margin=st.floats(-30, 30), beta=st.floats(0.01, 3), noise=st.floats(0.01, 0.45))
def test_robust_is_unbiased_under_flips(margin: float, beta: float, noise: float) -> None:
    """Averaged over labels that are flipped with probability ε it is the loss without flips."""
    h = torch.tensor([margin], dtype=torch.float64)
    flipped = (1 - noise) * robust(h, beta, noise) + noise * robust(-h, beta, noise)
    assert float(flipped) == pytest.approx(float(sigmoid(h, beta, 0.0)), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("loss", "noise", "strength", "best"),
    [
        (sigmoid, 0.2, 1.0, math.log(0.8 / 0.2) / 0.5),  # conservative: σ(βh) = 1−ε
        (sigmoid, 0.0, 0.7, math.log(0.7 / 0.3) / 0.5),
        (sigmoid, 0.0, 0.5, 0.0),
        (ipo, 0.0, 1.0, 1.0),  # 1/(2τ)
        (ipo, 0.1, 1.0, 0.8),  # (1−2ε)/(2τ)
        (ipo, 0.0, 0.7, 0.4),  # (p−½)/τ
        (hinge, 0.2, 1.0, 2.0),
        (robust, 0.1, 0.5, 0.0),
    ],
)
def test_where_each_loss_is_lowest(loss: PairLoss, noise: float, strength: float, best: float) -> None:
    h = torch.linspace(-6, 6, 12001, dtype=torch.float64)
    values = expected(partial(loss, beta=0.5, noise=noise), h, torch.full_like(h, strength))
    assert float(h[values.argmin()]) == pytest.approx(best, abs=2e-3)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_large_margins_stay_finite_with_finite_gradients(name: str) -> None:
    h = torch.tensor([-1e4, 1e4], requires_grad=True)
    LOSSES[name](h, 1.0, 0.1).sum().backward()
    assert h.grad is not None
    assert bool(torch.isfinite(h.grad).all())


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_float32_is_as_good_as_float64(name: str) -> None:
    h = torch.linspace(-20, 20, 101, dtype=torch.float64)
    assert torch.allclose(LOSSES[name](h.float(), 0.5, 0.1).double(), LOSSES[name](h, 0.5, 0.1), rtol=1e-5, atol=1e-5)


# The closed form: π*(y) = ref(y) exp(r(y)/β) / Z ---------------------------------------------------------------------

BETA = 0.5
_dice = torch.Generator().manual_seed(3)
REWARD = torch.randn(6, generator=_dice, dtype=torch.float64)
REFERENCE = torch.randn(6, generator=_dice, dtype=torch.float64).log_softmax(0)
BEST = (REFERENCE + REWARD / BETA).softmax(0)
PAIRS = torch.tensor(list(combinations(range(6), 2)))
PREFERRED = torch.sigmoid(REWARD[PAIRS[:, 0]] - REWARD[PAIRS[:, 1]])


def learned(loss: PairLoss, strength: Tensor, noise: float = 0.0, steps: int = 400) -> Tensor:
    """A table of six log-probabilities, descended on every pair at once to the bottom."""
    table = REFERENCE.clone().requires_grad_()
    descent = torch.optim.LBFGS(
        [table], max_iter=steps, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        descent.zero_grad()
        ratios = table.log_softmax(0) - REFERENCE
        margin = ratios[PAIRS[:, 0]] - ratios[PAIRS[:, 1]]
        total = expected(partial(loss, beta=BETA, noise=noise), margin, strength).mean()
        total.backward()
        return total

    descent.step(closure)  # type: ignore[arg-type]
    return table.detach().softmax(0)


def test_dpo_on_exact_labels_finds_the_closed_form() -> None:
    found = learned(sigmoid, PREFERRED)
    assert torch.allclose(found, BEST, atol=1e-6)
    implicit = BETA * (found.log() - REFERENCE)  # eq. 5: the reward, up to β log Z
    assert torch.allclose(implicit - implicit.mean(), REWARD - REWARD.mean(), atol=1e-5)


def test_robust_finds_it_under_flips_and_plain_does_not() -> None:
    flipped = 0.9 * PREFERRED + 0.1 * (1 - PREFERRED)
    assert torch.allclose(learned(robust, flipped, noise=0.1), BEST, atol=1e-6)
    assert float((learned(sigmoid, flipped) - BEST).abs().max()) > 0.05
    assert float((learned(sigmoid, flipped, noise=0.1) - BEST).abs().max()) > 0.05  # conservative DPO is another thing


def test_ipo_is_the_least_squares_fit_of_preferences() -> None:
    """With every pair seen equally often, each reply's log-ratio is its mean preference over the others, over τ."""
    found = learned(ipo, PREFERRED)
    lead = torch.zeros(6, 6, dtype=torch.float64)
    for (one, other), p in zip(PAIRS.tolist(), PREFERRED.tolist(), strict=True):
        lead[one, other], lead[other, one] = (p - 0.5) / BETA, (0.5 - p) / BETA
    assert torch.allclose(found, (REFERENCE + lead.sum(1) / 6).softmax(0), atol=1e-6)


def test_with_deterministic_labels_dpo_collapses_and_ipo_does_not() -> None:
    sure = (PREFERRED > 0.5).double()
    assert float(learned(sigmoid, sure).max()) > 0.9999
    assert float(learned(ipo, sure).max()) < 0.99


def test_robust_without_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="the loss 'robust' corrects for label noise; set label_noise"):
        DPO(loss="robust")
