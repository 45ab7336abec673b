"""Attention over a packed forest, tree by tree, through transformers' own attention interface: no model code is touched.

A prompt attends causally to itself; a reply to its prompt and causally to itself. The same function serves the sampler,
which passes an ordinary mask over its cache instead of segments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.functional import scaled_dot_product_attention as attend

from alignzoo.model.forest import Forest, Segment
from alignzoo.model.tail import Tail

NAME = "alignzoo"

_KNOWN = {"position_ids", "use_cache", "cache_position", "is_causal", "output_attentions", "output_hidden_states"}
"""Arguments that models pass along and that change nothing here."""


class UnknownAttention(Exception):
    """This model's attention asks for something that the packed form does not know (soft caps, sinks, biases)."""


@dataclass
class Packing:
    """The segments of one forest, the masks they need (made once, used by every layer), and how many layers asked."""

    segments: tuple[Segment, ...]
    lengths: list[int]  # of every prompt and reply, in order
    needed: Tensor
    tail: Tail
    layers: int  # the tail begins in the last of so many; 0 for never
    calls: int = 0
    kept: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Where every segment goes on from one beginning that was read before: of each layer, its keys and values (1, heads,
    tokens, width). Of a segment without replies only the last state is read from then."""
    places: list[tuple[int, int]] = field(default_factory=list)
    """From where to where each segment's own beginning lies in what was kept; empty where all of it is every segment's."""
    _masks: dict[tuple[int, int, int, torch.dtype], Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        forest: Forest,
        needed: Tensor,
        tail: Tail | None = None,
        layers: int = 0,
        kept: Sequence[tuple[Tensor, Tensor]] = (),
    ) -> Packing:
        # An only reply continues its prompt: together they are one causal stretch.
        merged = not kept
        lone = [Segment(t.start, t.stop, ()) if merged and len(t.replies) == 1 else t for t in forest.segments]
        lengths = [stop - start for tree in lone for start, stop in ((tree.start, tree.split), *tree.replies)]
        return cls(tuple(lone), lengths, needed, tail or Tail(), layers, kept=list(kept))

    def mask(self, segment: Segment, reply: int, window: int, like: Tensor, before: int = 0) -> Tensor:
        """Additive mask of one reply (-1: the prompt) over so many tokens that were kept `before`, its prompt and itself. A
        `window` of 0 sees everything."""
        start, stop = segment.replies[reply] if reply >= 0 else (segment.start, segment.split)
        past, length = before + (segment.split - segment.start if reply >= 0 else 0), stop - start
        key = (past, length, window, like.dtype)
        if key not in self._masks:
            unseen = like.new_full((length, past + length), -torch.inf)
            mask = self._masks[key] = unseen.triu(past + 1)  # what comes later
            if window:
                mask += unseen.tril(past - window)  # and what is too long ago
        return self._masks[key]


def forest_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: Packing | None = None,
    branching: Branching | None = None,
    columns: Columns | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """(1, heads, packed, width) → (1, packed, heads, width); `dropout` is always off."""
    if unknown := [name for name, asked in more.items() if asked is not None and name not in _KNOWN]:
        raise UnknownAttention(", ".join(unknown))
    if branching is not None:
        prompts = branching.prompts[getattr(module, "layer_idx")]  # noqa: B009
        return after_prompts(query, (key, value), prompts, branching.rows, scaling, sliding_window or 0), None
    if columns is not None:
        return next_token(query, key, value, columns.mask(sliding_window or 0, key), scaling, None), None
    if query.shape[2] == 1 and packing is None:
        return next_token(query, key, value, attention_mask, scaling, sliding_window), None
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    if packing is None:
        seen = _windowed(attention_mask, sliding_window, query, key)
        causal = seen is None and query.shape[2] > 1
        out = attend(query, key, value, attn_mask=seen, is_causal=causal, scale=scaling)
        return out.transpose(1, 2).contiguous(), None
    packing.calls += 1
    if last := getattr(module, "layer_idx", None) == packing.layers - 1:
        packing.tail.begin(packing.needed, query.shape[2])
    pasts = _kept(packing, getattr(module, "layer_idx"), groups) if packing.kept else repeat(None)  # noqa: B009
    parts = [
        part
        for tree, past in zip(_trees(query, key, value, packing), pasts, strict=False)
        for part in _tree_attention(tree, past, packing, scaling, sliding_window or 0, last)
    ]
    return torch.cat([part.transpose(1, 2) for part in parts], 1), None


def next_token(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None, window: int | None
) -> Tensor:
    """(rows, heads, 1, width) → (rows, 1, heads, width): one new token each, after keys that were kept. Heads that share keys
    ask as one, so that no key is repeated; a window is the last columns, so that no mask is made for it."""
    rows, heads, _, width = query.shape
    if window and key.shape[2] > window:
        key, value = key[:, :, -window:], value[:, :, -window:]
        mask = mask if mask is None else mask[..., -window:]
    asked = query.view(rows, key.shape[1], heads // key.shape[1], width)
    return attend(asked, key, value, attn_mask=mask, scale=scaling).reshape(rows, 1, heads, width)


@dataclass
class Columns:
    """Keys and values in room of a fixed length, of which each row sees a stretch. Where that ends is known on the device only,
    so that the same operations serve every token."""

    first: Tensor
    """(rows, 1) The column that each row's prompt begins in."""
    now: Tensor
    """(1) The column of the token that is being read."""
    long: int = 0
    """How many columns there are to look at."""
    masks: dict[int, Tensor] = field(default_factory=dict)
    """Of this token, by window."""

    def mask(self, window: int, like: Tensor) -> Tensor:
        """(rows, 1, 1, columns) To be added. A `window` of 0 sees everything."""
        if window not in self.masks:
            columns = torch.arange(self.long, device=self.now.device)
            seen = (columns >= self.first) & (columns <= self.now)
            if window:
                seen &= columns > self.now - window
            self.masks[window] = like.new_zeros(seen.shape).masked_fill_(~seen, -torch.inf)[:, None, None]
        return self.masks[window]


