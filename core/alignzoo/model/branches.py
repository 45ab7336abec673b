"""Many replies to long prompts: a prompt's keys and values are kept once, not once for each of its replies, and all of these
attend to them together. In `past`, where every row has all that it sees in one piece, each would read its own copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from alignzoo.model.attention import Branching, after_prompts
from alignzoo.model.fixed import Fixed
from alignzoo.model.past import Cached, Ids, Past, Reread, Shelf, last, packed

if TYPE_CHECKING:
    from alignzoo.model.base import Base

_WORTH = 1024
"""Tokens of a prompt, on average, times its replies beyond the first: with fewer, going from prompt to prompt costs more than
it saves."""


def read(base: Base, prompts: Sequence[Ids], n: int, room: int) -> Past:
    """Read the prompts, in the way that this model was proven to bear, and begin n replies to each, prompt by prompt. Each may
    be given up to `room` tokens."""
    if not base.caches:
        return Reread(base, prompts, n)
    if base.record:
        return Fixed(base, prompts, n, room)
    if base.branches and sum(map(len, prompts)) * (n - 1) >= _WORTH * len(prompts):
        return Branched(base, prompts, n, room)
    return Cached(base, prompts, n, room)


class Branched:
    """Keys and values of prompts are kept once, and those of what was written row by row. All rows have written as much."""

    def __init__(self, base: Base, prompts: Sequence[Ids], n: int, room: int) -> None:
        self.base = base
        cache, lengths = DynamicCache(), list(map(len, prompts))
        states, logits = packed(base, prompts, cache)
        self.states, self.logits = states.repeat_interleave(n, 0), logits.repeat_interleave(n, 0)
        self.whose = torch.arange(len(prompts), device=base.device).repeat_interleave(n)
        self.positions = torch.tensor(lengths, device=base.device)[self.whose, None]
        self.branching = Branching([], [n] * len(prompts))
        self.shelves = []
        for layer in cache.layers:
            keys, values = (torch.split(of[0], lengths, 1) for of in (layer.keys, layer.values))
            self.branching.prompts.append([(k.contiguous(), v.contiguous()) for k, v in zip(keys, values, strict=True)])
            self.shelves.append(Shelf(keys[0][:, :0], values[0][:, :0], [0] * len(prompts), n, room))
            layer.keys = layer.values = None
        self.cache = Cache(layers=self.shelves)
        self.step = base.steps.wearing(base.worn.name) if base.steps else None

    def keep(self, rows: Tensor) -> None:
        """In this order, which must go on prompt by prompt. A prompt without rows is dropped."""
        self.whose, self.positions = self.whose[rows], self.positions[rows]
        counts = torch.bincount(self.whose, minlength=len(self.branching.rows)).tolist()
        left = [place for place, count in enumerate(counts) if count]
        self.branching.rows = [counts[place] for place in left]
        self.branching.prompts = [[layer[place] for place in left] for layer in self.branching.prompts]
        self.whose = torch.unique_consecutive(self.whose, return_inverse=True)[1]
        for shelf in self.shelves:
            shelf.keep(rows, 0)

    def append(self, drawn: Tensor) -> None:
        if self.step:
            self.states = self.step(drawn, self.positions, self._attended)
            self.logits, self.positions = self.base.head.logits(self.states), self.positions + 1
            return
        inputs = {"input_ids": drawn[:, None], "past_key_values": self.cache, "use_cache": True, "attention_mask": None}
        inputs |= {"position_ids": self.positions, "branching": self.branching}
        self.states, self.logits = last(self.base, inputs)
        self.positions = self.positions + 1

    def _attended(self, layer: int, query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Tensor:
        """What the step's tokens see, once their own keys and values are put to those that were written."""
        written, prompts = self.shelves[layer].update(key, value), self.branching.prompts[layer]
        return after_prompts(query, written, prompts, self.branching.rows, None, window or 0)
