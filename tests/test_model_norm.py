"""RMS norms as one step: the model's own numbers and gradients, and nothing that is not of that form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from alignzoo.model.base import Base
from alignzoo.model.norm import normed, straighten


def frozen(norm: nn.Module) -> nn.Module:
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        norm.get_parameter("weight").copy_(torch.randn(12, generator=dice))
    return norm.requires_grad_(False)


def learned(says: Callable[[Tensor], Tensor], size: float) -> tuple[Tensor, Tensor]:
    dice = torch.Generator().manual_seed(1)
    x = (size * torch.randn(2, 5, 12, generator=dice)).requires_grad_()
    y = says(x)
    (slope,) = torch.autograd.grad(y, x, torch.randn(2, 5, 12, generator=dice))
    return y.detach(), slope * size  # the gradient of a norm is as large as its states are small


def test_three_and_four_have_a_root_mean_square_of_five() -> None:
    """√((3² + 4²) / 2 + 12.5) = 5, so y = (0.6 · 10, 0.8 · 100). Its slope along x is w ε / 5³ · x: what ε leaves of it."""
    x = torch.tensor([3.0, 4.0], requires_grad=True)
    y = normed(x, torch.tensor([10.0, 100.0]), 12.5)
    torch.testing.assert_close(y, torch.tensor([6.0, 80.0]))
    (slope,) = torch.autograd.grad(y, x, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(slope, torch.tensor([10 / 5 - 10 * 3 * 3 / 2 / 125, -10 * 3 * 4 / 2 / 125]))


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("kind", [LlamaRMSNorm, Qwen3RMSNorm, nn.RMSNorm])
def test_it_says_and_learns_what_the_models_own_does(kind: Callable[..., nn.Module], size: float) -> None:
    own = frozen(kind(12, eps=1e-5))
    wanted, wanted_slope = learned(own, size)
    straighten(own)
    assert "forward" in own.__dict__
    got, slope = learned(own, size)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(slope, wanted_slope, rtol=1e-4, atol=1e-5)


def test_it_says_the_same_to_the_last_bit_with_and_without_a_gradient() -> None:
    x, weight = torch.randn(7, 33, requires_grad=True), torch.randn(33)
    with torch.no_grad():
        without = normed(x, weight, 1e-6)
    assert torch.equal(normed(x, weight, 1e-6), without)


class Shifted(nn.RMSNorm):
    """The same gradient, another value."""

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(states) + 1


class Detached(nn.RMSNorm):
    """The same value, another gradient."""

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(states.detach()) + states - states.detach()


@pytest.mark.parametrize("kind", [Shifted, Detached])
def test_value_and_gradient_are_proven_both(kind: Callable[..., nn.Module]) -> None:
    norm = frozen(kind(12, eps=1e-5))
    straighten(norm)
    assert "forward" not in norm.__dict__


def test_a_bases_norms_are_straight(base: Base) -> None:
    norms = [module for module in base.model.modules() if type(module).__name__.endswith("RMSNorm")]
    assert norms
    assert all("forward" in norm.__dict__ for norm in norms)


@pytest.mark.parametrize("other", [nn.LayerNorm(12), GemmaRMSNorm(12), nn.RMSNorm(12)], ids=["mean", "plus one", "no epsilon"])
def test_a_norm_of_another_form_stays_as_it_is(other: nn.Module) -> None:
    straighten(frozen(other))
    assert "forward" not in other.__dict__


def test_half_precision_and_weights_that_learn_are_the_models_own_business() -> None:
    norm = frozen(LlamaRMSNorm(12))
    straighten(norm)
    x = torch.randn(3, 12)
    half = LlamaRMSNorm(12).to(torch.bfloat16)
    half.load_state_dict(norm.state_dict())
    norm.to(torch.bfloat16)
    assert torch.equal(norm(x.bfloat16()), half(x.bfloat16()))
    norm.float().requires_grad_(True)
    norm(x).sum().backward()
    assert norm.get_parameter("weight").grad is not None
