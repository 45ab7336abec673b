"""What a round has kept, and how far it is learned: it survives an update, for the policy that wrote it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from alignzoo.interfaces import Metrics
from alignzoo.learning.memory import State, track
from alignzoo.records import Demonstration, completion_from_row, completion_to_row, prompt_from_row, prompt_to_row


class Harvest:
    """Deals a round's answers in batches, newly shuffled each epoch. They are the policy's own and cost no label."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.kept: list[Demonstration] = []
        self.told: Metrics = {}
        self.round, self.dealt = 0, 0
        track(self)

    def bring(self, kept: Sequence[Demonstration], told: Metrics) -> None:
        """Begin the next round with these."""
        self.kept, self.told = list(kept), told
        self.round, self.dealt = self.round + 1, 0

    def unlearned(self, epochs: int, size: int) -> bool:
        """Whether batches of so many are still to be dealt in this round."""
        return self.dealt < epochs * -(-len(self.kept) // size)

    def deal(self, size: int) -> list[Demonstration]:
        """The next batch."""
        epoch, place = divmod(self.dealt, -(-len(self.kept) // size))
        order = Random(f"{self.seed}/{self.round}/{epoch}").sample(range(len(self.kept)), len(self.kept))
        self.dealt += 1
        return [self.kept[i] for i in order[place * size : (place + 1) * size]]

    def state(self) -> State:
        rows = [[prompt_to_row(shown.prompt), completion_to_row(shown.completion)] for shown in self.kept]
        return {"round": self.round, "dealt": self.dealt, "kept": rows, "told": self.told}

    def restore(self, state: State) -> None:
        self.kept = [Demonstration(prompt_from_row(asked), completion_from_row(said)) for asked, said in state["kept"]]
        self.round, self.dealt, self.told = state["round"], state["dealt"], state["told"]
