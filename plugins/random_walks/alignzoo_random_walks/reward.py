"""The reward: how near a walk is to the shortest way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from alignzoo.records import Completion, Prompt
from alignzoo_random_walks.walks import game


@dataclass(frozen=True)
class Optimality:
    """Prompt and reply together are the walk. Whether the reply ended is not asked: trlX's measure does not ask it."""

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    game: Annotated[int, Ge(0)] = 1000
    """The seed of the graph."""

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        """The optimality of each walk, in [0, 1]."""
        worth = game(self.game).optimality
        return [worth(prompt.text + reply.text) for prompt, reply in zip(prompts, completions, strict=True)]
