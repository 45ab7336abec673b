"""The masking policy of NLPO: what another policy would hardly write may not be written at all.

A mask is only right if everybody uses the same one: the sampler, which draws from what is left; the log-probabilities recorded,
those of the reference, and those of every later step, which are all taken among what was left. So the sets of tokens are
written down once, bit by bit, when the answers are there: an eighth of a byte for each answer token and word of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from alignzoo.interfaces import Manner
from alignzoo.learning.memory import State, track
from alignzoo.model import head
from alignzoo.model.forest import Forest
from alignzoo.model.role import Role
from alignzoo.model.sampling import narrowed
from alignzoo.model.steering import Sight
from alignzoo.records import Completion, Prompt

if TYPE_CHECKING:
    from alignzoo.model.base import Base


def likely(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    """(rows, vocabulary) The likeliest tokens, as many as it takes to hold the share `top_p` of all probability."""
    return narrowed(logits / temperature, Manner(top_p=top_p)).isfinite()


class Mask:
    """The masking policy π_ψ: a copy of the policy, made anew after every so many rounds."""

    def __init__(self, policy: Role, top_p: float, every: int) -> None:
        self.policy, self.top_p, self.every = policy, top_p, every
        self.age = self.copies = 0
        """Rounds since the last copy, and how many were made since the first."""
        self.role = self._copy()
        track(self)

    def steer(self, temperature: float, own: Sight, masking: Sight) -> Tensor:
        """(rows, vocabulary) The policy's logits where the masking policy finds the token likely, and nothing elsewhere."""
        return own.logits.masked_fill(~likely(masking.logits, temperature, self.top_p), -torch.inf)

    @torch.no_grad()
    def allowed(self, forest: Forest, temperature: float) -> Tensor:
        """(tokens, bytes) What could have been written in the place of each reply token. What was written is among it, even
        where rounding differs between the sampler and this pass."""
        base, targets = self.role.base, forest.targets[:, None]
        if not base.plain_head:
            return head.sealed(likely(self.role.spread(forest, temperature), 1.0, self.top_p).scatter(1, targets, True))
        pieces = head.chunks(self.role.read(forest).states, base.head)
        at = torch.split(targets, len(pieces[0]))
        found = [
            head.sealed(likely(base.head.logits(piece), temperature, self.top_p).scatter(1, written, True))
            for piece, written in zip(pieces, at, strict=True)
        ]
        return torch.cat(found)

    def round_over(self) -> None:
        """ψ ← θ after every so many rounds. No copy has the name of an earlier one: canaries watch that frozen roles stay as
        they are, and a resumed run takes up what its checkpoint holds under a name."""
        self.age += 1
        if self.age == self.every:
            self.age, self.copies, former = 0, self.copies + 1, self.role
            self.role = self._copy()
            self.role.base.dismiss(former.name)

    def _copy(self) -> Role:
        return self.policy.frozen(f"masking{self.copies}")

    def state(self) -> State:
        return {"age": self.age, "copies": self.copies}

    def restore(self, state: State) -> None:
        self.age, self.copies, first = state["age"], state["copies"], self.role
        if self.copies:
            first.base.dismiss(first.name)
            self.role = self._copy()


@dataclass(frozen=True)
class Masked:
    """A role that is held to what the mask allows."""

    role: Role
    mask: Mask

    @property
    def base(self) -> Base:
        return self.role.base

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        def steer(own: Sight, masking: Sight) -> Tensor:
            return self.mask.steer(manner.temperature, own, masking)

        return self.role.sample(prompts, n, manner, steer=steer, beside=(self.mask.role,))

    def logps(self, forest: Forest, temperature: float = 1.0) -> Tensor:
        """(tokens) log p of each reply token among those noted as `allowed` in its place."""
        return self.role.logps(forest, temperature, forest.tokens["allowed"])


def breadth(allowed: Tensor, vocabulary: int) -> float:
    """How many tokens are allowed, on average."""
    counts = [head.opened(piece, vocabulary).sum(1) for piece in torch.split(allowed, _AT_ONCE)]
    return float(torch.cat(counts).float().mean())


_AT_ONCE = 256
"""Answer tokens whose sets are opened at once, only to be counted."""
