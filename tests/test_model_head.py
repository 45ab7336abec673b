"""The vocabulary head: small numbers by hand, chunks, temperature, bias, half precision, the gradient of the forward pass."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from alignzoo.model import head
from alignzoo.model.head import Head, entropies, logps, opened, sealed


def reference(states: Tensor, targets: Tensor, of: Head, temperature: float) -> Tensor:
    logits = states.double() @ of.weight.double().t()
    logits = logits if of.bias is None else logits + of.bias.double()
    return (logits / temperature).log_softmax(-1).gather(1, targets[:, None])[:, 0]


def some(rows: int, vocabulary: int, width: int, *, bias: bool = False) -> tuple[Tensor, Tensor, Head]:
    dice = torch.Generator().manual_seed(rows + vocabulary)
    states, weight = (torch.randn(count, width, generator=dice) for count in (rows, vocabulary))
    targets = torch.randint(vocabulary, (rows,), generator=dice)
    return states, targets, Head(weight, torch.randn(vocabulary, generator=dice) if bias else None)


def test_two_words_by_hand() -> None:
    """Logits (2, 0): p = e²/(e²+1). At temperature 2 they are (1, 0)."""
    of, states = Head(torch.tensor([[1.0, 1.0], [0.0, 0.0]])), torch.tensor([[0.5, 1.5], [0.5, 1.5]])
    targets = torch.tensor([0, 1])
    assert logps(states, targets, of).tolist() == pytest.approx([-math.log1p(math.exp(-2)), -math.log1p(math.exp(2))])
    assert logps(states, targets, of, 2.0).tolist() == pytest.approx([-math.log1p(math.exp(-1)), -math.log1p(math.exp(1))])
    p = 1 / (1 + math.exp(-2))
    assert entropies(states, of).tolist() == pytest.approx([-p * math.log(p) - (1 - p) * math.log(1 - p)] * 2)


def test_the_bias_counts() -> None:
    """Without states only the bias speaks: logits (0, log 3) give 1/4 and 3/4."""
    of = Head(torch.zeros(2, 3), torch.tensor([0.0, math.log(3.0)]))
    assert logps(torch.randn(2, 3), torch.tensor([0, 1]), of).exp().tolist() == pytest.approx([0.25, 0.75])
    assert entropies(torch.zeros(1, 3), of).item() == pytest.approx(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)))


def test_what_is_not_allowed_has_no_share_by_hand() -> None:
    """Logits 0, log 3, log 5 and, to be left out, log 90: chances 1/9, 3/9 and 5/9. At temperature 2 their roots."""
    of, states = Head(torch.zeros(4, 3), torch.tensor([1.0, 3.0, 5.0, 90.0]).log()), torch.zeros(3, 3)
    allowed = sealed(torch.tensor([[True, True, True, False]] * 3))
    targets = torch.tensor([0, 1, 2])
    assert logps(states, targets, of, 1.0, allowed).exp().tolist() == pytest.approx([1 / 9, 3 / 9, 5 / 9])
    whole = 1 + 3**0.5 + 5**0.5
    assert logps(states, targets, of, 2.0, allowed).exp().tolist() == pytest.approx([1 / whole, 3**0.5 / whole, 5**0.5 / whole])


def test_sets_are_a_bit_for_each_token() -> None:
    marks = torch.zeros(2, 11, dtype=torch.bool)
    marks[0, [0, 3, 10]], marks[1, 7] = True, True
    assert sealed(marks).tolist() == [[1 + 8, 4], [128, 0]]
    assert torch.equal(opened(sealed(marks), 11), marks)


@pytest.mark.parametrize("bias", [False, True])
def test_with_sets_of_their_own_chunks_and_gradient_are_as_without_chunks(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    states, targets, of = some(9, 13, 5, bias=bias)
    marks = torch.rand(9, 13, generator=torch.Generator().manual_seed(0)) < 0.4
    marks = marks.scatter(1, targets[:, None], True)
    monkeypatch.setattr(head, "_ENTRIES", {"cpu": 30})
    assert [len(piece) for piece in head.chunks(states, of)] == [2, 2, 2, 2, 1]
    found, wanted = [], []
    for rows in (states.clone().requires_grad_(), states.double().requires_grad_()):
        if rows.dtype == torch.float32:
            said = logps(rows, targets, of, 0.7, sealed(marks))
        else:
            logits = rows @ of.weight.double().t() + (of.bias.double() if of.bias is not None else 0)
            said = (logits / 0.7).masked_fill(~marks, -torch.inf).log_softmax(-1).gather(1, targets[:, None])[:, 0]
        (said * torch.arange(1, 10)).sum().backward()
        found.append(said.detach().double())
        wanted.append(rows.grad.double())  # type: ignore[union-attr]
    assert torch.allclose(found[0], found[1], atol=1e-5)
    assert torch.allclose(wanted[0], wanted[1], atol=1e-4)


def test_the_gradient_by_hand() -> None:
    """d log p₀ / d state = (W₀ − Σ p W) / T, with p = (1/2, 1/2)."""
    of = Head(torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
    states = torch.zeros(1, 2, requires_grad=True)
    logps(states, torch.tensor([0]), of, 2.0).backward()
    assert states.grad is not None
    assert states.grad.tolist() == [[0.25, -0.75]]


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 9),
    vocabulary=st.integers(2, 40),
    entries=st.integers(1, 200),
    temperature=st.sampled_from([0.3, 1.0, 1.7]),
    bias=st.booleans(),
)
def test_it_is_log_softmax_to_the_gradient_wherever_chunks_end(
    rows: int, vocabulary: int, entries: int, temperature: float, bias: bool
) -> None:
    states, targets, of = some(rows, vocabulary, 8, bias=bias)
    kept, head._ENTRIES = head._ENTRIES, {"cpu": entries}
    try:
        mine, theirs = states.clone().requires_grad_(), states.double().requires_grad_()
        got, wanted = logps(mine, targets, of, temperature), reference(theirs, targets, of, temperature)
        spread = (of.logits(states).double() / temperature).log_softmax(-1)
        assert torch.allclose(entropies(states, of, temperature).double(), -(spread.exp() * spread).sum(-1), atol=1e-5)
    finally:
        head._ENTRIES = kept
    assert torch.allclose(got.double(), wanted, atol=1e-4, rtol=1e-5)
    weights = torch.linspace(-1, 2, rows)
    (got * weights).sum().backward()
    (wanted * weights.double()).sum().backward()
    assert mine.grad is not None
    assert theirs.grad is not None
    assert torch.allclose(mine.grad.double(), theirs.grad, atol=1e-4, rtol=1e-4)


def test_logits_that_overflow_do_not() -> None:
    states, targets, of = some(4, 16, 8)
    got = logps(states * 1e4, targets, of)
    assert bool(torch.isfinite(got).all())
    assert torch.allclose(got.double(), reference(states * 1e4, targets, of, 1.0), rtol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_half_precision_is_summed_in_float32(temperature: float) -> None:
    """States and matrix in bfloat16: what is lost is the rounding of two logits, chosen and largest, each with its bias."""
    states, targets, of = some(32, 500, 64, bias=True)
    half = Head(of.weight.bfloat16(), of.bias.bfloat16() if of.bias is not None else None)
    mine = states.bfloat16().requires_grad_()
    got = logps(mine, targets, half, temperature)
    assert got.dtype == torch.float32
    theirs = mine.detach().double().requires_grad_()
    wanted = reference(theirs, targets, half, temperature)
    logit = float((theirs.double() @ half.weight.double().t()).abs().max())
    assert float((got.double() - wanted).abs().max()) < 4 * 2**-9 * logit / temperature
    got.sum().backward()
    wanted.sum().backward()
    assert mine.grad is not None
    assert theirs.grad is not None
    assert mine.grad.dtype == torch.bfloat16
    assert float((mine.grad.double() - theirs.grad).norm() / theirs.grad.norm()) < 0.02


def test_a_frozen_pass_prepares_no_gradient() -> None:
    states, targets, of = some(3, 5, 4)
    assert not logps(states, targets, of).requires_grad
    with torch.no_grad():
        assert not logps(states.requires_grad_(), targets, of).requires_grad


def test_states_that_are_a_slice_are_read_right() -> None:
    states, targets, of = some(6, 7, 8)
    wide = torch.cat([states, torch.full((6, 8), 100.0)], 1)
    assert torch.equal(logps(wide[:, :8], targets, of), logps(states, targets, of))
    assert torch.equal(of.logits(wide[:, :8]), of.logits(states))


def test_log_probabilities_of_everything_sum_to_one() -> None:
    states, _, of = some(1, 30, 8)
    every = logps(states.expand(30, -1), torch.arange(30), of, 0.6)
    assert float(every.exp().sum()) == pytest.approx(1.0, abs=1e-5)
