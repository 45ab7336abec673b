"""The vocabulary head, at the scored positions only and in chunks: full logits never exist.

The head is frozen, so the gradient of a log-probability with respect to the state, `W[t] − p W`, is made in the forward
pass while the probabilities are at hand: two matrix products in all, and nothing of the vocabulary's size is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from alignzoo.model.panels import Panel

_ENTRIES = {"cpu": 2**24 - 8192, "cuda": 2**27}
"""Logits per chunk. On a CPU, large products of few rows are slow, and above 32 MiB glibc maps fresh pages for every tensor: a
chunk in bfloat16 stays under that, and the one in float32 is kept (`Head.space`)."""

_FEW, _LONG = range(2, 9), 2**13
"""With so many states and so long a float32 matrix, a CPU multiplies the other way round in a half to a quarter of the time."""


@dataclass(frozen=True)
class Head:
    """A frozen map from states to logits."""

    weight: Tensor  # (vocabulary, width)
    bias: Tensor | None = None
    panel: Panel | None = None
    """The same product, faster, where nobody asks for a gradient."""
    _kept: list[Tensor] = field(default_factory=list, repr=False, compare=False)

    def space(self, rows: int) -> Tensor:
        """(rows, vocabulary) Room for a chunk of logits in float32; on a CPU the same room every time."""
        if self.weight.device.type != "cpu":
            return torch.empty(rows, len(self.weight), device=self.weight.device)
        if not self._kept or len(self._kept[0]) < rows:
            self._kept[:] = [torch.empty(rows, len(self.weight))]
        return self._kept[0][:rows]

    def columns(self, states: Tensor, tokens: Tensor) -> Tensor:
        """(states, tokens) The logits of a few tokens alone, each state having its own (states, tokens). In float32."""
        logits = torch.einsum("rw,rtw->rt", states.float(), self.weight[tokens].float())
        return logits if self.bias is None else logits + self.bias[tokens].float()

    def logits(self, states: Tensor) -> Tensor:
        """In float32. The caller sees to it that there are few states."""
        weight, states = self.weight, states.to(self.weight.dtype).contiguous()
        if self.panel is not None and not torch.is_grad_enabled():
            return self.panel(states)
        odd = weight.is_cpu and weight.dtype == torch.float32 and self.bias is None
        if odd and len(states) in _FEW and len(weight) >= _LONG:
            return torch.mm(weight, states.t()).t().contiguous()
        return torch.nn.functional.linear(states, weight, self.bias).float()


def logps(states: Tensor, targets: Tensor, head: Head, temperature: float = 1.0, allowed: Tensor | None = None) -> Tensor:
    """(tokens) log p(target) under the logits divided by `temperature`, among the tokens `allowed` in its place (bits as
    `sealed` makes them; all of them, if none are given). A target must be among them."""
    result: Tensor = _Logps.apply(states, targets, head, temperature, allowed)  # type: ignore[no-untyped-call]
    return result


def sealed(marks: Tensor) -> Tensor:
    """(rows, ⌈vocabulary/8⌉) Eight marks in a byte, so that sets of tokens can be kept for every place of a batch."""
    eights = pad(marks, (0, -marks.shape[1] % 8)).view(len(marks), -1, 8)
    return (eights * _bits(marks.device)).sum(-1, dtype=torch.uint8)


def opened(bits: Tensor, vocabulary: int) -> Tensor:
    """(rows, vocabulary) The marks that were sealed."""
    return ((bits[:, :, None] & _bits(bits.device)) != 0).flatten(1)[:, :vocabulary]


def _bits(device: torch.device) -> Tensor:
    return torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=device)


def chunks(states: Tensor, head: Head) -> Sequence[Tensor]:
    """The states in pieces, each of which has as many logits as may be held at once."""
    return torch.split(states, _rows(len(states), head.weight))


def entropies(states: Tensor, head: Head, temperature: float = 1.0) -> Tensor:
    """(tokens) The entropy of the next-token distribution. Not differentiated."""
    with torch.no_grad():
        pieces = []
        for chunk in chunks(states, head):
            spread = (head.logits(chunk) / temperature).log_softmax(-1)
            pieces.append(-(spread.exp() * spread).sum(-1))
        return torch.cat(pieces)


class _Logps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, targets: Tensor, head: Head, temperature: float, allowed: Tensor | None) -> Tensor:
        weight, bias = head.weight, head.bias
        states = states.contiguous()
        slopes = torch.empty_like(states) if ctx.needs_input_grad[0] else None
        result = torch.empty(len(states), dtype=torch.float32, device=states.device)
        rows = _rows(len(states), weight)
        space = head.space(rows)
        for start in range(0, len(states), rows):
            piece = slice(start, min(start + rows, len(states)))
            at = targets[piece, None]
            logits = _product(states[piece].to(weight.dtype), weight, space[: len(at)])
            if bias is not None:
                logits += bias
            if temperature != 1.0:
                logits /= temperature
            if allowed is not None:
                logits.masked_fill_(~opened(allowed[piece], len(weight)), -torch.inf)
            chosen, top = logits.gather(1, at)[:, 0], logits.amax(1)
            chances = torch.softmax(logits, 1, out=logits)
            result[piece] = chosen - top + chances.amax(1).log()  # the likeliest token's probability is exp(0) / total
            if slopes is not None:
                slopes[piece] = weight[at[:, 0]] - chances.to(weight.dtype) @ weight
        if slopes is not None:
            ctx.save_for_backward(slopes)
        ctx.temperature = temperature
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * (gradient / ctx.temperature)[:, None].to(slopes.dtype), None, None, None, None


def _product(states: Tensor, weight: Tensor, space: Tensor) -> Tensor:
    """The logits in float32, in the space given."""
    if weight.dtype == torch.float32:
        return torch.mm(states, weight.t(), out=space)
    return space.copy_(states @ weight.t())


def _rows(count: int, weight: Tensor) -> int:
    """Rows per chunk: as many as are allowed, and none left over for a last product of a few rows."""
    most = max(1, _ENTRIES.get(weight.device.type, 2**23) // len(weight))
    return -(-count // -(-count // most))
