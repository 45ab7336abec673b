"""Shuffled passes over feedback that can be resumed in the middle."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from alignzoo.learning.ledger import charge
from alignzoo.learning.memory import MemoryLost, State, track
from alignzoo.records import Prompt

T = TypeVar("T")


class Deck(Generic[T]):
    """Deals records in batches, newly shuffled each epoch. Dealing a judgement for the first time costs one label; a prompt
    holds none."""

    def __init__(self, records: Sequence[T], size: int, epochs: int, seed: int) -> None:
        self.records, self.size, self.epochs, self.seed = records, size, epochs, seed
        self.dealt = 0
        track(self)

    def __len__(self) -> int:
        """How many batches there are in all."""
        return self.epochs * -(-len(self.records) // self.size)

    def __iter__(self) -> Iterator[list[T]]:
        per_epoch = -(-len(self.records) // self.size)
        while self.dealt < len(self):
            epoch, place = divmod(self.dealt, per_epoch)
            order = random.Random(f"{self.seed}/{epoch}").sample(range(len(self.records)), len(self.records))
            batch = [self.records[i] for i in order[place * self.size : (place + 1) * self.size]]
            self.dealt += 1
            charge(labels=sum(not isinstance(record, Prompt) for record in batch) if epoch == 0 else 0)
            yield batch

    def state(self) -> State:
        return {"dealt": self.dealt, "records": len(self.records)}

    def restore(self, state: State) -> None:
        if state["records"] != len(self.records):
            raise MemoryLost(
                f"the checkpoint was made with {state['records']} records, this run has {len(self.records)}: the feedback has "
                "changed; start a new run folder"
            )
        self.dealt = state["dealt"]
