"""Our side of everything that learns from a fixed set of pairs: the public code and nothing else, watched by the same canaries
as in a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from models import Size, folder
from pairs import Lengths
from setting import Setting

from alignzoo.interfaces import Lesson, Metrics, Optimizer
from alignzoo.learning.canaries import Canaries, watching
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent
from alignzoo.learning.memory import remembering
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora, Quantization
from alignzoo.model.role import policy_on
from alignzoo.records import Comparison, Rating, ratings_of_comparison
from alignzoo_dpo.dpo import DPO
from alignzoo_dpo.orpo import ORPO
from alignzoo_dpo.simpo import SimPO
from alignzoo_kto.kto import KTO
from alignzoo_kto.thumbs import Pairs


def dpo(setting: Setting, epochs: int, descent: Descent) -> Optimizer:
    return DPO(beta=setting.beta, likelihood=0.0, batch_size=setting.batch, epochs=epochs, seed=setting.seed, descent=descent)


def ipo(setting: Setting, epochs: int, descent: Descent) -> Optimizer:
    """By the mean over each reply's tokens, as the peer has it."""
    return DPO(
        loss="ipo",
        per="token",
        beta=setting.beta,
        likelihood=0.0,
        batch_size=setting.batch,
        epochs=epochs,
        seed=setting.seed,
        descent=descent,
    )


def simpo(setting: Setting, epochs: int, descent: Descent) -> Optimizer:
    return SimPO(
        beta=setting.simpo_beta,
        gamma=setting.gamma,
        batch_size=setting.batch,
        epochs=epochs,
        seed=setting.seed,
        descent=descent,
    )


def orpo(setting: Setting, epochs: int, descent: Descent) -> Optimizer:
    """With the likelihood of the whole text, as the peer has it."""
    return ORPO(lam=setting.beta, over="text", batch_size=setting.batch, epochs=epochs, seed=setting.seed, descent=descent)


def kto(setting: Setting, epochs: int, descent: Descent, pairs: Pairs = "apart") -> Optimizer:
    """Each pair is two rated answers; z₀ is of the neighbour's, as the peer has it."""
    return KTO(
        beta=setting.beta,
        desirable=1.0,
        undesirable=1.0,
        baseline="neighbours",
        pairs=pairs,
        batch_size=2 * setting.batch,
        epochs=epochs,
        seed=setting.seed,
        descent=descent,
    )


METHODS: Mapping[str, Callable[[Setting, int, Descent], Optimizer]] = {
    "dpo": dpo,
    "ipo": ipo,
    "simpo": simpo,
    "orpo": orpo,
    "kto": kto,
    "kto-pairs": partial(kto, pairs="together"),
}


class Ours:
    """One training by an optimizer's `improve`, to be pulled update by update."""

    def __init__(
        self,
        size: Size,
        setting: Setting,
        pairs: Sequence[Comparison],
        epochs: int = 1,
        quantize: Quantization = "none",
        dtype: str = "float32",
        method: str = "dpo",
    ) -> None:
        how = Loading(quantize=quantize, dtype=dtype, device="cpu", template="plain")  # type: ignore[arg-type]
        self.base = Base.load(str(folder(size)), how, Lora(setting.rank, setting.alpha))
        self.policy = policy_on(self.base, setting.seed)
        self.trees = self.base.text.pairs(pairs).trees
        optimizer = METHODS[method](setting, epochs, Descent(lr=setting.lr, clip=setting.clip))
        self._run = ExitStack()
        self._run.enter_context(remembering(self.base))
        self._run.enter_context(watching(Canaries(self.base)))
        self._updates: Iterator[Metrics] = optimizer.improve(self.policy, Lesson(comparisons=pairs, ratings=thumbs(pairs)))

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


def thumbs(pairs: Sequence[Comparison]) -> list[Rating]:
    """Chosen and rejected of every pair, one after the other."""
    return [rating for pair in pairs for rating in ratings_of_comparison(pair)]


def order(setting: Setting, pairs: int, epochs: int = 1, method: str = "dpo") -> list[list[int]]:
    """Which pairs (for KTO, which of their ratings) each update is over, as our deck deals them; the peer is given the same."""
    each = 2 if method.startswith("kto") else 1
    couples = [(2 * pair, 2 * pair + 1) for pair in range(pairs)] if method == "kto-pairs" else ()
    return list(Deck(range(each * pairs), each * setting.batch, epochs, setting.seed, couples))
