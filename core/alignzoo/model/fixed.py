"""Tokens read in shapes and places that stay the same, so that a GPU can be given all kernels of a step at once.

A step of a model of billions launches over a thousand kernels, and on a GPU the launches take longer than the work. Recorded
once as a CUDA graph they are one launch. What is recorded is bound to its shapes, its addresses and whatever the host knew at
the time: so keys and values lie in room of a fixed length, where a token is written is itself a number on the device, and what
comes out is put into tensors that were there before.

A recording is never trusted: see `Fixed._read`. The recorder is lent (`Base.record`): all but the graph itself runs anywhere.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from alignzoo.model.attention import Columns
from alignzoo.model.past import Ids, laid_out, last, packed

if TYPE_CHECKING:
    from alignzoo.model.base import Base

Launch = Callable[[], None]
Record = Callable[[Launch], Launch]
"""From a step, which does the same again whenever it is called, to what does it in one launch."""

_WORTH = 16
"""Tokens that are still to be written: with fewer, a recording costs more than it saves."""
_LONG = 512
"""Columns that are attended to at once. More of them are looked at in vain, fewer are recorded anew more often."""
_EIGHT = 8
"""Attention kernels for masks want their rows to begin at multiples of it."""

log = logging.getLogger("alignzoo")


class Unfaithful(Exception):
    """What was recorded is not what was to be recorded: nothing that was read holds. Nobody will be lent a recorder again."""


class Room(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer, for transformers to put into and take from."""

    def __init__(self, keys: Tensor, values: Tensor, lengths: Sequence[int], n: int, room: int, columns: Columns) -> None:
        super().__init__()
        self.whole = tuple(laid_out(states, lengths, n, room) for states in (keys, values))
        self.columns = columns
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write one column, and return all that are attended to: what was written, and what is masked."""
        kept = []
        for whole, states in zip(self.whole, (key_states, value_states), strict=True):
            part = whole[: len(states), :, : self.columns.long]
            kept.append(part.index_copy_(2, self.columns.now, states))
        return kept[0], kept[1]

    def get_seq_length(self) -> int:
        raise RuntimeError("how much was read so far is known on the device only")

    def keep(self, rows: Tensor, taken: int) -> None:
        for whole in self.whole:
            whole[: len(rows), :, :taken] = whole[rows, :, :taken]


class Fixed:
    """Keys and values are kept, as in `past.Cached`. Rows that leave make room only when half of them have left: until then
    their places go on, and nobody looks."""

    def __init__(self, base: Base, prompts: Sequence[Ids], n: int, room: int) -> None:
        self.base, lengths = base, list(map(len, prompts))
        wide = max(lengths)
        room += -(wide + room) % _EIGHT
        cache = DynamicCache()
        states, logits = packed(base, prompts, cache)
        self.states, self.logits = states.repeat_interleave(n, 0), logits.repeat_interleave(n, 0)
        self.positions = torch.tensor(lengths, device=base.device).repeat_interleave(n)[:, None]
        self.drawn = torch.zeros_like(self.positions)
        self.taken, self.end, self.rows = wide, wide + room, len(self.positions)
        self.columns = Columns(wide - self.positions, torch.tensor([wide], device=base.device))
        self.rooms = []
        for layer in cache.layers:
            self.rooms.append(Room(layer.keys[0], layer.values[0], lengths, n, room, self.columns))
            layer.keys = layer.values = None
        self.cache = Cache(layers=self.rooms)
        self.counted = "cache_position" in inspect.signature(base.trunk.forward).parameters
        self._shape()

    def keep(self, rows: Tensor) -> None:
        self.rows = len(rows)
        for room in self.rooms:
            room.keep(rows, self.taken)
        for of in (self.columns.first, self.positions):
            of[: self.rows] = of[rows]
        self.states, self.logits = self.states[rows], self.logits[rows]
        if 2 * self.rows <= len(self.positions):
            self._shape()

    def append(self, drawn: Tensor) -> None:
        """`states` and `logits` are the same tensors for every token: read them before the next."""
        self.drawn[: self.rows, 0] = drawn
        if self.taken == self.columns.long:
            self._shape()
        self._read()
        self.taken += 1
        self.columns.now += 1
        self.positions += 1
        self.states, self.logits = (said[: self.rows] for said in self.said)

    def _shape(self) -> None:
        """Begin again with as many rows as are left, and with room for the tokens to come. Nothing that was recorded holds."""
        columns = self.columns
        columns.first, self.positions, self.drawn = (
            of[: self.rows].clone() for of in (columns.first, self.positions, self.drawn)
        )
        columns.long = min(self.end, self.taken + _LONG - self.taken % _LONG)
        self.said = self.states.clone(), self.logits.clone()
        self.recorded: Launch | None = None
        self.read = 0

    def _read(self) -> None:
        """The first token is read by the step itself; with the second it is recorded. At the third, where everything that it
        should take from the device is another, what was recorded is held against the step, and only then relied on."""
        self.read += 1
        if self.read == 2 and self.base.record and self.columns.long - self.taken >= _WORTH:
            try:
                self.recorded = self.base.record(self._step)
            except RuntimeError as error:
                self._give_up(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
        if self.recorded is None:
            return self._step()
        self.recorded()
        if self.read == 3:
            got = self._left()
            self._step()
            gap = max(map(apart, got, self._left()))
            if not gap <= (1e-4 if got[0].dtype == torch.float32 else 0.02):
                self._give_up(f"it says something else: {gap:.2g}")
                raise Unfaithful  # who knows what it has written over

    def _left(self) -> list[Tensor]:
        """A copy of all that a step leaves: what it says, and the column that it has written."""
        written = (whole[: self.rows, :, self.taken] for room in self.rooms for whole in room.whole)
        return [of.clone() for of in (*(said[: self.rows] for said in self.said), *written)]

    def _give_up(self, reason: str) -> None:
        self.recorded = self.base.record = None
        log.warning("%s: its step cannot be recorded as one launch (%s); tokens are written kernel by kernel, with the same "
                    "results, slower", type(self.base.model).__name__, reason)  # fmt: skip

    def _step(self) -> None:
        """Read `drawn`. The same again if called again: it moves nothing on."""
        inputs = {"input_ids": self.drawn, "position_ids": self.positions, "attention_mask": None, "columns": self.columns}
        if self.counted:  # an older transformers that is not told asks the cache how much was read
            inputs["cache_position"] = self.columns.now
        read = last(self.base, inputs | {"past_key_values": self.cache, "use_cache": True})
        for said, of in zip(self.said, read, strict=True):
            said.copy_(of)
        self.columns.masks.clear()  # made in the memory of a recording, which is written over


def graph(step: Launch) -> Launch:
    """A CUDA graph of the step. Before it is recorded, the step is run on the same stream, where cuBLAS then has its workspace,
    and run again with an error for whatever waits for the device: a recording that such a thing cuts short would leave torch's
    allocator in a state that it does not recover from (pytorch #180395)."""
    aside, mode = _aside(torch.cuda.current_device()), torch.cuda.get_sync_debug_mode()
    aside.wait_stream(torch.cuda.current_stream())
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.stream(aside):  # `torch.cuda.graph` does not leave its stream where a recording fails
        step()
        torch.cuda.set_sync_debug_mode("error")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
        with torch.cuda.graph(recorded, stream=aside, capture_error_mode="thread_local"):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    return recorded.replay


@lru_cache
def _aside(device: int) -> torch.cuda.Stream:
    """One stream for all recordings: cuBLAS keeps a workspace for each."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def apart(got: Tensor, wanted: Tensor) -> float:
    """How far off the worst row is, as a share of its length."""
    return float(((got - wanted).float().norm(dim=-1) / wanted.float().norm(dim=-1).clamp(min=1e-6)).max())
