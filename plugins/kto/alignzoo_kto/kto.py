"""Kahneman-Tversky Optimization (KTO), Ethayarajh et al. 2024, https://arxiv.org/abs/2402.01306.

People judge a gain or a loss against what they had. Here an answer's gain is its log-ratio ρ = log π(y|x)/π_ref(y|x), what they
had is z₀, the policy's divergence from the reference, and the value of a gain levels off on both sides (eq. 8):

    L = mean of λ_y − v(x, y),   v = λ_D σ(β(ρ − z₀)) for a thumb up,   λ_U σ(β(z₀ − ρ)) for a thumb down

z₀ = max(0, mean of log π(y'|x)/π_ref(y'|x)), with answers y' to other prompts; no gradient goes through it. It is measured once
for a whole batch, before anything moves, so micro-batches change nothing. Which y' meets x is settled in the first epoch, by
rotating its batches, and kept in later ones: the reference is asked about each such pair once, as about every other.

Left out: nothing. Added: a thumb may be uncertain and then counts on both sides; z₀ = 0 (APO-zero, unpaired: D'Oosterlinck
et al. 2024, https://arxiv.org/abs/2408.06266).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Annotated, ClassVar, Literal, Protocol

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from alignzoo.interfaces import Count, Lesson, LessonError, Metrics, Seed
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.intake import check_lesson
from alignzoo.learning.reference import Remembered
from alignzoo.limits import check_settings
from alignzoo.model.ahead import Ahead
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.role import Role
from alignzoo_kto.thumbs import Pairs, Thumbs, Weights, thumbs_in

Mismatch = Callable[[Sequence[int], Sequence[str]], list[int]]
"""(places of a batch, the prompt at every place of the data) → for each of the batch the place whose answer is its y'."""


class Says(Protocol):
    """A role, or one that has read its batch ahead."""

    def logps(self, forest: Forest) -> Tensor: ...


def losses_of(ratios: Tensor, up: Tensor, z0: Tensor, beta: float, weights: Weights) -> Tensor:
    """(replies) λ_y − v(x, y) (eq. 8): λ_D (1 − σ(β(ρ − z₀))) for a thumb up, λ_U (1 − σ(β(z₀ − ρ))) for one down."""
    gain = beta * (ratios - z0)
    return weights.desirable * up * torch.sigmoid(-gain) + weights.undesirable * (1 - up) * torch.sigmoid(gain)


def divergence(policy: Tensor, reference: Tensor) -> Tensor:
    """z₀ = max(0, mean of log π(y'|x) − log π_ref(y'|x)), from the summed log-probabilities of mismatched answers."""
    return (policy - reference).mean().clamp(min=0)


def reference_point(ahead: Ahead, met: Forest, reference: Tensor) -> Tensor:
    """z₀ of a batch, on the policy as it is, from the answers that meet its prompts and what the reference says of them."""
    return divergence(per_reply(ahead.others(met), met), reference)


def strangers(places: Sequence[int], prompts: Sequence[str]) -> list[int]:
    """The nearest before it, in the batch and round again, that answers another prompt; where the batch has none (a batch of
    one, or of one prompt), the nearest in the data."""
    found = []
    for at, place in enumerate(places):
        batch = (places[at - back] for back in range(1, len(places)))
        data = ((place - back) % len(prompts) for back in range(1, len(prompts)))
        found.append(next(other for other in chain(batch, data) if prompts[other] != prompts[place]))
    return found


def neighbours(places: Sequence[int], prompts: Sequence[str]) -> list[int]:
    """The one before it in the batch, whatever it answers."""
    return [places[at - 1] for at in range(len(places))]


MISMATCHES: Mapping[str, Mismatch] = {"strangers": strangers, "neighbours": neighbours}


