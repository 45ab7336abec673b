"""The beginning that many texts share (a constitution, a judge's instructions), read once and kept for as long as it is wanted:
its keys and values. What follows it is read packed: texts of which only the end is asked for, or prompts with replies."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import DynamicCache

from alignzoo.model import head
from alignzoo.model.attention import Packing
from alignzoo.model.forest import Forest, Segment
from alignzoo.model.past import Ids, packed

if TYPE_CHECKING:
    from alignzoo.model.base import Base


class Prefix:
    """Some ids, as a role that wears an adapter or none has read them. It is of no use once that adapter has moved."""

    def __init__(self, base: Base, worn: str | None, ids: Ids) -> None:
        """For a base that packs (`Base.packs`) and whose head is a matrix (`Base.plain_head`)."""
        self.base, self.worn, self.ids = base, worn, tuple(ids)
        cache = DynamicCache()
        with torch.no_grad(), base.acting_as(worn):
            packed(base, [self.ids], cache)
        self.kept = [(layer.keys, layer.values) for layer in cache.layers]
        base.meter.charge_prefixed(0, [len(self.ids)], base.sizes(worn))

    def until(self, length: int) -> Prefix:
        """Its own beginning: what was read of that did not depend on what followed. No copy is made."""
        if length == len(self.ids):
            return self
        shorter = copy(self)
        shorter.ids = self.ids[:length]
        shorter.kept = [(keys[:, :, :length], values[:, :, :length]) for keys, values in self.kept]
        return shorter

    @torch.no_grad()
    def ends(self, rests: Sequence[Ids]) -> Tensor:
        """(rests, width) The state that has read the prefix and then all of each rest, which sees no other."""
        base, lengths = self.base, list(map(len, rests))
        stops = list(accumulate(lengths))
        segments = tuple(Segment(stop - length, stop, ()) for stop, length in zip(stops, lengths, strict=True))
        ends = torch.tensor(stops, device=base.device) - 1
        positions = [torch.arange(len(self.ids), len(self.ids) + length, device=base.device) for length in lengths]
        packing = Packing(segments, lengths, ends, base.tail, base.tail_layers, kept=self.kept)
        inputs = {
            "input_ids": torch.tensor([[token for rest in rests for token in rest]], device=base.device),
            "position_ids": torch.cat(positions)[None],
            "packing": packing,
            "use_cache": False,
        }
        with base.acting_as(self.worn), base.tail.ending():
            states: Tensor = base.trunk(**inputs).last_hidden_state[0, ends]
        base.meter.charge_prefixed(len(self.ids), lengths, base.sizes(self.worn))
        return states

    @torch.no_grad()
    def logps(self, forest: Forest) -> Tensor:
        """(tokens) log p of each reply token of trees whose prompts go on from the prefix."""
        base = self.base
        going = replace(forest, positions=forest.positions + len(self.ids))
        with base.acting_as(self.worn):
            reading = base.packed(going, self.kept)
        base.meter.charge_reading(forest, base.sizes(self.worn), learning=False, recomputing=False, before=len(self.ids))
        return head.logps(reading.hidden[reading.before], forest.targets, base.head)
