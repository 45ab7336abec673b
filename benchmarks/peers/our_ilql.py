"""Our ILQL: the public code and nothing else, watched by the same canaries as in a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from models import Size, folder
from setting import Setting

from alignzoo.interfaces import Lesson, Metrics
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent
from alignzoo.learning.memory import remembering
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.role import policy_on
from alignzoo.records import Rating
from alignzoo_ilql.episodes import Path as Walk
from alignzoo_ilql.heads import grown_on
from alignzoo_ilql.ilql import ILQL


class Ours:
    """One training by `ILQL.improve`, to be pulled update by update."""

    def __init__(self, size: Size, setting: Setting, ratings: Sequence[Rating], epochs: int, hidden: tuple[int, ...]) -> None:
        how = Loading(quantize="none", dtype="float32", device="cpu", template="plain")
        self.base = Base.load(str(folder(size)), how, Lora(setting.rank, setting.alpha))
        self.policy = policy_on(self.base, setting.seed)
        self.optimizer = ILQL(
            batch_size=setting.batch,
            epochs=epochs,
            seed=setting.seed,
            hidden=hidden,
            descent=Descent(lr=setting.lr, clip=setting.clip),
        )
        lesson = Lesson(ratings=ratings)
        self.walks: list[Walk] = self.optimizer.paths(lesson, self.base.text)
        deck = Deck(range(len(ratings)), setting.batch, epochs, setting.seed)
        self.batches: list[list[int]] = list(deck)
        self._run = ExitStack()
        self._run.enter_context(remembering(self.base))
        self._run.enter_context(watching(Canaries(self.base)))
        self._updates: Iterator[Metrics] = self.optimizer.improve(self.policy, lesson)

    def save(self, place: Path) -> dict[str, torch.Tensor]:
        """The adapter as it is now, for the peer to begin with; the heads that training will begin with are returned."""
        self.policy.save(place)
        grown_on(self.policy, shared=False, hidden=self.optimizer.hidden, seed=self.optimizer.seed)
        return {key: tensor.clone() for key, tensor in self.policy.heads.state_dict().items()}

    def pull(self, updates: int) -> list[Metrics]:
        return [next(self._updates) for _ in range(updates)]

    def close(self) -> None:
        self._run.close()
