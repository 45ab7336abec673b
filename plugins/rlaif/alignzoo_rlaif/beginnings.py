"""What a judge's sheets have in common is read once: instructions, principle, question. Which beginning that is need not be
told; it is found in the ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from alignzoo.model.forest import Ids, Tree, per_reply, plant
from alignzoo.model.prefix import Prefix
from alignzoo.model.role import Role

_KEPT = 16
"""Beginnings that are remembered: as many principles as may take turns."""

PACKED = 8192
"""Tokens in one forward pass."""


@dataclass
class Beginnings:
    """The beginnings that a role has read, the latest used last. The role must never move."""

    role: Role
    kept: list[Prefix] = field(default_factory=list)

    def ends(self, texts: Sequence[Ids]) -> Tensor:
        """(texts, width) The state that has read all of each text."""
        prefix = self._serving(texts)
        if prefix is None:
            whole = [[Tree(text[:-1], (text[-1:],)) for text in part] for part in parts(texts)]
            return torch.cat([self.role.ends(plant(trees, self.role.base.device)) for trees in whole])
        rests = [text[len(prefix.ids) :] for text in texts]
        return torch.cat([prefix.ends(part) for part in parts(rests)])

    def sums(self, texts: Sequence[Ids], answers: Sequence[Sequence[Ids]]) -> Tensor:
        """(texts, answers) log p of all tokens of each answer to each text."""
        prefix = self._serving(texts)
        known = len(prefix.ids) if prefix else 0
        trees = [Tree(text[known:], tuple(own)) for text, own in zip(texts, answers, strict=True)]
        logps = prefix.logps if prefix else self.role.logps
        with torch.no_grad():
            told = [per_reply(logps(piece), piece) for piece in plant(trees, self.role.base.device).split(PACKED)]
        return torch.cat(told).view(len(texts), -1)

    def _serving(self, texts: Sequence[Ids]) -> Prefix | None:
        """A beginning of all these texts: one that was read before, or all that they share, whichever leaves less to read. None
        where they share nothing, or the model's beginnings cannot be kept."""
        base = self.role.base
        most = min(map(len, texts)) - 1  # something is left to read of each
        shared = texts[0][: min(most, min(agreed(texts[0], text) for text in texts))]
        if not shared or not base.prefixes:
            return None
        best = max(self.kept, key=lambda kept: agreed(kept.ids, shared), default=None)
        known = agreed(best.ids, shared) if best else 0
        if best and len(texts) * known >= max(len(texts) - 1, 0.5) * len(shared):
            prefix = best.until(known)
        else:
            prefix = Prefix(base, self.role.worn, shared)
        self.kept = [*(kept for kept in self.kept if kept is not prefix), prefix][-_KEPT:]
        return prefix


def agreed(one: Ids, other: Ids) -> int:
    """How many ids two texts have in common at their beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def parts(texts: Sequence[Ids]) -> list[list[Ids]]:
    """As many texts at a time as fit into one pass."""
    found: list[list[Ids]] = [[]]
    for text in texts:
        if found[-1] and sum(map(len, found[-1])) + len(text) > PACKED:
            found.append([])
        found[-1].append(text)
    return found
