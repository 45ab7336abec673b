"""The five heads of ILQL: twin Q, their slow targets, and V. They are float32 on whatever the trunk computes in, they are
saved beside the adapter, and they begin alike: a target grows from its Q's seed, so no copy is made and none is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alignzoo.model.role import Role
from alignzoo_ilql.asked import asked

SLOW = "_target"


@dataclass(frozen=True)
class Heads:
    """The heads on one role, asked together. The twins are heads of their own ("q1", "q2"), or the two halves of one ("q"),
    which then share all layers but the last."""

    role: Role

    @property
    def names(self) -> tuple[str, ...]:
        return ("q",) if "q" in self.role.heads else ("q1", "q2")

    @property
    def twins(self) -> int:
        """How many Qs one head holds."""
        return 2 // len(self.names)

    def asked(self, states: Tensor, actions: Tensor, *, sums: bool) -> tuple[Tensor, Tensor]:
        """(2, states) Q(s, a) of both twins, and the sum of both over all states of log Σ_a exp Q(s, a)."""
        told = [self._one(name, states, actions, sums) for name in self.names]
        taken, totals = zip(*told, strict=True)
        return torch.cat(taken), torch.stack(totals).sum()

    @torch.no_grad()
    def slow(self, states: Tensor, actions: Tensor) -> Tensor:
        """(states) Q̂ = min of the target twins at the actions."""
        return torch.cat([self._one(name + SLOW, states, actions, False)[0] for name in self.names]).amin(0)

    @torch.no_grad()
    def slow_all(self, states: Tensor) -> Tensor:
        """(states, vocabulary) The same for every action: for few states, such as those of the next tokens."""
        one, other = (q for name in self.names for q in self.role.head(name + SLOW)(states).chunk(self.twins, -1))
        return torch.minimum(one, other)

    @torch.no_grad()
    def slow_among(self, states: Tensor, actions: Tensor) -> Tensor:
        """(states, actions) The same for some actions of each state, whose rows alone are read."""
        values = []
        for name in self.names:
            hidden, last = _until_last(self.role.head(name + SLOW), states)
            for place in (actions + twin * (len(last.bias) // self.twins) for twin in range(self.twins)):
                rows = last.weight.index_select(0, place.flatten()).view(*place.shape, -1)  # five times as fast as [place]
                values.append(torch.baddbmm(last.bias[place][:, None], hidden[:, None], rows.mT)[:, 0])
        return torch.minimum(*values)

    def values(self, states: Tensor) -> Tensor:
        """(states) V(s)."""
        said: Tensor = self.role.head("v")(states)
        return said[:, 0]

    @torch.no_grad()
    def follow(self, alpha: float) -> None:
        """target ← α Q + (1 − α) target."""
        for name in self.names:
            pairs = zip(self.role.head(name + SLOW).parameters(), self.role.head(name).parameters(), strict=True)
            for slow, quick in pairs:
                slow.lerp_(quick, alpha)

    def _one(self, name: str, states: Tensor, actions: Tensor, sums: bool) -> tuple[Tensor, Tensor]:
        hidden, last = _until_last(self.role.head(name), states)
        return asked(hidden, last, actions, twins=self.twins, sums=sums)


def grown_on(role: Role, *, shared: bool, hidden: Sequence[int], seed: int) -> Heads:
    """Grow them. Without `hidden` widths there is one hidden layer, twice as wide as the model."""
    widths, vocabulary = tuple(hidden) or (2 * role.base.width,), role.base.vocabulary
    for number, name in enumerate(("q",) if shared else ("q1", "q2")):
        for fresh, trained in ((name, True), (name + SLOW, False)):
            role.grow(fresh, vocabulary * (2 if shared else 1), hidden=widths, seed=2 * seed + number, trained=trained)
    role.grow("v", hidden=widths, seed=2 * seed + 2**20)
    return Heads(role)


def _until_last(head: nn.Module, states: Tensor) -> tuple[Tensor, nn.Linear]:
    """What a head's last layer is given, and that layer."""
    *inner, last = head.children()
    for piece in inner:
        states = piece(states)
    assert isinstance(last, nn.Linear)  # no widths were asked for that leave a head without layers
    return states, last
