"""The three kinds of judgement that a reward can be learned from, behind one face: what is kept of a lesson, how it becomes
trees, what each tree's loss is, and which pairs tell right from wrong on held-out prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from alignzoo.interfaces import Lesson, LessonError, Metrics
from alignzoo.model.forest import Forest
from alignzoo.records import Comparison, Ranking, Rating, comparisons_of_ratings, pairs_of_ranking
from alignzoo_reward_model.losses import Pairs, bradley_terry, class_weights, off_centre, squared, thumb

if TYPE_CHECKING:
    from alignzoo.model.base import Base


@dataclass(frozen=True)
class Terms:
    """What is added to the likelihood of pairs."""

    margin: float = 0.0
    centring: float = 0.0


class Judgements(Protocol):
    """Judgements of one kind."""

    @property
    def records(self) -> Sequence[Any]:
        """Those that something can be learned from."""
        ...

    @property
    def facts(self) -> Metrics:
        """What a reader should know of them."""
        ...

    def forest(self, records: Sequence[Any], base: Base) -> Forest:
        """One tree for each record, with the notes that its loss needs."""
        ...

    def losses(self, scores: Tensor, forest: Forest) -> Tensor:
        """(trees, members)"""
        ...

    def told(self, scores: Tensor, forest: Forest) -> dict[str, Tensor]:
        """What to tell of a batch, by the mean of the members."""
        ...

    def pairs(self, records: Sequence[Any]) -> tuple[Comparison, ...]:
        """What the scores of these records are tried on."""
        ...

    def choices(self, records: Sequence[Any]) -> tuple[Comparison, ...]:
        """What one person each chose: where two chose between the same answers, they agreed or not."""
        ...


@dataclass(frozen=True)
class Comparisons:
    """One pair a tree, with soft labels and ties by strength."""

    records: Sequence[Comparison]
    terms: Terms

    @classmethod
    def of(cls, records: Sequence[Comparison], terms: Terms) -> Comparisons:
        if all(pair.tie for pair in records):
            raise LessonError(f"all {len(records)} comparisons to learn from are ties (strength 0.5): they prefer nothing")
        return cls(records, terms)

    @property
    def facts(self) -> Metrics:
        return {}

    def forest(self, records: Sequence[Comparison], base: Base) -> Forest:
        return base.text.pairs(records, base.device)

    def losses(self, scores: Tensor, forest: Forest) -> Tensor:
        """Chosen comes before rejected in every tree."""
        better, worse = scores[0::2], scores[1::2]
        losses = bradley_terry(better - worse, forest.notes["strength"][:, None], self.terms.margin)
        return losses + self.terms.centring * off_centre(better, worse)

    def told(self, scores: Tensor, forest: Forest) -> dict[str, Tensor]:
        return _told_of_pairs(scores[0::2], scores[1::2], forest.notes["strength"] != 0.5)

    def pairs(self, records: Sequence[Comparison]) -> tuple[Comparison, ...]:
        return tuple(records)

    def choices(self, records: Sequence[Comparison]) -> tuple[Comparison, ...]:
        return tuple(records)


@dataclass(frozen=True)
class Rankings:
    """All C(K, 2) pairs of a ranking are one tree and one entry of the loss (Ouyang et al. 2022, eq. 1)."""

    records: Sequence[Ranking]
    terms: Terms
    dropped: int = 0
    """Rankings in which all answers are tied."""

    @classmethod
    def of(cls, records: Sequence[Ranking], terms: Terms) -> Rankings:
        kept = [ranking for ranking in records if len(set(ranking.ranks)) > 1]
        if not kept:
            raise LessonError(f"none of the {len(records)} rankings to learn from puts one answer above another: all are tied")
        return cls(kept, terms, len(records) - len(kept))

    @property
    def facts(self) -> Metrics:
        return {"dropped_rankings": float(self.dropped)} if self.dropped else {}

    def forest(self, records: Sequence[Ranking], base: Base) -> Forest:
        forest = base.text.replies([r.prompt for r in records], [r.completions for r in records], base.device)
        ranks = torch.tensor([rank for ranking in records for rank in ranking.ranks], device=base.device)
        return forest.attach(replies={"rank": ranks})

    def losses(self, scores: Tensor, forest: Forest) -> Tensor:
        pairs = Pairs.of(forest.replies["rank"], forest.tree)
        better, worse = scores[pairs.better], scores[pairs.worse]
        losses = bradley_terry(better - worse, torch.ones_like(better))
        return pairs.mean_per_tree(losses + self.terms.centring * off_centre(better, worse))

    def told(self, scores: Tensor, forest: Forest) -> dict[str, Tensor]:
        pairs = Pairs.of(forest.replies["rank"], forest.tree)
        better, worse = scores[pairs.better], scores[pairs.worse]
        return _told_of_pairs(better, worse, torch.ones(len(better), dtype=torch.bool, device=better.device))

    def pairs(self, records: Sequence[Ranking]) -> tuple[Comparison, ...]:
        return tuple(pair for ranking in records for pair in pairs_of_ranking(ranking))

    def choices(self, records: Sequence[Ranking]) -> tuple[Comparison, ...]:
        return self.pairs(records)


@dataclass(frozen=True)
class Ratings:
    """One answer a tree. Thumbs (all scores within 0 and 1) are classified, each class with its weight; other scores are
    brought to mean 0 and deviation 1 within their source and value, and met by least squares."""

    records: Sequence[Rating]
    scales: Mapping[tuple[str, str], tuple[float, float]]
    """Mean and deviation of each source and value; none for thumbs."""
    weights: tuple[float, float]
    """Of thumbs up and down."""

    @classmethod
    def of(cls, records: Sequence[Rating], terms: Terms) -> Ratings:
        scores = [rating.score for rating in records]
        thumbs = all(0 <= score <= 1 for score in scores)
        groups: dict[tuple[str, str], list[float]] = {}
        for rating in records:
            groups.setdefault(("", "") if thumbs else _scale_of(rating), []).append(rating.score)
        if all(len(set(given)) == 1 for given in groups.values()):
            raise LessonError(
                f"every score to learn from is the same on its scale ({scores[0]:g}): there is nothing to tell apart"
            )
        if thumbs:
            return cls(records, {}, class_weights(torch.tensor(scores, dtype=torch.float64)))
        return cls(records, {scale: (fmean(given), pstdev(given) or 1.0) for scale, given in groups.items()}, (1.0, 1.0))

    @property
    def facts(self) -> Metrics:
        if self.scales:
            return {}
        return {"weight_up": self.weights[0], "weight_down": self.weights[1]}

    def forest(self, records: Sequence[Rating], base: Base) -> Forest:
        forest = base.text.replies([r.prompt for r in records], [[r.completion] for r in records], base.device)
        return forest.attach(replies={"wanted": torch.tensor([self._wanted(r) for r in records], device=base.device)})

    def _wanted(self, rating: Rating) -> float:
        mean, deviation = self.scales.get(_scale_of(rating), (0.0, 1.0))
        return (rating.score - mean) / deviation

    def losses(self, scores: Tensor, forest: Forest) -> Tensor:
        wanted = forest.replies["wanted"][:, None]
        return squared(scores, wanted) if self.scales else thumb(scores, wanted, *self.weights)

    def told(self, scores: Tensor, forest: Forest) -> dict[str, Tensor]:
        liked = forest.replies["wanted"] > (0.0 if self.scales else 0.5)
        return {"reward_liked": scores[liked], "reward_disliked": scores[~liked]}

    def pairs(self, records: Sequence[Rating]) -> tuple[Comparison, ...]:
        return comparisons_of_ratings(records)

    def choices(self, records: Sequence[Rating]) -> tuple[Comparison, ...]:
        return ()  # a pair of ratings was never one choice of one person


def _told_of_pairs(better: Tensor, worse: Tensor, untied: Tensor) -> dict[str, Tensor]:
    margins = (better - worse).detach().mean(1)
    right = (margins > 0).float() + 0.5 * (margins == 0)
    return {"accuracy": right[untied], "margin": margins}


def _scale_of(rating: Rating) -> tuple[str, str]:
    return rating.provenance.source, rating.value


KINDS: Mapping[str, Callable[[Sequence[Any], Terms], Judgements]] = {
    "comparisons": Comparisons.of,
    "rankings": Rankings.of,
    "ratings": Ratings.of,
}


def judgements_in(lesson: Lesson, on: str) -> Sequence[Any]:
    """The records of this kind in a lesson."""
    lesson.check((on,))
    found: Sequence[Any] = {"comparisons": lesson.comparisons, "rankings": lesson.rankings, "ratings": lesson.ratings}[on]
    return found
