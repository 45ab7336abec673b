"""What a run has spent, in the units that algorithms can be compared by."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING

import torch

from alignzoo.learning.choices import Budget as Budget  # stood here once
from alignzoo.model.meter import Meter

if TYPE_CHECKING:
    from alignzoo.model.base import Base


@dataclass
class Ledger:
    """Labels: distinct judgements dealt to the optimizer. Scores: answers that a reward was asked about. Tokens are those
    the base read (packed, each prompt once) and wrote; FLOPs are the base's by formula. Seconds are the training's own."""

    updates: int = 0
    labels: int = 0
    scores: int = 0
    read: int = 0
    written: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    peak_bytes: int = 0
    _most: float = field(default=math.inf, repr=False)
    """Labels that may be spent."""
    _undealt: dict[int, bool] = field(default_factory=dict, repr=False)
    _seen: Meter = field(default_factory=Meter, repr=False)
    _since: float = field(default_factory=time.monotonic, repr=False)

    @property
    def tokens(self) -> int:
        return self.read + self.written

    @property
    def paid(self) -> bool:
        """Whether every deck has dealt each judgement it holds: what comes is later epochs, which cost no label."""
        return bool(self._undealt) and not any(self._undealt.values())

    def settle(self, base: Base) -> None:
        """Take over what the base and the clock have counted since the last time."""
        meter, now = base.meter, time.monotonic()
        self.read += meter.read - self._seen.read
        self.written += meter.written - self._seen.written
        self.flops += meter.flops - self._seen.flops
        self.seconds += now - self._since
        self.peak_bytes = max(self.peak_bytes, peak_bytes(base.device))
        self._seen, self._since = Meter(meter.read, meter.written, meter.flops), now

    def begin(self, base: Base) -> None:
        """Count from now on."""
        self._seen, self._since = Meter(base.meter.read, base.meter.written, base.meter.flops), time.monotonic()

    def row(self) -> dict[str, float]:
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}

    @classmethod
    def from_row(cls, row: dict[str, float]) -> Ledger:
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in row.items() if name in known})  # type: ignore[arg-type]


def peak_bytes(device: torch.device) -> int:
    """The most memory held so far: by torch on a GPU, by the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


_current: ContextVar[Ledger | None] = ContextVar("ledger", default=None)


@contextmanager
def counting(ledger: Ledger, base: Base, labels: float | None = None) -> Iterator[Ledger]:
    """Within the block, labels and scores are charged to this ledger; so many labels are all that it can pay for."""
    token = _current.set(ledger)
    ledger._most = math.inf if labels is None else labels
    ledger.begin(base)
    try:
        yield ledger
    finally:
        ledger.settle(base)
        _current.reset(token)


def charge(*, labels: int = 0, scores: int = 0, seconds: float = 0.0) -> None:
    """Charge the running ledger, if there is one. Seconds pass by themselves: these are of work that was done elsewhere."""
    if (ledger := _current.get()) is not None:
        ledger.labels += labels
        ledger.scores += scores
        ledger.seconds += seconds


def affordable(labels: int) -> int:
    """How many of so many labels the running ledger can pay for."""
    ledger = _current.get()
    return labels if ledger is None else int(min(labels, max(0.0, ledger._most - ledger.labels)))


def announce(deck: object, undealt: bool) -> None:
    """Tell the running ledger whether a deck of judgements holds any that it has not dealt yet."""
    if (ledger := _current.get()) is not None:
        ledger._undealt[id(deck)] = undealt
