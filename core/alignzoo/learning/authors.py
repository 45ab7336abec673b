"""Who wrote the answers that are learned from. An optimizer that has answers written and then learns from them means its
policy's own, in the distribution that it learns in; where somebody else wrote them (the reference, the bare base), or they were
drawn at another temperature, every ratio of probabilities is wrong and nothing says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from alignzoo.interfaces import Manner
from alignzoo.model.forest import Forest, Ids
from alignzoo.model.steering import Steer
from alignzoo.records import Completion, Prompt

if TYPE_CHECKING:
    from alignzoo.model.base import Base

_REMEMBERED = 50_000
"""Answers whose authors are kept in mind: some megabytes."""


@dataclass
class Authors:
    """Of every answer that was sampled lately: the adapters that have written it; None is the bare base."""

    wrote: dict[int, set[str | None]] = field(default_factory=dict)
    drawn: dict[int, tuple[float, ...]] | None = field(default_factory=dict)
    """With which log-probabilities; None once something has moved, and they are no longer what it would say itself."""

    @contextmanager
    def noting(self, base: Base) -> Iterator[None]:
        """Within the block, whoever samples is taken down."""
        own = base.sampler

        def write(
            base: Base, worn: str | None, prompts: Sequence[Prompt], n: int, manner: Manner, steer: Steer | None = None
        ) -> list[list[Completion]]:
            groups = own(base, worn, prompts, n, manner, steer)
            for prompt, group in zip(prompts, groups, strict=True):
                asked = base.text.prompt_ids(prompt)
                for reply in group:
                    self._note(_key(asked, reply.tokens), worn, reply.logps)
            return groups

        base.sampler = write
        try:
            yield
        finally:
            base.sampler = own

    def _note(self, key: int, worn: str | None, logps: tuple[float, ...]) -> None:
        if len(self.wrote) >= _REMEMBERED:
            del self.wrote[next(iter(self.wrote))]
        self.wrote.setdefault(key, set()).add(worn)
        if self.drawn is not None:
            self.drawn[key] = logps

    def strangers(self, batch: Forest, trained: Sequence[str | None]) -> tuple[int, int, set[str | None]]:
        """Of this batch's answers that were sampled here: how many, how many of them none of the trained wrote, and who did."""
        keys = (_key(tree.prompt, reply) for tree in batch.trees for reply in tree.replies)
        known = [self.wrote[key] for key in keys if key in self.wrote]
        foreign = [writers for writers in known if writers.isdisjoint(trained)]
        return len(known), len(foreign), set().union(*foreign)

    def astray(self, forest: Forest, logps: Tensor, tolerance: float) -> float | None:
        """By how many nats a token the log-probabilities that are learned from differ from those that answers were drawn with,
        where the batch holds on to these, in a note on its tokens, to compare with them. None where it does not."""
        places: list[int] = []
        drawn: list[float] = []
        start = 0
        for tree in forest.trees:
            for reply in tree.replies:
                if len(said := (self.drawn or {}).get(_key(tree.prompt, reply), ())) == len(reply):
                    places, drawn = [*places, *range(start, start + len(reply))], [*drawn, *said]
                start += len(reply)
        then, now = torch.tensor(drawn, device=logps.device), logps.detach()[places].float()
        for note in forest.tokens.values() if places else ():
            if note.dim() == 1 and note.is_floating_point() and float((note[places] - then).abs().mean()) <= tolerance:
                return float((now - note[places]).abs().mean())
        return None


def _key(prompt: Ids, reply: Ids) -> int:
    """By the end of its prompt alone: the beginning may be lost to the context."""
    return hash((tuple(prompt[-16:]), tuple(reply)))