@dataclass(frozen=True)
class KTO:
    needs: ClassVar[tuple[str, ...]] = ("ratings",)

    beta: Annotated[float, Gt(0)] = 0.1
    """β: how strongly the policy is held to the reference, and how soon a gain or loss is as large as it can be felt."""
    threshold: float | None = None
    """Scores above it are thumbs up, below it down; one that is equal says neither and is left out. Without it a score is the
    probability of a thumb up, between 0 and 1, and one half is left out."""
    desirable: Annotated[float, Ge(0)] | None = None
    """λ_D: what a thumb up counts. If neither weight is set, the smaller side is raised until λ_D n_D / (λ_U n_U) is between 1
    and 4/3; if one is, the other is 1."""
    undesirable: Annotated[float, Ge(0)] | None = None
    """λ_U: what a thumb down counts."""
    baseline: Literal["strangers", "neighbours", "none"] = "strangers"
    """Where z₀ comes from: answers to other prompts; the answer before it in the batch, whatever it answers (as in TRL, and the
    same where no prompt is twice in a batch); or nowhere, z₀ = 0 (APO-zero, unpaired). A row of MISMATCHES."""
    pairs: Pairs = "apart"
    """Two ratings of one prompt that follow each other, as those of a comparison do, are dealt each by chance, or in one batch,
    where their prompt is read once for both. The policy moves further then at the same rate."""
    batch_size: Count = 32
    """Ratings per update; z₀ is a mean over as many."""
    epochs: Count = 1
    """Passes over the ratings."""
    seed: Seed = 0
    """Order of the ratings."""
    descent: Descent = Descent(lr=5e-4, schedule="linear", warmup=5)
    """How the policy is moved."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.desirable == self.undesirable == 0:
            raise ValueError("desirable and undesirable are both 0: thumbs that count nothing teach nothing")

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        check_lesson(lesson, self.needs, policy.base.text)
        thumbs = thumbs_in(lesson.ratings, self.threshold, self.pairs)
        self.check_prompts(thumbs)
        self.check(thumbs)
        weights = thumbs.weights(self.desirable, self.undesirable)
        thumbs.announce(weights)
        facts = thumbs.facts(weights)
        reference = Remembered(policy.frozen(), self.descent.micro_tokens)
        deck = thumbs.deck(self.batch_size, self.epochs, self.seed)
        descend = self.descent.on(policy, updates=len(deck))
        others = self.mismatched(deck, thumbs.prompts)
        for places in deck:
            forest = thumbs.forest(places, policy.base)
            ahead = Ahead(policy, forest, self.descent.micro_tokens)
            if others:
                met = thumbs.strange(places, others, policy.base)
                known, met_known = reference.beside(forest, met)
                z0 = reference_point(ahead, met, met_known)
            else:
                known = reference(forest)
                z0 = known.new_zeros(())
            forest = forest.attach(replies={"reference": known, "z0": z0.expand(len(known))})
            told = descend(partial(self.loss, ahead, weights), forest)
            yield {**told, "z0": float(z0), **facts}

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def mismatched(self, deck: Deck[int], prompts: Sequence[str]) -> Mapping[int, int]:
        """Of each record the one whose answer is its y': by the batches in which they are first dealt, and for good."""
        if self.baseline == "none":
            return {}
        order = deck.order(0)
        batches = [order[first : first + self.batch_size] for first in range(0, len(order), self.batch_size)]
        met = MISMATCHES[self.baseline]
        return {place: other for batch in batches for place, other in zip(batch, met(batch, prompts), strict=True)}

    def loss(self, policy: Says, weights: Weights, forest: Forest) -> Loss:
        """Of each rated answer."""
        logps = per_reply(policy.logps(forest), forest)
        ratios = logps - forest.replies["reference"]
        up, z0 = forest.replies["up"], forest.replies["z0"]
        liked = up > 0.5
        lead = torch.where(liked, ratios - z0, z0 - ratios)
        return Loss.over(
            losses_of(ratios, up, z0, self.beta, weights),
            accuracy=(lead > 0).float() + 0.5 * (lead == 0),
            reward_up=self.beta * ratios[liked],
            reward_down=self.beta * ratios[~liked],
            logp_up=logps[liked],
            logp_down=logps[~liked],
            displacement=ratios[liked],
        )

    def check_feedback(self, lesson: Lesson) -> None:
        """Refuse thumbs that are all of one side, or that z₀ cannot be measured on."""
        self.check_prompts(thumbs_in(lesson.ratings, self.threshold))

    def check_prompts(self, thumbs: Thumbs) -> None:
        """Refuse thumbs on one prompt, whose answers no other prompt can meet."""
        if self.baseline == "strangers" and len(set(thumbs.prompts)) == 1:
            raise LessonError('all ratings are of one prompt, so no answer is mismatched; use baseline = "none"')

    def check(self, thumbs: Thumbs) -> None:
        """Refuse a batch of one, which has no neighbour. How many thumbs there are is known when none is left out any more."""
        if self.baseline == "neighbours" and (self.batch_size == 1 or len(thumbs.records) % self.batch_size == 1):
            raise LessonError(
                f"{len(thumbs.records)} ratings in batches of {self.batch_size} leave a batch of one, which has no neighbour; "
                'use another batch_size, or baseline = "strangers"'
            )
