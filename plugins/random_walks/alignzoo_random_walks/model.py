"""The model that plays: made where it is needed, and kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from alignzoo_random_walks.walks import game

SOURCES = ("cloning.py", "letters.py")
"""What a model is made by, beside the walks themselves: where one of these files changes, models are made anew."""


@dataclass(frozen=True)
class RandomWalksModel:
    """A GPT-2 of 1.5 million parameters, six layers of width 144. It has imitated the walks: trlX's PPO example, too, begins
    with a model pre-trained on them. Each seed is a base of its own; all methods of a seed begin with the same one."""

    game: Annotated[int, Ge(0)] = 1000
    """The seed of the graph and its walks."""
    epochs: Annotated[int, Ge(0)] = 20
    """Passes over the thousand walks, in batches of a hundred. 0 leaves the weights as they were drawn."""
    seed: Annotated[int, Ge(0)] = 0
    """Of the weights and of the order of the walks."""

    def folder(self) -> str:
        """The folder of the finished model. The first call makes it (about half a minute on one thread)."""
        home = shelf() / f"random-walks-{self.game}-{self.epochs}-epochs-seed-{self.seed}-{self._recipe()}"
        if not home.exists():
            from alignzoo_random_walks.cloning import clone

            draft = home.with_name(f"{home.name}.{os.getpid()}.part")
            shutil.rmtree(draft, ignore_errors=True)
            clone(self.game, self.epochs, self.seed, draft)
            try:
                os.replace(draft, home)
            except OSError:  # another process was quicker; what it made is the same
                shutil.rmtree(draft, ignore_errors=True)
        return str(home)

    def _recipe(self) -> str:
        here, shown = Path(__file__).parent, "\n".join(game(self.game).walks).encode()
        return hashlib.sha256(b"\0".join([shown, *((here / name).read_bytes() for name in SOURCES)])).hexdigest()[:8]


def shelf() -> Path:
    """Where finished models are kept: `alignzoo/` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alignzoo"
