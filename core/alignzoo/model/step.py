"""One more token in every row, for trunks of Llama's shape on a CPU: the same sums as the model's own code in a third of the
operations. With few rows a token costs what its operations cost to dispatch, and not what they compute.

Layers that read the same input (queries, keys and values; the two that open the feed-forward block) are one product, and so are
their adapters: the A matrices stacked, the B matrices as blocks of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from alignzoo.model.lora import frozen_weight
from alignzoo.model.panels import Panel
from alignzoo.model.wardrobe import pair_on, under

_WINDOWS: dict[str, Callable[[Any], int | None]] = {
    "LlamaModel": lambda heads: None,
    "MistralModel": lambda heads: heads.config.sliding_window,
    "Qwen2Model": lambda heads: heads.sliding_window,
}
"""Trunks that have this shape, and how far back each of their layers sees. Others may differ where a proof on short texts does
not look."""


class Attend(Protocol):
    """What the token of each row sees: `query` (rows, heads, 1, width), and its own `key` and `value` to be kept."""

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Tensor: ...


class Product(NamedTuple):
    """Linear layers side by side, with the adapters worn over them: y = W x + b + B (A x)."""

    panel: Panel
    down: Tensor | None
    up: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        y = self.panel(x)
        return y if self.down is None or self.up is None else y.addmm_(x @ self.down.t(), self.up.t())


class Norm(NamedTuple):
    """w · x / √(mean(x²) + ε), by way of the length of x: √n w · x / √(|x|² + n ε)."""

    weight: Tensor
    least: Tensor

    @classmethod
    def of(cls, norm: Any) -> Norm:
        long = math.sqrt(norm.weight.numel())
        return cls(norm.weight.detach() * long, torch.tensor(long * math.sqrt(norm.variance_epsilon)))

    def __call__(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return (x / torch.hypot(length, self.least)).mul_(self.weight)


class Block(NamedTuple):
    """One layer of the trunk, as a role wears it."""

    before: Norm
    asking: Product
    answering: Product
    after: Norm
    opening: Product
    closing: Product
    act: Callable[[Tensor], Tensor]
    window: int | None


@dataclass(frozen=True)
class Step:
    """The trunk as one role wears it. Of no use once that role's adapter has moved."""

    trunk: Any
    blocks: Sequence[Block]
    heads: int
    kept: int

    def __call__(self, drawn: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """(rows) tokens at `positions` (rows, 1) → (rows, width) the states that have read them."""
        x: Tensor = self.trunk.embed_tokens(drawn)
        cos, sin = self.trunk.rotary_emb(x[:, None], positions)
        half = cos.shape[-1] // 2
        sin = torch.cat([-sin[..., :half], sin[..., half:]], -1)
        for number, block in enumerate(self.blocks):
            states = block.asking(block.before(x)).view(len(x), -1, 2 * half)
            turning, value = torch.split(states, [self.heads + self.kept, self.kept], 1)
            turned = torch.addcmul(turning * cos, turning.roll(half, -1), sin)
            query, key = torch.split(turned[:, :, None], [self.heads, self.kept], 1)
            seen = attend(number, query, key, value[:, :, None], block.window)
            x = block.answering(seen.reshape(len(x), -1)).add_(x)
            gate, up = block.opening(block.after(x)).chunk(2, -1)
            x = block.closing(block.act(gate).mul_(up)).add_(x)
        return Norm.of(self.trunk.norm)(x)


class Steps:
    """A trunk's matrices, copied once for every role that writes."""

    def __init__(self, trunk: Any) -> None:
        self.trunk, self.config = trunk, trunk.config
        self.panels = [[_panel(layers) for layers in _read_together(block)] for block in trunk.layers]

    @staticmethod
    def bytes(trunk: Any) -> int:
        """What the copies cost; 0 where a trunk cannot be stepped through."""
        if type(trunk).__name__ not in _WINDOWS:
            return 0
        layers = [under(layer) for block in trunk.layers for group in _read_together(block) for layer in group]
        if any(frozen_weight(layer, torch.float32) is None for layer in layers):
            return 0
        return sum(4 * layer.in_features * layer.out_features for layer in layers)

    def wearing(self, name: str | None) -> Step:
        blocks = [self._block(*pair, name) for pair in zip(self.trunk.layers, self.panels, strict=True)]
        return Step(self.trunk, blocks, self.config.num_attention_heads, self.config.num_key_value_heads)

    def _block(self, block: Any, panels: Sequence[Panel], name: str | None) -> Block:
        groups = zip(panels, _read_together(block), strict=True)
        asking, answering, opening, closing = (Product(panel, *_stacked(layers, name)) for panel, layers in groups)
        window = _WINDOWS[type(self.trunk).__name__](block.self_attn)
        norms = Norm.of(block.input_layernorm), Norm.of(block.post_attention_layernorm)
        return Block(norms[0], asking, answering, norms[1], opening, closing, block.mlp.act_fn, window)


def _read_together(block: Any) -> list[tuple[nn.Module, ...]]:
    """A block's linear layers in the order of their use; those that read the same states are named together."""
    heads, mlp = block.self_attn, block.mlp
    return [(heads.q_proj, heads.k_proj, heads.v_proj), (heads.o_proj,), (mlp.gate_proj, mlp.up_proj), (mlp.down_proj,)]


def _panel(wrapped: Sequence[nn.Module]) -> Panel:
    layers = [under(layer) for layer in wrapped]
    weights = [weight for layer in layers if (weight := frozen_weight(layer, torch.float32))]

    def made() -> tuple[Tensor, Tensor | None]:
        biases = [torch.zeros(layer.out_features) if layer.bias is None else layer.bias.detach() for layer in layers]
        bias = torch.cat(biases) if any(layer.bias is not None for layer in layers) else None
        return torch.cat([weight() for weight in weights]), bias

    return Panel(made, [tensor for layer in layers for tensor in (layer.weight, layer.bias)])


def _stacked(layers: Sequence[nn.Module], name: str | None) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """The A matrices (ranks, inputs) and the scaled B matrices (outputs, ranks) of an adapter over these layers."""
    downs, ups = [], []
    for layer in layers:
        pair = pair_on(layer, name)
        downs += [pair.down.detach().float()] if pair else []
        ups.append(pair.up.detach().float() * pair.scale if pair else torch.zeros(under(layer).out_features, 0))
    return (torch.cat(downs), torch.block_diag(*ups)) if downs else (None, None)  # type: ignore[no-untyped-call]
