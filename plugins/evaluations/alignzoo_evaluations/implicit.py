"""The reward that a policy has become: r(x, y) = β log π(y|x)/π_ref(y|x), up to a constant of the prompt (DPO, eq. 5).

Any policy with log-probabilities has one, however it was trained; that it says anything of preferences is DPO's own claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import torch
from torch import Tensor

from alignzoo.model.forest import Forest, per_reply, plant
from alignzoo.model.role import Role
from alignzoo.records import Completion, Prompt

Per = Literal["sum", "mean"]


@dataclass(frozen=True)
class Implicit:
    """Scores answers by how much likelier they became."""

    policy: Role
    reference: Role
    beta: float = 1.0
    """β. It scales scores, and changes nobody's rank."""
    per: Per = "sum"
    """Over a whole reply, as DPO is trained, or for each of its tokens (length-normalised)."""
    at_once: int = 8192
    """The most packed tokens in one forward pass."""

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        """Answers to one prompt that follow one another share its reading, as the two sides of a pair do in training."""
        if not completions:
            return []
        text = self.policy.base.text
        runs = groupby(zip(prompts, completions, strict=True), key=lambda asked: asked[0])
        trees = [text.tree(prompt, [reply for _, reply in run]) for prompt, run in runs]
        forest = plant(trees, self.policy.base.device)
        with torch.no_grad():
            return [score for piece in forest.split(self.at_once) for score in self._scores(piece).tolist()]

    def _scores(self, piece: Forest) -> Tensor:
        moved = per_reply(self.policy.logps(piece) - self.reference.logps(piece), piece)
        return self.beta * (moved / piece.lengths if self.per == "mean" else moved)
