"""Binary Classifier Optimization (BCO), Jung et al. 2024, https://arxiv.org/abs/2404.04656.

The implicit reward r(x, y) = β log π(y|x)/π_ref(y|x) is the logit of a classifier that tells thumbs up from thumbs down. Its
cross-entropy is an upper bound of DPO's loss, and the bound is tight where the reward is shifted by the middle of both sides:

    L = − mean over thumbs up of log σ(r − δ) − mean over thumbs down of log σ(−(r − δ)),    δ = ½ (E⁺ r + E⁻ r)

δ is a running mean of earlier batches: before the first update every reward, and with them δ, is zero.

Left out: underlying distribution matching (the paper's density ratio, for prompts that differ between the two sides): it needs
a classifier of prompts by an embedding model. Added: a thumb may be uncertain and then counts on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import logsigmoid

from alignzoo.interfaces import Count, Lesson, Metrics, Seed, Share
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.intake import check_lesson
from alignzoo.learning.memory import State, track
from alignzoo.learning.reference import Remembered
from alignzoo.limits import check_settings
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.role import Role
from alignzoo_kto.thumbs import Pairs, Weights, thumbs_in


def losses_of(rewards: Tensor, up: Tensor, shift: Tensor, weights: Weights) -> Tensor:
    """(replies) −λ_D log σ(r − δ) for a thumb up, −λ_U log σ(δ − r) for one down."""
    lead = rewards - shift
    return -weights.desirable * up * logsigmoid(lead) - weights.undesirable * (1 - up) * logsigmoid(-lead)


class Shift:
    """δ: the middle of the rewards seen so far, the older ones fading."""

    def __init__(self, kept: float, middle: str) -> None:
        self.kept, self.middle = kept, middle
        self.sums, self.counts = [0.0, 0.0], [0.0, 0.0]  # of thumbs down, of thumbs up
        track(self)

    def __call__(self) -> float:
        """Of the two sides' means, or of all examples; a side that was never seen says nothing."""
        if self.middle == "examples":
            return sum(self.sums) / max(sum(self.counts), 1e-12)
        means = [total / count for total, count in zip(self.sums, self.counts, strict=True) if count]
        return sum(means) / max(1, len(means))

    def hear(self, told: Metrics, ups: int, downs: int) -> None:
        """Take note of a batch's mean rewards."""
        for side, name, count in ((0, "reward_down", downs), (1, "reward_up", ups)):
            if count:
                self.sums[side] = self.kept * self.sums[side] + count * told[name]
                self.counts[side] = self.kept * self.counts[side] + count

    def state(self) -> State:
        return {"sums": list(self.sums), "counts": list(self.counts)}

    def restore(self, state: State) -> None:
        self.sums, self.counts = list(state["sums"]), list(state["counts"])


@dataclass(frozen=True)
class BCO:
    needs: ClassVar[tuple[str, ...]] = ("ratings",)

    beta: Annotated[float, Gt(0)] = 0.1
    """β: how strongly the policy is held to the reference."""
    threshold: float | None = None
    """Scores above it are thumbs up, below it down; one that is equal says neither and is left out. Without it a score is the
    probability of a thumb up, between 0 and 1, and one half is left out."""
    desirable: Annotated[float, Ge(0)] | None = None
    """λ_D: what a thumb up counts. If neither weight is set, the smaller side is raised until λ_D n_D / (λ_U n_U) is between 1
    and 4/3; if one is, the other is 1."""
    undesirable: Annotated[float, Ge(0)] | None = None
    """λ_U: what a thumb down counts."""
    middle: Literal["sides", "examples"] = "sides"
    """δ is half-way between the mean rewards of the two sides, or the mean of all examples (as in TRL's former BCOTrainer),
    which leans to the larger side."""
    kept: Share = 0.9
    """How much of what δ has heard outlives an update; 1 never forgets."""
    pairs: Pairs = "apart"
    """Two ratings of one prompt that follow each other, as those of a comparison do, are dealt each by chance, or in one batch,
    where their prompt is read once for both. The policy moves further then at the same rate."""
    batch_size: Count = 32
    """Ratings per update."""
    epochs: Count = 1
    """Passes over the ratings; the reference is asked about each only once."""
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
        weights = thumbs.weights(self.desirable, self.undesirable)
        thumbs.announce(weights)
        facts = thumbs.facts(weights)
        reference = Remembered(policy.frozen(), self.descent.micro_tokens)
        deck = thumbs.deck(self.batch_size, self.epochs, self.seed)
        descend, shift = self.descent.on(policy, updates=len(deck)), Shift(self.kept, self.middle)
        for places in deck:
            forest = thumbs.forest(places, policy.base)
            delta = torch.full((len(places),), shift(), device=policy.base.device)
            forest = forest.attach(replies={"reference": reference(forest), "shift": delta})
            told = descend(partial(self.loss, policy, weights), forest)
            told["shift"] = shift()
            ups = int((forest.replies["up"] > 0.5).sum())
            shift.hear(told, ups, len(places) - ups)
            yield {**told, **facts}

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def check_feedback(self, lesson: Lesson) -> None:
        """Refuse thumbs that are all of one side."""
        thumbs_in(lesson.ratings, self.threshold)

    def loss(self, policy: Role, weights: Weights, forest: Forest) -> Loss:
        """Of each rated answer."""
        logps = per_reply(policy.logps(forest), forest)
        ratios = logps - forest.replies["reference"]
        up, shift = forest.replies["up"], forest.replies["shift"]
        rewards, liked = self.beta * ratios, up > 0.5
        lead = torch.where(liked, rewards - shift, shift - rewards)
        return Loss.over(
            losses_of(rewards, up, shift, weights),
            accuracy=(lead > 0).float() + 0.5 * (lead == 0),
            reward_up=rewards[liked],
            reward_down=rewards[~liked],
            logp_up=logps[liked],
            logp_down=logps[~liked],
            displacement=ratios[liked],
        )
