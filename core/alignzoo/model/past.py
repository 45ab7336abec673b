"""What has been read so far while replies are written: keys and values of every row, or, for a model whose memory is of another
kind (recurrent layers, convolutions), the rows themselves, which are then read anew for every token.

Prompts are read once, packed and without padding where the model bears it. Their keys and values are then laid out for all
replies in room that is made once and as long as the replies may become: a token is written in its place, and nothing is ever
joined or copied for it. Prompts end in the same column; what lies before a shorter one is never looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from alignzoo.model.attention import Packing, next_token
from alignzoo.model.forest import Segment

if TYPE_CHECKING:
    from alignzoo.model.base import Base

Ids = Sequence[int]


class Past(Protocol):
    """One row for each reply that is still being written."""

    states: Tensor
    """(rows, width) The state that each row's next token is written from."""
    logits: Tensor
    """(rows, vocabulary) Of that token, in float32. Neither need be there any more once the next was read."""

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone, in this order."""
        ...

    def append(self, drawn: Tensor) -> None:
        """Read the token that was drawn for each row."""
        ...


class Shelf(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer, for transformers to put into and take from. The room is made once."""

    def __init__(self, keys: Tensor, values: Tensor, lengths: Sequence[int], n: int, room: int) -> None:
        """Prompts' keys and values lie side by side, (heads, all their tokens, width): give each prompt's to n rows."""
        super().__init__()
        self.first, self.taken = 0, max(lengths)
        self.room = tuple(laid_out(states, lengths, n, room) for states in (keys, values))
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Put new columns behind the others, and return all that are taken."""
        rows, start = len(key_states), self.taken
        self.taken += key_states.shape[2]
        for room, states in zip(self.room, (key_states, value_states), strict=True):
            room[:rows, :, start : self.taken] = states
        self.keys, self.values = (room[:rows, :, self.first : self.taken] for room in self.room)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.taken - self.first

    def keep(self, rows: Tensor, first: int) -> None:
        """Move these rows to the front; what lies before the column `first` is looked at no more."""
        for room in self.room:
            room[: len(rows), :, first : self.taken] = room[rows, :, first : self.taken]
        self.first = first


class Cached:
    """Keys and values are kept."""

    def __init__(self, base: Base, prompts: Sequence[Ids], n: int, room: int) -> None:
        self.base = base
        lengths = list(map(len, prompts))
        self.wide = self.taken = max(lengths)
        self.first = 0
        cache = DynamicCache()
        states, logits = packed(base, prompts, cache) if base.packs else self._padded(prompts, lengths, cache)
        self.states, self.logits = states.repeat_interleave(n, 0), logits.repeat_interleave(n, 0)
        self.shelves = []
        for layer in cache.layers:
            keys, values = (_side_by_side(states, lengths, base.packs) for states in (layer.keys, layer.values))
            self.shelves.append(Shelf(keys, values, lengths, n, room))
            layer.keys = layer.values = None
        self.cache = Cache(layers=self.shelves)
        self.lengths = torch.tensor(lengths, device=base.device).repeat_interleave(n)
        self.positions = self.lengths[:, None]
        columns = torch.arange(self.wide + room, device=base.device)
        self.seen = self._mask(columns >= (self.wide - self.lengths)[:, None])
        self.padded = min(lengths) < self.wide
        self.step = base.steps.wearing(base.worn.name) if base.steps else None

    def keep(self, rows: Tensor) -> None:
        self.lengths, self.positions, self.seen = self.lengths[rows], self.positions[rows], self.seen[rows]
        longest = int(self.lengths.max())
        self.padded = int(self.lengths.min()) < longest
        if self.base.packs:  # other models may count positions by columns
            self.first = self.wide - longest
        for shelf in self.shelves:
            shelf.keep(rows, self.first)

    def append(self, drawn: Tensor) -> None:
        self.taken += 1
        seen = self.seen[:, self.first : self.taken]
        if self.step:
            mask = seen[:, None, None] if self.padded else None
            self.states = self.step(drawn, self.positions, partial(self._attended, mask))
            self.logits, self.positions = self.base.head.logits(self.states), self.positions + 1
            return
        inputs = {"input_ids": drawn[:, None], "past_key_values": self.cache, "use_cache": True}
        if self.base.packs:
            inputs |= {"attention_mask": seen[:, None, None] if self.padded else None, "position_ids": self.positions}
        else:
            inputs |= {"attention_mask": seen} | ({"position_ids": self.positions} if self.base.positions else {})
        self.states, self.logits = last(self.base, inputs)
        self.positions = self.positions + 1

    def _attended(
        self, mask: Tensor | None, layer: int, query: Tensor, key: Tensor, value: Tensor, window: int | None
    ) -> Tensor:
        """What the step's tokens see, once their own keys and values are put to the others."""
        return next_token(query, *self.shelves[layer].update(key, value), mask, None, window)

    def _mask(self, real: Tensor) -> Tensor:
        """For all columns that there will ever be. Our attention adds it: made once and in the type of the keys, it is not
        converted anew in every layer for every token. Other models make their own from a 1 for every real column."""
        if not self.base.packs:
            return real.long()
        return torch.zeros(real.shape, dtype=self.shelves[0].dtype, device=real.device).masked_fill_(~real, -torch.inf)

    def _padded(self, prompts: Sequence[Ids], lengths: list[int], cache: DynamicCache) -> tuple[Tensor, Tensor]:
        """A row for each prompt, padded on the left."""
        base, wide = self.base, max(lengths)
        ids = torch.tensor([[0] * (wide - len(row)) + list(row) for row in prompts], device=base.device)
        real = torch.arange(wide, device=base.device) >= wide - torch.tensor(lengths, device=base.device)[:, None]
        inputs = {"input_ids": ids, "attention_mask": real.long(), "past_key_values": cache, "use_cache": True}
        if base.positions:
            inputs["position_ids"] = (real.cumsum(1) - 1).clamp(min=0)
        return last(base, inputs)


