"""From a log of ratings to thumbs up and down: what each score says, what is left out, and how much each side weighs.

A log is one-sided, repeats itself and contradicts itself. Repetitions and contradictions stay, for they are what people said,
and are counted; a score that says neither is counted and left out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch

from alignzoo.interfaces import LessonError, Metrics
from alignzoo.learning.decks import Deck
from alignzoo.model.forest import Forest
from alignzoo.records import Completion, Prompt, Rating

if TYPE_CHECKING:
    from alignzoo.model.base import Base

log = logging.getLogger("alignzoo")

Pairs = Literal["apart", "together"]
"""Whether the two thumbs of a pair are dealt each by chance, or together in one batch."""

MOST = 4 / 3
"""λ_D n_D / (λ_U n_U) is to be between 1 and this (Ethayarajh et al. 2024, eq. 9)."""

_OTHERWISE = "Answers that are all good can be learned from as demonstrations (sft)"


@dataclass(frozen=True)
class Thumb:
    """One answer and how far it is a thumb up: 1 up, 0 down, between them the probability of up."""

    prompt: Prompt
    completion: Completion
    up: float


@dataclass(frozen=True)
class Weights:
    """λ_D and λ_U: what an example of each side counts."""

    desirable: float
    undesirable: float


@dataclass(frozen=True)
class Thumbs:
    """All thumbs of a lesson."""

    records: Sequence[Thumb]
    neutral: int
    """Ratings that say neither, left out."""
    pairs: Pairs = "apart"

    @cached_property
    def prompts(self) -> list[str]:
        """The name of each record's prompt."""
        return [thumb.prompt.id for thumb in self.records]

    @property
    def ups(self) -> float:
        """n_D. An uncertain thumb counts on both sides, by its probability."""
        return sum(thumb.up for thumb in self.records)

    @property
    def downs(self) -> float:
        """n_U."""
        return len(self.records) - self.ups

    @property
    def contradicted(self) -> int:
        """Thumbs on answers that others judged the other way."""
        said: dict[tuple[str, str], set[bool]] = {}
        for thumb in self.records:
            said.setdefault(_answer(thumb), set()).add(thumb.up > 0.5)
        return sum(len(said[_answer(thumb)]) == 2 for thumb in self.records)

    @cached_property
    def hands(self) -> list[list[int]]:
        """The places of the records that are dealt together: each by itself, or two by two where two on one prompt follow each
        other."""
        found: list[list[int]] = []
        for place, prompt in enumerate(self.prompts):
            if self.pairs == "together" and found and len(found[-1]) == 1 and self.prompts[found[-1][0]] == prompt:
                found[-1].append(place)
            else:
                found.append([place])
        return found

    def deck(self, size: int, epochs: int, seed: int) -> Deck[int]:
        """Their places, shuffled."""
        return Deck(range(len(self.records)), size, epochs, seed, self.hands)

    def trees(self, places: Sequence[int]) -> list[list[int]]:
        """These places, those of one hand together, in the order in which each hand comes first."""
        found: dict[int, list[int]] = {}
        for place in places:
            found.setdefault(self._hand_of[place], []).append(place)
        return list(found.values())

    @cached_property
    def _hand_of(self) -> dict[int, int]:
        return {place: number for number, hand in enumerate(self.hands) for place in hand}

    def forest(self, places: Sequence[int], base: Base) -> Forest:
        """One tree for each hand of these records, with `up` as a note on its replies."""
        trees = self.trees(places)
        forest = self._grown(trees, [[self.records[place].completion for place in tree] for tree in trees], base)
        ups = [float(self.records[place].up) for tree in trees for place in tree]
        return forest.attach(replies={"up": torch.tensor(ups, device=base.device)})

    def strange(self, places: Sequence[int], others: Mapping[int, int], base: Base) -> Forest:
        """The same prompts, each with the answers of the records that are named for its own."""
        trees = self.trees(places)
        return self._grown(trees, [[self.records[others[place]].completion for place in tree] for tree in trees], base)

    def _grown(self, trees: Sequence[Sequence[int]], replies: Sequence[Sequence[Completion]], base: Base) -> Forest:
        return base.text.replies([self.records[tree[0]].prompt for tree in trees], replies, base.device)

    def weights(self, desirable: float | None, undesirable: float | None) -> Weights:
        """Those that were set (one that was not is 1), or, where none was, the smaller side raised as far as it takes."""
        if desirable is None and undesirable is None:
            return balanced(self.ups, self.downs)
        return Weights(1.0 if desirable is None else desirable, 1.0 if undesirable is None else undesirable)

    def facts(self, weights: Weights) -> Metrics:
        """For the figures of every update."""
        return {
            "ups": self.ups,
            "downs": self.downs,
            "neutral": float(self.neutral),
            "weight_up": weights.desirable,
            "weight_down": weights.undesirable,
        }

    def announce(self, weights: Weights) -> None:
        """Say once what is learned from, and whether one side outweighs the other."""
        ratio = weights.desirable * self.ups / (weights.undesirable * self.downs) if weights.undesirable else float("inf")
        told = f"{self.ups:g} thumbs up with weight {weights.desirable:.4g}, {self.downs:g} down with {weights.undesirable:.4g}"
        told += f"; {self.neutral} neutral left out" if self.neutral else ""
        told += f"; {self.contradicted} contradicted by another" if self.contradicted else ""
        if not 0.999 <= ratio <= MOST * 1.001:
            told += f"; up outweighs down {ratio:.3g} times, and between 1 and 4/3 is advised: see desirable and undesirable"
        log.warning(told)


def thumbs_in(ratings: Sequence[Rating], threshold: float | None, pairs: Pairs = "apart") -> Thumbs:
    """What each rating says. Without a threshold a score is the probability of a thumb up, and one half says neither; with one,
    what lies above is up, below down, and on it neither."""
    scores = [rating.score for rating in ratings]
    if not scores:
        raise LessonError("there is no rating to learn from")
    low, high = min(scores), max(scores)
    if low == high:
        raise LessonError(f"all {len(scores)} ratings are {low:g}: there is nothing to tell apart. {_OTHERWISE}")
    if threshold is None and not 0 <= low < high <= 1:
        raise LessonError(
            f"the scores run from {low:g} to {high:g}, and a thumb is 1 (up) or 0 (down): set threshold to the score above "
            "which an answer is good"
        )
    found = [Thumb(rating.prompt, rating.completion, _up(rating.score, threshold)) for rating in ratings]
    kept = tuple(thumb for thumb in found if thumb.up != 0.5)
    ups = sum(thumb.up > 0.5 for thumb in kept)
    if not 0 < ups < len(kept):
        side = f"are all thumbs {'up' if ups else 'down'}" if kept else "are all neutral"
        raise LessonError(
            f"the ratings (from {low:g} to {high:g}, threshold {0.5 if threshold is None else threshold:g}) {side}: both sides "
            f"are needed. Move the threshold, or gather other ratings. {_OTHERWISE}"
        )
    return Thumbs(kept, len(found) - len(kept), pairs)


def balanced(ups: float, downs: float) -> Weights:
    """The weights nearest to 1 with λ_D n_D / (λ_U n_U) between 1 and 4/3; it is the smaller side that is raised."""
    ratio = ups / downs
    if ratio < 1:
        return Weights(1 / ratio, 1.0)
    return Weights(1.0, max(1.0, ratio / MOST))


def _up(score: float, threshold: float | None) -> float:
    if threshold is None:
        return score
    return 0.5 if score == threshold else float(score > threshold)


def _answer(thumb: Thumb) -> tuple[str, str]:
    return thumb.prompt.id, thumb.completion.text
