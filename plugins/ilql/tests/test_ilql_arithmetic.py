"""ILQL's formulas by hand numbers, the chunked layer against the plain formula, and what steering does to logits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from alignzoo.seam.settings import SettingsError, build
from alignzoo_ilql import asked as asking
from alignzoo_ilql.asked import asked
from alignzoo_ilql.ilql import ILQL, bellman, expectile, following, imitation_weight
from alignzoo_ilql.steering import Steering, best, steered

EPISODE = torch.tensor([0, 0, 0, 1, 2, 2])


def test_the_next_value_is_that_of_the_next_action_and_zero_after_the_last() -> None:
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert following(values, EPISODE).tolist() == [2, 3, 0, 0, 6, 0]


def test_the_target_by_hand_and_without_a_gradient() -> None:
    """y = r + ½ V(s′)."""
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], requires_grad=True)
    rewards = torch.tensor([0.0, 0.0, 10.0, 20.0, 1.0, -1.0])
    y = bellman(rewards, values, EPISODE, 0.5)
    assert y.tolist() == [1, 1.5, 10, 20, 4, -1]
    assert not y.requires_grad


def test_the_expectile_weighs_values_that_are_too_low_more() -> None:
    """u = Q̂ − V = 2: V is too low, weight τ. u = −2: weight 1 − τ. At ½ half the square."""
    u = torch.tensor([2.0, -2.0, 0.0])
    assert expectile(u, 0.8).tolist() == pytest.approx([3.2, 0.8, 0])
    assert expectile(u, 0.5).tolist() == [2, 2, 0]


@pytest.mark.parametrize(("tau", "wanted"), [(0.5, 5.0), (0.9, 9.0), (0.99, 9.9)])
def test_what_minimises_it_is_the_expectile(tau: float, wanted: float) -> None:
    """Of 0 and 10 alike, τ · 10: the best of them as τ goes to 1."""
    grid = torch.linspace(0, 10, 1001)
    losses = expectile(0 - grid, tau) + expectile(10 - grid, tau)
    assert float(grid[losses.argmin()]) == pytest.approx(wanted, abs=0.02)


def test_imitation_weights_by_hand() -> None:
    advantage = torch.tensor([1.0, -2.0, 0.0], requires_grad=True)
    weight = imitation_weight(advantage, 0.5)
    assert weight.tolist() == pytest.approx([math.exp(0.5), math.exp(-1), 1])
    assert not weight.requires_grad
    assert imitation_weight(advantage, 0.0).tolist() == [1, 1, 1]


# The chunked layer ------------------------------------------------------------------------------------------------------


def plainly(hidden: Tensor, layer: nn.Linear, actions: Tensor, twins: int) -> tuple[Tensor, Tensor]:
    values = layer(hidden).unflatten(-1, (twins, -1))
    return values.gather(-1, actions[:, None, None].expand(-1, twins, 1))[..., 0].t(), values.logsumexp(-1).sum()


@pytest.mark.parametrize("twins", [1, 2])
@pytest.mark.parametrize("entries", [1, 44, 10**6])
def test_values_and_gradients_are_those_of_the_plain_formula(entries: int, twins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last digits of double precision, whatever the chunks; an action taken twice has both gradients."""
    monkeypatch.setitem(asking._ENTRIES, "cpu", entries)
    dice = torch.Generator().manual_seed(0)
    layer = nn.Linear(5, 11 * twins).double()
    actions = torch.tensor([3, 0, 10, 3, 7, 3, 9])
    outside = torch.randn(twins, 7, generator=dice, dtype=torch.float64)
    found = []
    for how in (lambda h: asked(h, layer, actions, twins=twins), lambda h: plainly(h, layer, actions, twins)):
        hidden = torch.randn(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
        taken, total = how(hidden)
        gradients = torch.autograd.grad((outside * taken).sum() + 0.3 * total, [hidden, layer.weight, layer.bias])
        found.append([taken.detach(), total.detach(), *gradients])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


def test_without_the_sum_there_is_only_the_gradient_of_what_was_taken() -> None:
    layer, hidden = nn.Linear(3, 6), torch.randn(2, 3, requires_grad=True)
    taken, total = asked(hidden, layer, torch.tensor([1, 1]), sums=False)
    taken.sum().backward()  # type: ignore[no-untyped-call]
    assert float(total) == 0
    assert layer.bias.grad is not None
    assert layer.bias.grad.tolist() == [0, 2, 0, 0, 0, 0]
    assert hidden.grad is not None
    assert torch.allclose(hidden.grad, layer.weight[1].expand(2, 3))


def test_the_vocabulary_is_gone_through_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No product gives more entries than are allowed."""
    monkeypatch.setitem(asking._ENTRIES, "cpu", 3 * 50)
    seen = []
    plain = torch.addmm
    monkeypatch.setattr(torch, "addmm", lambda *given: seen.append(plain(*given)) or seen[-1])
    asked(torch.randn(10, 4, requires_grad=True), nn.Linear(4, 50), torch.zeros(10, dtype=torch.long))
    assert [len(values) for values in seen] == [3, 3, 3, 1]


class Sizes(TorchDispatchMode):
    """How many entries the largest tensor has that an operation makes."""

    largest = 0

    def __torch_dispatch__(self, operation: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        made = operation(*given, **(named or {}))
        found = [made] if isinstance(made, Tensor) else made if isinstance(made, tuple | list) else []
        self.largest = max([self.largest, *(each.numel() for each in found if isinstance(each, Tensor))])
        return made


@pytest.mark.parametrize("twins", [1, 2])
def test_nowhere_is_there_an_entry_for_each_state_and_token(twins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 60 states and 50 tokens, 3000 for each twin: forwards and backwards nothing is larger than the layer and a chunk."""
    monkeypatch.setitem(asking._ENTRIES, "cpu", 300)
    hidden, layer = torch.randn(60, 4, requires_grad=True), nn.Linear(4, 50 * twins)
    with Sizes() as sizes:
        taken, total = asked(hidden, layer, torch.zeros(60, dtype=torch.long), twins=twins)
        torch.autograd.backward(taken.sum() + total)
    assert sizes.largest == max(300, 50 * twins * 4)


# Steering -----------------------------------------------------------------------------------------------------------------

LOGITS = torch.tensor([[1.0, 0.0, -1.0, 0.5]])
Q = torch.tensor([[0.0, 2.0, 1.0, -3.0]])


def test_the_score_by_hand() -> None:
    assert steered(LOGITS, Q, torch.tensor([1.0]), 2.0).tolist() == [[-1, 2, -1, -7.5]]


def test_at_zero_the_logits_are_what_they_were() -> None:
    assert torch.equal(steered(LOGITS, Q, torch.tensor([0.3]), 0.0), LOGITS)


def test_the_state_value_changes_nothing_but_where_advantages_are_cut() -> None:
    one, other = (steered(LOGITS, Q, torch.tensor([v]), 2.0).softmax(-1) for v in (0.0, 5.0))
    assert torch.allclose(one, other)
    assert steered(LOGITS, Q, torch.tensor([1.0]), 2.0, cut=0.0).tolist() == [[-1, 0, -1, -7.5]]


def test_the_best_are_the_best_by_score() -> None:
    assert best(LOGITS, 2).tolist() == [[1, -math.inf, -math.inf, 0.5]]
    assert best(LOGITS, 0) is LOGITS
    assert best(LOGITS, 4) is LOGITS
    assert best(torch.zeros(1, 3), 1).isfinite().sum() == 1


def test_only_a_steering_that_changes_something_is_not_idle() -> None:
    assert all(how.idle for how in (Steering(beta=0), Steering(beta=0, among=3)))
    assert not any(how.idle for how in (Steering(beta=1), Steering(beta=0, top_k=3)))


@pytest.mark.parametrize(
    ("among", "vocabulary", "seen"),
    [(None, 640, 640), (None, 4096, 4096), (None, 4097, 64), (0, 150_000, 150_000), (7, 640, 7), (700, 640, 640)],
)
def test_of_a_large_vocabulary_few_values_are_read(among: int | None, vocabulary: int, seen: int) -> None:
    assert Steering(among=among).seen(vocabulary) == seen


@pytest.mark.parametrize("beta", [math.inf, -1.0, math.nan])
def test_a_beta_that_no_sum_bears_is_refused(beta: float) -> None:
    """0 · ∞ is no number: greedy by the values is a large β, not an infinite one."""
    with pytest.raises(SettingsError, match=r"steering\.beta"):
        build(ILQL, {"steering": {"beta": beta}}, "optimizer")
