"""Our reward model: the public code and nothing else, watched by the same canaries as in a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from models import Size, folder
from pairs import Lengths
from setting import Setting

from alignzoo.interfaces import Lesson, Metrics
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.descent import Descent
from alignzoo.learning.memory import remembering
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.role import role_on
from alignzoo.records import Comparison
from alignzoo_reward_model.model import grow_heads
from alignzoo_reward_model.reward_model import RewardModel


class Ours:
    """One training by `RewardModel.improve`, to be pulled update by update. Nothing is held out: the peer holds out nothing."""

    def __init__(self, size: Size, setting: Setting, pairs: Sequence[Comparison], epochs: int = 1) -> None:
        how = Loading(quantize="none", dtype="float32", device="cpu", template="plain")
        self.base = Base.load(str(folder(size)), how, Lora(setting.rank, setting.alpha))
        self.role = role_on(self.base, "reward", seed=setting.seed)
        grow_heads(self.role, 1, setting.seed)
        self.trees = self.base.text.pairs(pairs).trees
        optimizer = RewardModel(
            held_out=0.0,
            samples=0,
            batch_size=setting.batch,
            epochs=epochs,
            seed=setting.seed,
            descent=Descent(lr=setting.lr, clip=setting.clip),
        )
        self._run = ExitStack()
        self._run.enter_context(remembering(self.base))
        self._run.enter_context(watching(Canaries(self.base)))
        self._updates: Iterator[Metrics] = optimizer.improve(self.role, Lesson(comparisons=pairs))

    def save(self, place: Path) -> torch.Tensor:
        """The adapter as it is now, for the peer to begin with; the weights of the head are returned."""
        self.role.save(place)
        return self.role.head("score").get_parameter("weight").detach().clone()

    @property
    def ids(self) -> list[dict[str, list[int]]]:
        """Of each pair, as it is really read: the peer is given the same."""
        rows = [[[*tree.prompt, *reply] for reply in tree.replies] for tree in self.trees]
        return [{"chosen_ids": chosen, "rejected_ids": rejected} for chosen, rejected in rows]

    @property
    def lengths(self) -> list[Lengths]:
        return [Lengths(len(tree.prompt), *map(len, tree.replies)) for tree in self.trees]

    def pull(self, updates: int) -> list[Metrics]:
        return [next(self._updates) for _ in range(updates)]

    def close(self) -> None:
        self._run.close()
