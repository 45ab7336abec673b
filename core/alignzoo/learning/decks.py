"""Shuffled passes over feedback that can be resumed in the middle."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from alignzoo.learning.ledger import affordable, announce, charge
from alignzoo.learning.memory import MemoryLost, State, track
from alignzoo.records import Prompt

T = TypeVar("T")


class Deck(Generic[T]):
    """Deals records in batches, newly shuffled each epoch. Dealing a judgement for the first time costs one label; a prompt
    holds none. Where a budget has not enough labels left for a batch, it is cut; where it has none left within an update, what
    is paid for is dealt again."""

    def __init__(self, records: Sequence[T], size: int, epochs: int, seed: int, together: Sequence[Sequence[int]] = ()) -> None:
        """`together` are the places of records that are dealt in one batch where its end does not come between; every place
        is in one of them. Without it each record goes by itself."""
        self.records, self.size, self.seed = records, size, seed
        self.hands = together or [(place,) for place in range(len(records))]
        self.per_epoch = -(-len(records) // size)
        self.batches = epochs * self.per_epoch
        self.dealt = 0
        self.judged = any(not isinstance(record, Prompt) for record in records)
        self.paid, self.short = 0, False
        track(self)
        self._announce()

    @classmethod
    def rounds(cls, records: Sequence[T], size: int, rounds: int, seed: int) -> Deck[T]:
        """A deck that deals so many batches, however many epochs that takes."""
        deck = cls(records, size, 1, seed)
        deck.batches = rounds
        return deck

    def __len__(self) -> int:
        """How many batches there are in all."""
        return self.batches

    def order(self, epoch: int) -> list[int]:
        """The places of the records, as they are dealt in this epoch: so many at a time, a last batch may be smaller. What is
        dealt together does not lie together in its batch: all firsts come before all seconds."""
        hands = random.Random(f"{self.seed}/{epoch}").sample(self.hands, len(self.hands))
        dealt = [(turn, place) for hand in hands for turn, place in enumerate(hand)]
        batches = (dealt[first : first + self.size] for first in range(0, len(dealt), self.size))
        return [place for batch in batches for _, place in sorted(batch, key=lambda one: one[0])]

    def __iter__(self) -> Iterator[list[T]]:
        while self.dealt < len(self):
            epoch, place = divmod(self.dealt, self.per_epoch)
            order = self.order(epoch)
            places = order[place * self.size : (place + 1) * self.size]
            self.dealt += 1
            if self.judged and epoch == 0:
                places = self._bought(places, order)
            self._announce()
            yield [self.records[i] for i in places]

    def _bought(self, places: list[int], order: list[int]) -> list[int]:
        """Of a batch that nobody has paid for yet as much as there are labels left for."""
        room = affordable(len(places))
        self.short |= room < len(places)
        if not room and self.paid:
            return order[: self.paid][-self.size :]
        bought = places[: max(1, room)]
        charge(labels=len(bought))
        self.paid += len(bought)
        return bought

    def _announce(self) -> None:
        if self.judged:
            announce(self, self.dealt < self.per_epoch or self.short)

    def state(self) -> State:
        return {"dealt": self.dealt, "records": len(self.records)}

    def restore(self, state: State) -> None:
        if state["records"] != len(self.records):
            raise MemoryLost(
                f"the checkpoint was made with {state['records']} records, this run has {len(self.records)}: the feedback has "
                "changed; start a new run folder"
            )
        self.dealt = state["dealt"]
        self.paid = min(self.dealt * self.size, len(self.records))
