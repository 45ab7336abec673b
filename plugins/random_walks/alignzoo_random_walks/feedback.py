"""Feedback: the thousand walks as they are, or rated; or the policy's own walks, two by two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_types import Ge

from alignzoo.interfaces import Asking, Share
from alignzoo.records import Comparison, Completion, Demonstration, Feedback, Prompt, Provenance, Rating
from alignzoo_random_walks.walks import GOAL, Game, game

Kind = Literal["walks", "ratings", "pairs"]
GIVES = {"walks": "demonstration", "ratings": "rating", "pairs": "comparison"}


class CollectError(ValueError):
    """Feedback that cannot be collected as it was asked for."""


@dataclass(frozen=True)
class RandomWalksFeedback:
    """No walk is judged wrongly: the better of two is the one with the higher optimality."""

    kind: Kind = "walks"
    """What is collected: the walks as demonstrations, the walks rated by their optimality, or pairs of the policy's own walks,
    the better one chosen (which teach KTO, too: as one good and one bad walk)."""
    least: Share = 0.0
    """Leave out walks worth less than this; 1 keeps only the shortest ones."""
    pairs: Annotated[int, Ge(1)] = 4000
    """With `kind = "pairs"`: how many are drawn. Those of equal worth, some two fifths, are dropped."""
    game: Annotated[int, Ge(0)] = 1000
    """The seed of the graph and its walks."""

    def __post_init__(self) -> None:
        if self.least and self.kind == "pairs":
            raise ValueError('least leaves out walks of the thousand; kind = "pairs" has the policy write its own')

    @property
    def gives(self) -> tuple[str, ...]:
        """The kind of record."""
        return (GIVES[self.kind],)

    @property
    def asks(self) -> tuple[str, ...]:
        """A policy where it writes the walks."""
        return ("policy",) if self.kind == "pairs" else ()

    def collect(self, asking: Asking) -> Iterator[Feedback]:
        """Yield the records, in the order of the walks or start by start."""
        played = game(self.game)
        where = Provenance("random-walks", licence="Apache-2.0", note=f"game {self.game}")
        if self.kind == "pairs":
            yield from self._pairs(asking, played, where)
            return
        for walk in played.walks:
            worth = played.optimality(walk)
            if worth < self.least:
                continue
            prompt, reply = parted(walk)
            if self.kind == "walks":
                yield Demonstration(prompt, reply, where)
            else:
                yield Rating(prompt, reply, worth, provenance=where)

    def _pairs(self, asking: Asking, played: Game, where: Provenance) -> Iterator[Comparison]:
        """As many pairs from each start, or one more from the first ones."""
        if asking.policy is None:
            raise CollectError('no policy to write the pairs; give one, or set kind = "walks" or "ratings"')
        prompts = [Prompt.ask(start) for start in played.starts]
        manner = replace(asking.manner, seed=(asking.manner.seed + 1_000_003 * (asking.seed + 1)) % 2**31)
        each, more = divmod(self.pairs, len(prompts))
        groups = asking.policy.sample(prompts, 2 * (each + (more > 0)), manner)
        for place, (prompt, group) in enumerate(zip(prompts, groups, strict=True)):
            for first in range(0, 2 * (each + (place < more)), 2):
                worse, better = sorted(group[first : first + 2], key=lambda reply: played.optimality(prompt.text + reply.text))
                if played.optimality(prompt.text + worse.text) < played.optimality(prompt.text + better.text):
                    yield Comparison(prompt, better, worse, provenance=where)


def parted(walk: str) -> tuple[Prompt, Completion]:
    """The first letter is the prompt, the rest the reply, which ends only if it arrives: what was cut chose no end."""
    return Prompt.ask(walk[0]), Completion(walk[1:], finished=walk[-1] == GOAL)
