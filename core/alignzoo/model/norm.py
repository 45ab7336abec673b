"""RMS norms as one differentiable step: y = w · x / √(mean(x²) + ε).

Models write it out, and autograd then goes over a batch ten times to come back and keeps what it could make anew. Here it is
four times, and only x is kept. Which norms are of this form is proven on each of them, whatever its family calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_NEAR = 1e-5
"""How far two ways to the same norm may be apart by rounding."""


def straighten(model: nn.Module) -> None:
    """Have every norm of this form take the one step, in float32."""
    for norm in model.modules():
        epsilon = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
        weight = getattr(norm, "weight", None)
        if isinstance(epsilon, float) and isinstance(weight, Tensor) and weight.dim() == 1 and _is_rms(norm, weight, epsilon):
            norm.forward = partial(_forward, norm.forward, norm, epsilon)


def _forward(own: Callable[[Tensor], Tensor], norm: nn.Module, epsilon: float, x: Tensor) -> Tensor:
    weight = norm.get_parameter("weight")
    if not x.dtype == weight.dtype == torch.float32 or weight.requires_grad:
        return own(x)  # other dtypes are rounded on the way, each family in its own way
    return normed(x, weight, epsilon)


def normed(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """(…, width) x over its root mean square, times a weight that is not learned."""
    if not torch.is_grad_enabled():
        return (x * _scale(x, epsilon)).mul_(weight)
    result: Tensor = _Normed.apply(x, weight, epsilon)  # type: ignore[no-untyped-call]
    return result


def _scale(x: Tensor, epsilon: float) -> Tensor:
    """(…, 1) 1 / √(mean(x²) + ε)"""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return length.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()


class _Normed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        scale = _scale(x, epsilon)
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """s (g − x s² (g · x) / n) with g = w · ∂y"""
        x, weight, scale = ctx.saved_tensors
        slope = gradient * weight
        along = torch.linalg.vecdot(slope, x)[..., None].mul_(scale.square()).div_(x.shape[-1])
        return slope.addcmul_(x, along, value=-1).mul_(scale), None, None


def _is_rms(norm: nn.Module, weight: Tensor, epsilon: float) -> bool:
    """Whether it says the same of states as small as ε and as large as they come, and learns the same from them."""
    dice = torch.Generator().manual_seed(0)
    states, slopes = torch.randn(2, 3, len(weight), generator=dice).to(weight.device)
    states *= torch.tensor([[epsilon**0.5], [1.0], [30.0]], device=weight.device)
    try:
        with torch.enable_grad():
            x = states.requires_grad_()
            theirs, ours = norm(x), normed(x, weight.detach(), epsilon)
            (learned,), (found,) = (torch.autograd.grad(y, x, slopes) for y in (theirs, ours))
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return False
    return torch.allclose(ours, theirs, _NEAR, _NEAR) and torch.allclose(found, learned, 10 * _NEAR, _NEAR)
