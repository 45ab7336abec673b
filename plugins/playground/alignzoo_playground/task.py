"""The task: requests to learn on and, of other facts and in other words, requests to be judged on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, cast, get_args

from annotated_types import Ge

from alignzoo.records import Prompt
from alignzoo_playground.facts import Split
from alignzoo_playground.requests import Request, requests, wordings


class SplitError(ValueError):
    """A split that there is not."""


@dataclass(frozen=True)
class PlaygroundTask:
    """Prompts split by what they are about: a fact or a harm is in one split only, and so is every wording."""

    wordings_each: Annotated[int, Ge(1)] = 1
    """In how many wordings each request is asked (fewer where it has fewer)."""

    def prompts(self, split: str) -> Sequence[Prompt]:
        """The prompts of "train", "validation" or "test", shuffled so that any first part is a fair sample."""
        if split not in get_args(Split):
            raise SplitError(f"no split named '{split}'; the playground has {', '.join(get_args(Split))}")
        there = cast(Split, split)
        dice = Random(f"playground task/{there}")
        asked = [text for request in _chosen(there, dice) for text in self._ways(request, there, dice)]
        dice.shuffle(asked)
        return tuple(Prompt.ask(text) for text in asked)

    def _ways(self, request: Request, split: Split, dice: Random) -> list[str]:
        ways = list(wordings(request, split))
        dice.shuffle(ways)
        return ways[: self.wordings_each]


def _chosen(split: Split, dice: Random) -> list[Request]:
    """Every question and harm of a split; a check, true or false, of about half of its facts."""
    chosen = []
    for request in requests(split):
        if request.kind != "check" or dice.random() < 0.25:
            chosen.append(request)
    return chosen
