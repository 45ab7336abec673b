"""The task: every place where a walk may begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from alignzoo.records import Prompt
from alignzoo_random_walks.walks import game

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class RandomWalks:
    """A prompt is the letter of a node, the reply the walk that goes on from there. There are twenty, the same ones in every
    split; so few that a figure needs many answers to each (`answer.n`)."""

    closed: ClassVar[str] = "the prompts are all the places that there are to begin at"

    game: Annotated[int, Ge(0)] = 1000
    """The seed of the graph. 1002 is another game, which chance almost solves."""

    def prompts(self, split: str) -> Sequence[Prompt]:
        """All starts, in the order of the alphabet."""
        if split not in SPLITS:
            raise ValueError(f"no split is named '{split}'; there are {', '.join(SPLITS)}, and the same prompts in each")
        return tuple(map(Prompt.ask, game(self.game).starts))
