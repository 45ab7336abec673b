"""How a policy may be steered as it writes: what there is to see of the next token, and what changes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class Sight(NamedTuple):
    """What one role sees of the token that is to be written next, row by row."""

    states: Tensor
    """(rows, width)"""
    logits: Tensor
    """(rows, vocabulary) In float32."""


@dataclass(frozen=True)
class Steer:
    """Changes the logits of the next token before it is drawn: `change(own, *others)` gives (rows, vocabulary), from what the
    writing role sees and what each of the adapters `beside` it sees of the same texts."""

    change: Callable[..., Tensor]
    beside: tuple[str | None, ...] = ()