@dataclass
class Branching:
    """Prompts whose keys and values lie there once, for all rows that go on from them. Rows lie prompt by prompt."""

    prompts: list[list[tuple[Tensor, Tensor]]]
    """Of each layer, of each prompt: keys and values (heads, tokens, width)."""
    rows: list[int]
    """How many rows go on from each prompt."""


def after_prompts(
    query: Tensor,
    written: tuple[Tensor, Tensor],
    prompts: list[tuple[Tensor, Tensor]],
    counts: list[int],
    scaling: float | None,
    window: int,
) -> Tensor:
    """(rows, heads, 1, width) → (rows, 1, heads, width): one new token each, after a prompt and the keys and values that the
    row has `written` (rows, kept heads, tokens, width). All rows of a prompt ask it at once, as one product instead of one for
    each, and the two parts of what is seen are weighed by one softmax."""
    (rows, heads, _, width), (key, value) = query.shape, written
    kept = key.shape[1]
    each = heads // kept
    asked = query.view(rows, kept, each, width) * (width**-0.5 if scaling is None else scaling)
    if window:  # what is behind it is the prompt's last part, or none of it
        behind = max(0, window - key.shape[2])
        key, value = key[:, :, -window:], value[:, :, -window:]
        prompts = [(old[:, max(0, old.shape[1] - behind) :], of[:, max(0, of.shape[1] - behind) :]) for old, of in prompts]
    near = torch.matmul(asked, key.transpose(2, 3))
    far, weights = [], []
    for own, said, (old, of) in zip(torch.split(asked, counts), torch.split(near, counts), prompts, strict=True):
        count, long = len(own), old.shape[1]
        scores = torch.bmm(own.transpose(0, 1).reshape(kept, count * each, width), old.transpose(1, 2))
        shares = torch.cat([scores.view(kept, count, each, long), said.transpose(0, 1)], -1).softmax(-1)
        far.append(torch.bmm(shares[..., :long].reshape(kept, count * each, long), of).view(kept, count, each, width))
        weights.append(shares[..., long:])
    out = torch.cat(far, 1) + torch.matmul(torch.cat(weights, 1).transpose(0, 1), value).transpose(0, 1)
    return out.transpose(0, 1).reshape(rows, 1, heads, width)


class _Grown(NamedTuple):
    """The (query, key, value) of one tree's prompt and of each of its replies."""

    segment: Segment
    prompt: tuple[Tensor, Tensor, Tensor]
    replies: list[tuple[Tensor, Tensor, Tensor]]


def _trees(query: Tensor, key: Tensor, value: Tensor, packing: Packing) -> Iterator[_Grown]:
    """Taken apart by one split, whose gradient is one concatenation: a slice's would be a row of zeros for each."""
    pieces = zip(*(torch.split(states, packing.lengths, 2) for states in (query, key, value)), strict=True)
    for segment in packing.segments:
        yield _Grown(segment, next(pieces), [next(pieces) for _ in segment.replies])


def _kept(packing: Packing, layer: int, groups: int) -> Iterator[tuple[Tensor, Tensor]]:
    """For each segment the keys and values that were made of its beginning, one for each head that asks."""
    key, value = packing.kept[layer]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    for start, stop in packing.places or [(0, key.shape[2])] * len(packing.segments):
        yield key[:, :, start:stop], value[:, :, start:stop]


def _tree_attention(
    tree: _Grown, past: tuple[Tensor, Tensor] | None, packing: Packing, scaling: float | None, window: int, last: bool
) -> list[Tensor]:
    segment, (query, past_key, past_value) = tree.segment, tree.prompt
    before = past[0].shape[2] if past else 0
    longest = before + segment.split - segment.start + max((stop - first for first, stop in segment.replies), default=0)
    window = window if longest > window else 0
    if past:
        past_key, past_value = torch.cat([past[0], past_key], 2), torch.cat([past[1], past_value], 2)
    mask = packing.mask(segment, -1, window, query, before) if window or past else None
    if last and (tree.replies or past):  # of the prompt, only its last state is read from
        seen = None if mask is None else mask[-1:]
        end = attend(query[:, :, -1:], past_key, past_value, attn_mask=seen, scale=scaling)
        parts = [pad(end, (0, 0, query.shape[2] - 1, 0))]
    else:
        parts = [attend(query, past_key, past_value, attn_mask=mask, is_causal=mask is None, scale=scaling)]
    for number, (own, key, value) in enumerate(tree.replies):
        mask = packing.mask(segment, number, window, own, before)
        keys, values = torch.cat([past_key, key], 2), torch.cat([past_value, value], 2)
        parts.append(attend(own, keys, values, attn_mask=mask, scale=scaling))
    return parts


def _windowed(mask: Tensor | None, window: int | None, query: Tensor, key: Tensor) -> Tensor | None:
    """The sampler's boolean mask (rows, 1, queries, columns), narrowed to what a sliding window still sees."""
    queries, columns = query.shape[2], key.shape[2]
    if not window or columns <= window:
        return mask
    behind = torch.arange(columns - queries, columns, device=query.device)[:, None] - torch.arange(columns, device=query.device)
    near = (behind >= 0) & (behind < window)
    return near if mask is None else mask & near
