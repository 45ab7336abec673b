"""The last layer of Q heads, asked about a few actions and about all of them together: Q(s, a) where a was taken, and
log Σ_a exp Q(s, a). (states, vocabulary) never exists: it is gone through in chunks, and the gradient of the sum, with respect
to the states and to the layer itself, is made on the way.

That is possible in one pass because the sum over all states enters the loss as one number: whatever its factor turns out to
be, its gradient is that factor times what was made here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_ENTRIES = {"cpu": 2**22, "cuda": 2**27}
"""Entries of a chunk. On a CPU a larger one would not stay in the cache from the product to its gradient."""


def asked(
    hidden: Tensor, layer: torch.nn.Linear, actions: Tensor, *, twins: int = 1, sums: bool = True
) -> tuple[Tensor, Tensor]:
    """(twins, states) Q(s, a) at the actions, and Σ over twins and states of log Σ_a exp Q(s, a); 0 without `sums`. The layer
    holds the rows of each twin's actions one below the other."""
    result: tuple[Tensor, Tensor] = _Asked.apply(hidden, layer.weight, layer.bias, actions, twins, sums)  # type: ignore[no-untyped-call]
    return result


class _Asked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, actions: Tensor, twins: int, sums: bool
    ) -> tuple[Tensor, Tensor]:
        places = actions + len(weight) // twins * torch.arange(twins, device=actions.device)[:, None]  # (twins, states)
        taken = torch.stack([(hidden * weight[place]).sum(-1) + bias[place] for place in places])
        learning = any(ctx.needs_input_grad)
        slopes = [torch.zeros_like(each) for each in (hidden, weight, bias)] if learning else []
        total = _all_actions(hidden, weight, bias, twins, slopes) if sums else hidden.new_zeros(())
        ctx.save_for_backward(hidden, weight, places)
        ctx.slopes = slopes
        return taken, total

    @staticmethod
    def backward(ctx: Any, of_taken: Tensor, of_total: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, places = ctx.saved_tensors
        (by_hidden, by_weight, by_bias), ctx.slopes = ctx.slopes, None  # as large as the layer: used up here, not copied
        for slope in (by_hidden, by_weight, by_bias):
            slope.mul_(of_total)
        for place, gradient in zip(places, of_taken, strict=True):
            by_hidden.addcmul_(weight[place], gradient[:, None])
            by_weight.index_add_(0, place, hidden * gradient[:, None])
            by_bias.index_add_(0, place, gradient)
        return by_hidden, by_weight, by_bias, None, None, None


def _all_actions(hidden: Tensor, weight: Tensor, bias: Tensor, twins: int, slopes: list[Tensor]) -> Tensor:
    """Σ over twins and states of log Σ_a exp Q(s, a). Its gradients are added to the slopes, if there are any."""
    total = hidden.new_zeros((), dtype=torch.float64)
    rows = max(1, _ENTRIES.get(hidden.device.type, 2**23) // len(weight))
    for start in range(0, len(hidden), rows):
        some = hidden[start : start + rows]
        values = torch.addmm(bias, some, weight.t()).view(len(some), twins, -1)
        top = values.amax(-1)
        chances = torch.softmax(values, -1, out=values)
        total += (top - chances.amax(-1).log()).sum()  # the likeliest action's chance is exp(0) / Σ
        if slopes:
            chances = chances.flatten(1)
            by_hidden, by_weight, by_bias = slopes
            by_hidden[start : start + rows] = chances @ weight
            by_weight.addmm_(chances.t(), some)
            by_bias += chances.sum(0)
    return total.to(hidden.dtype)
