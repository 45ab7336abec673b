"""Candidates that are worth a judgement: a source that asks about a policy's answers gets those that an acquisition chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignzoo.interfaces import Acquisition, Manner, Policy
from alignzoo.records import Completion, Prompt


class AcquisitionError(ValueError):
    """An acquisition that does not choose what it was asked for."""


@dataclass(frozen=True)
class Choosing:
    """A policy that writes more answers than are asked of it, and gives those that the acquisition chooses."""

    policy: Policy
    acquisition: Acquisition

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        groups = self.policy.sample(prompts, n * self.acquisition.candidates, manner)
        return [self._chosen(prompt, group, n) for prompt, group in zip(prompts, groups, strict=True)]

    def _chosen(self, prompt: Prompt, group: Sequence[Completion], n: int) -> list[Completion]:
        places = list(self.acquisition.choose(prompt, group, n))
        if len(places) != n or len(set(places)) != n or not all(0 <= place < len(group) for place in places):
            name = type(self.acquisition).__name__
            raise AcquisitionError(f"{name} chose {places}; it was to give {n} different places of {len(group)} candidates")
        return [group[place] for place in places]
