"""A batch that is read ahead of its loss, and other replies to its prompts along with it.

Some losses need a figure of the whole batch before any of it is learned from, such as the mean log-ratio of mismatched
replies (KTO's z₀), which is not differentiated. Of those replies only their own tokens are read: they go on from the keys and
values that the pass over the batch has made of the prompts.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from alignzoo.model import head
from alignzoo.model.attention import Packing
from alignzoo.model.forest import Forest, Segment

if TYPE_CHECKING:
    from alignzoo.model.base import Base, Reading
    from alignzoo.model.role import Role


class Ahead:
    """What a role says of a batch, with a gradient, and of other replies to its prompts, without one. A batch of more than
    `at_once` packed tokens is not read ahead, for its graph would not fit: everything is then asked by itself."""

    def __init__(self, role: Role, forest: Forest, at_once: int) -> None:
        self.role, self.forest, self.at_once = role, forest, at_once
        self.read = role.read(forest, keeping=True) if forest.size <= at_once else None

    def others(self, others: Forest) -> Tensor:
        """(tokens) log p of each token of these replies to the prompts of the batch, in the same order. No gradient."""
        base, read = self.role.base, self.read
        with torch.no_grad():
            if read is None or not read.reading.kept or not _same_prompts(self.forest, others):
                return torch.cat([self.role.logps(piece) for piece in others.split(self.at_once)])
            states = gone_on(base, self.role.worn, read.reading, self.forest, others)
            return head.logps(states, others.targets, base.head)

    def logps(self, forest: Forest) -> Tensor:
        """(tokens) log p of each reply token of the batch, out of the pass that was made; of any part of it, out of another."""
        if self.read is None or forest.trees is not self.forest.trees:
            return self.role.logps(forest)
        return self.read.logps()


@torch.no_grad()
def gone_on(base: Base, worn: str | None, reading: Reading, forest: Forest, others: Forest) -> Tensor:
    """(tokens, width) The state that each token of the others is written from: the first of each from its prompt's last."""
    each = others.tree.tolist()
    lengths, past = others.lengths.tolist(), [len(others.trees[tree].prompt) for tree in each]
    places = [(forest.segments[tree].start, forest.segments[tree].split) for tree in each]
    stops = list(accumulate(lengths))
    stretches = tuple(Segment(stop - length, stop, ()) for stop, length in zip(stops, lengths, strict=True))
    packing = Packing(stretches, lengths, others.last, base.tail, 0, kept=list(reading.kept), places=places)
    positions = [torch.arange(start, start + length) for start, length in zip(past, lengths, strict=True)]
    inputs = {"input_ids": others.targets[None], "position_ids": torch.cat(positions)[None].to(base.device)}
    base.meter.charge_gone_on(list(zip(past, lengths, strict=True)), base.sizes(worn))
    with base.acting_as(worn):
        read: Tensor = base.trunk(**inputs, use_cache=False, packing=packing).last_hidden_state[0]
    states = read.roll(1, 0)
    first_replies = [0, *accumulate(len(tree.replies) for tree in forest.trees)]
    ends = (forest.last - forest.lengths + 1)[[first_replies[tree] for tree in each]]  # the first token after each prompt
    states[others.last - others.lengths + 1] = reading.hidden[reading.before[ends]].detach()
    return states


def _same_prompts(forest: Forest, others: Forest) -> bool:
    return [tree.prompt for tree in forest.trees] == [tree.prompt for tree in others.trees]