def laid_out(states: Tensor, lengths: Sequence[int], n: int, room: int) -> Tensor:
    """(prompts · n, heads, longest prompt + room, width) From prompts side by side, (heads, all their tokens, width): each
    prompt's n times, ending in the same column."""
    heads, _, width = states.shape
    longest = max(lengths)
    laid = states.new_zeros(len(lengths) * n, heads, longest + room, width)  # zeros: what is masked must be finite
    for place, prompt in enumerate(torch.split(states, list(lengths), 1)):
        laid[place * n : (place + 1) * n, :, longest - lengths[place] : longest] = prompt
    return laid


def packed(base: Base, prompts: Sequence[Ids], cache: DynamicCache) -> tuple[Tensor, Tensor]:
    """All prompts in one row, without padding: the state and logits that the next token of each is written from."""
    lengths = list(map(len, prompts))
    stops = list(accumulate(lengths))
    ends = torch.tensor(stops, device=base.device) - 1
    segments = tuple(Segment(stop - length, stop, ()) for stop, length in zip(stops, lengths, strict=True))
    inputs = {
        "input_ids": torch.tensor([[token for prompt in prompts for token in prompt]], device=base.device),
        "position_ids": torch.cat([torch.arange(length, device=base.device) for length in lengths])[None],
        "packing": Packing(segments, lengths, ends, base.tail, base.tail_layers),
        "past_key_values": cache,
        "use_cache": True,
    }
    with base.tail.ending():
        return last(base, inputs, ends)


class Reread:
    """Nothing is kept but the rows: padded on the right, where no causal model looks."""

    def __init__(self, base: Base, prompts: Sequence[Ids], n: int) -> None:
        self.base = base
        self.rows = [list(row) for row in prompts]
        states, logits = self._read()
        self.rows = [list(row) for row in self.rows for _ in range(n)]
        self.states, self.logits = states.repeat_interleave(n, 0), logits.repeat_interleave(n, 0)

    def keep(self, rows: Tensor) -> None:
        self.rows = [self.rows[row] for row in rows.tolist()]

    def append(self, drawn: Tensor) -> None:
        for row, token in zip(self.rows, drawn.tolist(), strict=True):
            row.append(token)
        self.states, self.logits = self._read()

    def _read(self) -> tuple[Tensor, Tensor]:
        base, wide = self.base, max(map(len, self.rows))
        ids = torch.tensor([row + [0] * (wide - len(row)) for row in self.rows], device=base.device)
        last = torch.tensor([len(row) - 1 for row in self.rows], device=base.device)
        every = torch.arange(len(self.rows), device=base.device)
        if base.plain_head:
            states = base.trunk(input_ids=ids, use_cache=False).last_hidden_state[every, last]
            return states, base.head.logits(states)
        out = base.model(input_ids=ids, use_cache=False, output_hidden_states=True)
        return out.hidden_states[-1][every, last], out.logits[every, last].float()


def last(base: Base, inputs: dict[str, Any], ends: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The states that next tokens are written from, and their logits: of each row's last column, or, where all are packed in
    one row, of the columns `ends`."""

    def picked(states: Tensor) -> Tensor:
        return states[:, -1] if ends is None else states[0, ends]

    if base.plain_head:
        states = picked(base.trunk(**inputs).last_hidden_state)
        return states, base.head.logits(states)
    out = base.model(**inputs, logits_to_keep=1 if ends is None else ends, output_hidden_states=True)
    return picked(out.hidden_states[-1]), out.logits[:, -1].float() if ends is None else out.logits[0].float()


def _side_by_side(states: Tensor, lengths: list[int], packed: bool) -> Tensor:
    """(heads, all tokens, width) from one packed row, or from rows that are padded on the left."""
    if packed:
        return states[0]
    return torch.cat([row[:, row.shape[1] - length :] for row, length in zip(states, lengths, strict=True)], 1)


def witnesses(base: Base) -> Cache:
    """To be given to a pass whose keys and values are wanted."""
    return Cache(layers=[Witness() for _ in range(base.model.config.get_text_config().num_hidden_layers)])


class Witness(DynamicLayer):  # type: ignore[misc]
    """Sees one layer's keys and values go by."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        self.keys, self.values = key_states.detach(), value_states.detach()
        return key_states, value_states
