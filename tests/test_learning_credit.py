"""Credit: advantages, returns and the clipped surrogate, by hand numbers and by what must hold whatever the numbers are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from alignzoo.learning.credit import at_last, clipped, discounted, gae, mean_per_reply, whitened
from alignzoo.model.forest import Forest, Tree, plant


def grove(*lengths: int) -> Forest:
    """One tree with replies of these lengths."""
    return plant([Tree((7, 8), tuple(tuple(range(9, 9 + length)) for length in lengths))])


def noise(count: int, seed: int) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def test_scores_stand_at_the_last_token_of_each_reply() -> None:
    assert at_last(torch.tensor([5.0, -2.0, 3.0]), grove(2, 1, 3)).tolist() == [0, 5, -2, 0, 0, 3]


def test_returns_by_hand() -> None:
    rewards = torch.tensor([1.0, 2.0, 4.0, 10.0, 100.0])
    assert discounted(rewards, grove(3, 2), 1.0).tolist() == [7, 6, 4, 110, 100]
    assert discounted(rewards, grove(3, 2), 0.5).tolist() == [3, 4, 4, 60, 100]
    assert discounted(rewards, grove(3, 2), 0.0).tolist() == rewards.tolist()


def test_gae_by_hand() -> None:
    """γ = ½, λ = ½. First reply: δ = 1+½·4−2, 3−4; A = 1 + ¼·(−1), −1. Second: one token, δ = 5−1."""
    got = gae(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([2.0, 4.0, 1.0]), grove(2, 1), 0.5, 0.5)
    assert got.tolist() == [0.75, -1.0, 4.0]


@given(LENGTHS, st.floats(0, 1))
def test_with_lambda_one_gae_is_monte_carlo(lengths: list[int], gamma: float) -> None:
    forest = grove(*lengths)
    rewards, values = noise(sum(lengths), 1), noise(sum(lengths), 2)
    wanted = discounted(rewards, forest, gamma) - values
    assert torch.allclose(gae(rewards, values, forest, gamma, 1.0), wanted, atol=1e-9)


@given(LENGTHS, st.floats(0, 1))
def test_with_lambda_zero_gae_looks_one_step_ahead(lengths: list[int], gamma: float) -> None:
    """And after a reply's last token there is nothing of value, whatever follows in the row."""
    rewards, values = noise(sum(lengths), 1), noise(sum(lengths), 2)
    wanted, start = [], 0
    for length in lengths:
        r, v = rewards[start : start + length].tolist(), [*values[start : start + length].tolist(), 0.0]
        wanted += [r[t] + gamma * v[t + 1] - v[t] for t in range(length)]
        start += length
    assert gae(rewards, values, grove(*lengths), gamma, 0.0).tolist() == pytest.approx(wanted, abs=1e-9)


@given(st.permutations([1, 4, 2, 7, 4]), st.floats(0, 1), st.floats(0, 1))
def test_nothing_leaks_from_reply_to_reply(order: list[int], gamma: float, lam: float) -> None:
    """Each reply alone gives what it gives among others of any length in any order, in one tree or in several."""
    rewards, values = noise(sum(order), 3), noise(sum(order), 4)
    together = gae(rewards, values, grove(*order), gamma, lam)
    apart = plant([Tree((7,) * (i + 1), ((9,) * length,)) for i, length in enumerate(order)])
    assert torch.allclose(gae(rewards, values, apart, gamma, lam), together)
    start = 0
    for length in order:
        own = slice(start, start + length)
        alone = gae(rewards[own], values[own], grove(length), gamma, lam)
        assert torch.allclose(together[own], alone, atol=1e-12)
        start += length


def test_whitened_over_all_entries() -> None:
    values = 3 + 5 * noise(1000, 5)
    white = whitened(values)
    assert float(white.mean()) == pytest.approx(0, abs=1e-9)
    assert float(white.var(correction=0)) == pytest.approx(1, abs=1e-6)
    assert float(whitened(values, sample_variance=True).var(correction=1)) == pytest.approx(1, abs=1e-6)


def test_whitening_by_hand() -> None:
    """1, 3: mean 2, variance 1 of a population and 2 of a sample."""
    values = torch.tensor([1.0, 3.0])
    assert whitened(values).tolist() == pytest.approx([-1, 1])
    assert whitened(values, sample_variance=True).tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5])
    assert whitened(values, centred=False).tolist() == pytest.approx([1, 3])
    assert whitened(3 * values, centred=False).tolist() == pytest.approx([5, 7])  # the mean stays, the deviation goes


@pytest.mark.parametrize("sample", [False, True])
def test_what_has_no_spread_is_whitened_to_nothing(sample: bool) -> None:
    assert whitened(torch.full((4,), 2.0), sample_variance=sample).tolist() == [0, 0, 0, 0]
    assert whitened(torch.tensor([2.0]), sample_variance=sample).tolist() == [0]


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.0, -2.0, 2.0, 2.0),
        (1.5, 2.0, -2.6, 0.0),  # raised far enough: −2 · 1.3
        (1.5, -2.0, 3.0, 3.0),  # raised though bad: all of it counts
        (0.5, 2.0, -1.0, -1.0),  # lowered though good: all of it counts
        (0.5, -2.0, 1.6, 0.0),  # lowered far enough: 2 · 0.8
        (1.25, 2.0, -2.5, -2.5),  # above 1.2, but not yet at 1.3
        (0.85, -2.0, 1.7, 1.7),
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_the_clipped_surrogate_by_hand(ratio: float, advantage: float, loss: float, slope: float) -> None:
    """With 0.2 below and 0.3 above: the value, and its slope along log π (ratio × slope along the ratio)."""
    old = torch.tensor([-1.5], dtype=torch.float64)
    logps = (old + torch.tensor([ratio], dtype=torch.float64).log()).requires_grad_()
    got = clipped(logps, old, torch.tensor([advantage], dtype=torch.float64), 0.2, 0.3)
    got.sum().backward()  # type: ignore[no-untyped-call]
    assert float(got.detach()) == pytest.approx(loss)
    assert logps.grad is not None
    assert float(logps.grad) == pytest.approx(slope)


def test_means_over_each_reply() -> None:
    assert mean_per_reply(torch.tensor([1.0, 3.0, 10.0, 0.0, 0.0, 6.0]), grove(2, 1, 3)).tolist() == [2, 10, 2]
