"""Our side: the public code and nothing else, watched by the same canaries as in a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from models import Size, folder
from pairs import Lengths
from setting import Setting

from alignzoo.interfaces import Lesson, Metrics
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent
from alignzoo.learning.memory import remembering
from alignzoo.model.base import Base
from alignzoo.model.loading import Loading, Quantization
from alignzoo.model.role import policy_on
from alignzoo.model.wardrobe import Lora
from alignzoo.records import Comparison
from alignzoo_dpo.dpo import DPO


class Ours:
    """One training by `DPO.improve`, to be pulled update by update."""

    def __init__(
        self,
        size: Size,
        setting: Setting,
        pairs: Sequence[Comparison],
        epochs: int = 1,
        quantize: Quantization = "none",
        dtype: str = "float32",
    ) -> None:
        how = Loading(quantize=quantize, dtype=dtype, device="cpu", template="plain")  # type: ignore[arg-type]
        self.base = Base.load(str(folder(size)), how, Lora(setting.rank, setting.alpha))
        self.policy = policy_on(self.base, setting.seed)
        self.trees = self.base.text.pairs(pairs).trees
        optimizer = DPO(
            beta=setting.beta,
            likelihood=0.0,  # the paper's loss, as the peer has it
            batch_size=setting.batch,
            epochs=epochs,
            seed=setting.seed,
            descent=Descent(lr=setting.lr, clip=setting.clip),
        )
        self._run = ExitStack()
        self._run.enter_context(remembering(self.base))
        self._run.enter_context(watching(Canaries(self.base)))
        self._updates: Iterator[Metrics] = optimizer.improve(self.policy, Lesson(comparisons=pairs))

    def save(self, place: Path) -> None:
        """The adapter as it is now, for the peer to begin with."""
        self.policy.save(place)

    @property
    def lengths(self) -> list[Lengths]:
        """Of each pair, as it is really read."""
        return [Lengths(len(tree.prompt), *map(len, tree.replies)) for tree in self.trees]

    def agree_on_ids(self, theirs: Callable[[int], tuple[tuple[int, ...], ...]]) -> None:
        """Raise if the other side reads a single token otherwise."""
        for row, tree in enumerate(self.trees):
            if theirs(row) != (tree.prompt, *tree.replies):
                raise AssertionError(f"pair {row} is tokenized differently: {theirs(row)} and {(tree.prompt, *tree.replies)}")

    def pull(self, updates: int) -> list[Metrics]:
        return [next(self._updates) for _ in range(updates)]

    def close(self) -> None:
        self._run.close()


def order(setting: Setting, count: int, epochs: int = 1) -> list[list[int]]:
    """Which pairs each update is over, as our deck deals them; the peer is given the same."""
    return list(Deck(range(count), setting.batch, epochs, setting.seed))
