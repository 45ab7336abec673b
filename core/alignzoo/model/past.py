"""What has been read so far while replies are written: keys and values of every row, or, for a model whose memory is of another
kind (recurrent layers, convolutions), the rows themselves, which are then read anew for every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

if TYPE_CHECKING:
    from alignzoo.model.base import Base

Ids = Sequence[int]


class Past(Protocol):
    """One row for each reply that is still being written."""

    states: Tensor
    """(rows, width) The state that each row's next token is written from."""
    logits: Tensor
    """(rows, vocabulary) Of that token, in float32."""

    def repeat(self, n: int) -> None:
        """Begin n replies to each prompt."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone."""
        ...

    def append(self, drawn: Tensor) -> None:
        """Read the token that was drawn for each row."""
        ...


def read(base: Base, prompts: Sequence[Ids]) -> Past:
    """Read the prompts, in the way that this model was proven to bear."""
    return Cached(base, prompts) if base.caches else Reread(base, prompts)


class Cached:
    """Keys and values are kept."""

    def __init__(self, base: Base, prompts: Sequence[Ids]) -> None:
        self.base, self.cache = base, DynamicCache()
        wide = max(map(len, prompts))
        ids = torch.tensor([[0] * (wide - len(row)) + list(row) for row in prompts], device=base.device)
        lengths = torch.tensor(list(map(len, prompts)), device=base.device)
        self.real = torch.arange(wide, device=base.device) >= wide - lengths[:, None]
        self.states, self.logits = self._read(ids)

    def repeat(self, n: int) -> None:
        self.cache.batch_repeat_interleave(n)
        self.states, self.logits, self.real = (x.repeat_interleave(n, 0) for x in (self.states, self.logits, self.real))

    def keep(self, rows: Tensor) -> None:
        self.cache.batch_select_indices(rows)
        self.real = self.real[rows]

    def append(self, drawn: Tensor) -> None:
        self.real = torch.cat([self.real, self.real.new_ones(len(drawn), 1)], 1)
        self.states, self.logits = self._read(drawn[:, None])

    def _read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        base, count = self.base, ids.shape[1]
        positions = (self.real.cumsum(1) - 1).clamp(min=0)[:, -count:]
        inputs: dict[str, Any] = {"input_ids": ids, "past_key_values": self.cache, "use_cache": True}
        if base.packs:
            inputs |= {"position_ids": positions, "attention_mask": _seen(self.real, count)}
        else:
            inputs |= {"attention_mask": self.real.long()} | ({"position_ids": positions} if base.positions else {})
        if base.plain_head:
            states = base.trunk(**inputs).last_hidden_state[:, -1]
            return states, base.head.logits(states)
        out = base.model(**inputs, logits_to_keep=1, output_hidden_states=True)
        return out.hidden_states[-1][:, -1], out.logits[:, -1].float()


class Reread:
    """Nothing is kept but the rows: padded on the right, where no causal model looks."""

    def __init__(self, base: Base, prompts: Sequence[Ids]) -> None:
        self.base = base
        self.rows = [list(row) for row in prompts]
        self.states, self.logits = self._read()

    def repeat(self, n: int) -> None:
        self.rows = [list(row) for row in self.rows for _ in range(n)]
        self.states, self.logits = (x.repeat_interleave(n, 0) for x in (self.states, self.logits))

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


def _seen(real: Tensor, count: int) -> Tensor | None:
    """(rows, 1, count, columns) What each of the last `count` columns may look at; None where nothing is padded."""
    if bool(real.all()):
        return None
    columns = real.shape[1]
    causal = torch.ones(columns, columns, dtype=torch.bool, device=real.device).tril()[-count:]
    itself = torch.eye(columns, dtype=torch.bool, device=real.device)[-count:]  # a padded query must look at something
    return (causal & real[:, None, None, :]) | itself
