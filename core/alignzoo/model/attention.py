"""Attention over a packed forest, tree by tree, through transformers' own attention interface: no model code is touched.

A prompt attends causally to itself; a reply to its prompt and causally to itself. The same function serves the sampler,
which passes an ordinary mask over its cache instead of segments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as attend
from transformers import AttentionInterface

from alignzoo.model.forest import Forest, Segment

NAME = "alignzoo"

_KNOWN = {"position_ids", "use_cache", "cache_position", "is_causal", "output_attentions", "output_hidden_states"}
"""Arguments that models pass along and that change nothing here."""


class UnknownAttention(Exception):
    """This model's attention asks for something that the packed form does not know (soft caps, sinks, biases)."""


@dataclass
class Packing:
    """The segments of one forest, the masks they need (made once, used by every layer), and how many layers asked."""

    segments: tuple[Segment, ...]
    calls: int = 0
    _masks: dict[tuple[Segment, int, int, torch.dtype], Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, forest: Forest) -> Packing:
        return cls(forest.segments)

    def mask(self, segment: Segment, reply: int, window: int, like: Tensor) -> Tensor:
        """Additive mask of one reply (-1: the prompt) over its prompt and itself. A `window` of 0 sees everything."""
        key = (segment, reply, window, like.dtype)
        if key not in self._masks:
            prompt = segment.split - segment.start
            start, stop = segment.replies[reply] if reply >= 0 else (segment.start, segment.split)
            past = prompt if reply >= 0 else 0
            rows = torch.arange(past, past + stop - start, device=like.device)[:, None]
            columns = torch.arange(past + stop - start, device=like.device)[None]
            seen = (columns <= rows) & ((rows - columns < window) if window else True)
            self._masks[key] = torch.zeros(seen.shape, dtype=like.dtype, device=like.device).masked_fill_(~seen, -torch.inf)
        return self._masks[key]


def forest_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: Packing | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """(1, heads, packed, width) → (1, packed, heads, width); `dropout` is always off."""
    if unknown := [name for name, asked in more.items() if asked is not None and name not in _KNOWN]:
        raise UnknownAttention(", ".join(unknown))
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    if packing is None:
        seen = _windowed(attention_mask, sliding_window, query, key)
        causal = seen is None and query.shape[2] > 1
        out = attend(query, key, value, attn_mask=seen, is_causal=causal, scale=scaling)
        return out.transpose(1, 2).contiguous(), None
    packing.calls += 1
    parts = [
        part
        for segment in packing.segments
        for part in _tree_attention(query, key, value, segment, packing, scaling, sliding_window or 0)
    ]
    return torch.cat(parts, 2).transpose(1, 2).contiguous(), None


def _tree_attention(
    query: Tensor, key: Tensor, value: Tensor, tree: Segment, packing: Packing, scaling: float | None, window: int
) -> list[Tensor]:
    start, split = tree.start, tree.split
    longest = split - start + max(stop - first for first, stop in tree.replies)
    window = window if longest > window else 0
    if len(tree.replies) == 1 and not window:
        rows = slice(start, tree.stop)
        return [attend(query[:, :, rows], key[:, :, rows], value[:, :, rows], is_causal=True, scale=scaling)]
    rows = slice(start, split)
    past_key, past_value = key[:, :, rows], value[:, :, rows]
    mask = packing.mask(tree, -1, window, query) if window else None
    parts = [attend(query[:, :, rows], past_key, past_value, attn_mask=mask, is_causal=mask is None, scale=scaling)]
    for number, (first, stop) in enumerate(tree.replies):
        own = slice(first, stop)
        parts.append(
            attend(
                query[:, :, own],
                torch.cat([past_key, key[:, :, own]], 2),
                torch.cat([past_value, value[:, :, own]], 2),
                attn_mask=packing.mask(tree, number, window, query),
                scale=scaling,
            )
        )
    return parts


def _windowed(mask: Tensor | None, window: int | None, query: Tensor, key: Tensor) -> Tensor | None:
    """The sampler's boolean mask (rows, 1, queries, columns), narrowed to what a sliding window still sees."""
    queries, columns = query.shape[2], key.shape[2]
    if not window or columns <= window:
        return mask
    behind = torch.arange(columns - queries, columns, device=query.device)[:, None] - torch.arange(columns, device=query.device)
    near = (behind >= 0) & (behind < window)
    return near if mask is None else mask & near


AttentionInterface.register(NAME, forest_attention)
