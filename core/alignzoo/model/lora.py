"""LoRA over a frozen layer, as one differentiable step: y = W x + b + s·B(A x).

Written out because autograd would spend a fifth of a small model's step on it: a copy of y to add to, a sum of two gradients
of x, and thin products in the layout that is slowest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D

_FEW = 16
"""Tokens of which it does not matter: a step of the sampler, where the shorter call counts."""


class Pair(NamedTuple):
    """The two thin matrices of one adapter on one layer."""

    down: Tensor  # A (rank, inputs)
    up: Tensor  # B (outputs, rank)
    scale: float


def adapted(layer: nn.Module, x: Tensor, pair: Pair) -> Tensor:
    """What the layer says of x with this adapter over it."""
    if not torch.is_grad_enabled():
        return _read_only(layer, x, pair)
    weight = frozen_weight(layer, x.dtype)
    if weight is None:
        y: Tensor = layer(x)
        low = _low(x.reshape(-1, x.shape[-1]), pair.down)
        return torch.addmm(y.reshape(-1, y.shape[-1]), low.t() * pair.scale, pair.up.to(x.dtype).t()).view(y.shape)
    result: Tensor = _Adapted.apply(x, pair.down, pair.up, pair.scale, weight, layer.bias)  # type: ignore[no-untyped-call]
    return result


def _read_only(layer: nn.Module, x: Tensor, pair: Pair) -> Tensor:
    """The same where no gradient is asked for: with one token per row every operation counts, so y is added to where it is."""
    y: Tensor = layer(x)
    low = _low(x.reshape(-1, x.shape[-1]), pair.down)
    return y.reshape(-1, y.shape[-1]).addmm_(low.t(), pair.up.to(y.dtype).t(), alpha=pair.scale).view(y.shape)


def _low(flat: Tensor, down: Tensor) -> Tensor:
    """(rank, tokens) A x. On a CPU thin products are several times faster where their long side is the contiguous one."""
    down = down.to(flat.dtype)
    return (flat @ down.t()).t() if len(flat) <= _FEW else down @ flat.t()


class _Adapted(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, down: Tensor, up: Tensor, scale: float, weight: Callable[[], Tensor], bias: Tensor | None
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        low = _low(flat, down).mul_(scale)
        y = torch.nn.functional.linear(flat, weight(), bias).addmm_(low.t(), up.to(x.dtype).t())
        ctx.save_for_backward(flat, low, down, up)
        ctx.scale, ctx.weight, ctx.shape = scale, weight, x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        flat, low, down, up = ctx.saved_tensors
        slope = gradient.reshape(-1, gradient.shape[-1])
        low_slope = (up.to(slope.dtype).t() @ slope.t()).mul_(ctx.scale)
        to_down, to_up = low_slope @ flat, (low @ slope).t()
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = (slope @ ctx.weight()).addmm_(low_slope.t(), down.to(slope.dtype)).view(ctx.shape)
        return to_x, to_down.to(down.dtype), to_up.to(up.dtype), None, None, None


def frozen_weight(layer: nn.Module, dtype: torch.dtype) -> Callable[[], Tensor] | None:
    """How to come by the layer's matrix in the dtype of x; None where only the layer itself knows. Four bits are unpacked in
    each direction, as bitsandbytes itself does where gradients are asked for."""
    if type(layer) is nn.Linear and layer.weight.dtype == dtype:
        return lambda: layer.weight
    if type(layer) is Conv1D and layer.weight.dtype == dtype:  # GPT-2's linear layer, which holds the transpose
        held = layer.get_parameter("weight")
        return lambda: held.t()
    state = getattr(layer.weight, "quant_state", None)
    if state is not None and layer.compute_dtype == dtype and (layer.bias is None or layer.bias.dtype == dtype):
        from bitsandbytes.functional import dequantize_4bit

        return lambda: dequantize_4bit(layer.weight.data, state).to(dtype)
    return None
