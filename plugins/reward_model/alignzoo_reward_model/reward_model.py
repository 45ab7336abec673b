"""Reward models: Bradley and Terry 1952 on a language model, as in Ziegler et al. 2019, https://arxiv.org/abs/1909.08593,
Stiennon et al. 2020 and Ouyang et al. 2022, https://arxiv.org/abs/2203.02155.

An adapter and a head learn a score r(x, y) from what people said of answers: that one is better, P(c > r) = σ(r_c − r_r); an
order of K; or a thumb or score for each. Then the head is scaled so that the start policy's own answers score 0 ± 1, and is
deployed as a `Reward`.

Left out: mixing in a language-model loss. Added: soft labels and ties by strength, margins by strength (Touvron et al. 2023),
a centring term (Eisenstein et al. 2023), several heads as an ensemble (Coste et al. 2023).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Interval
from torch import Tensor

from alignzoo.interfaces import Count, Lesson, Manner, Metrics, Seed
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.intake import check_lesson
from alignzoo.limits import check_settings
from alignzoo.model.forest import Forest
from alignzoo.model.role import Role
from alignzoo.model.text import Text
from alignzoo.records import Comparison, Prompt
from alignzoo_reward_model.held_out import Tried, figures, parted
from alignzoo_reward_model.judgements import KINDS, Judgements, Terms, judgements_in
from alignzoo_reward_model.model import LearnedReward, grow_heads, mark, member_scores, normalise, score


@dataclass(frozen=True)
class RewardModel:
    on: Literal["comparisons", "rankings", "ratings"] = "comparisons"
    """What is learned from: choices between two answers, orders of several, or thumbs and scores of single ones."""
    margin: Annotated[float, Ge(0)] = 0.0
    """By how much a sure choice is to be won (comparisons only); less for a less sure one, nothing for a tie."""
    centring: Annotated[float, Ge(0)] = 0.0
    """Weight of (r_c + r_r)², which holds scores near zero (pairs only); 0.01 is usual."""
    members: Count = 1
    """Heads on the one trunk. More than one are an ensemble: each starts elsewhere and sees a bootstrap of the feedback."""
    combine: Literal["mean", "worst", "uncertain"] = "mean"
    """How members become one score: their mean, the lowest, or the mean less `caution` times their variance."""
    caution: Annotated[float, Ge(0)] = 0.5
    """λ of "uncertain"."""
    held_out: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    """Share of the prompts that is not learned from but tried on; 0 does without figures on them."""
    evaluate_every: Count = 50
    """Updates between two looks at the held-out prompts; the last update always has one."""
    samples: Annotated[int, Ge(0)] = 256
    """Prompts that the start policy answers once so that scores can be normalised; 0 leaves scores as they are."""
    sample_tokens: Count = 64
    """The longest of those answers."""
    batch_size: Count = 32
    """Comparisons, rankings or ratings per update."""
    epochs: Count = 1
    """Passes over the feedback. Reward models learn pairs by heart within a few."""
    seed: Seed = 0
    """Weights of the heads, bootstraps, order of the feedback, samples."""
    descent: Descent = Descent(lr=5e-4, schedule="linear", warmup=5)
    """How adapter and heads are moved."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.margin and self.on != "comparisons":
            raise ValueError(f'margin goes by the strength of a comparison; there is none on = "{self.on}"')
        if self.centring and self.on == "ratings":
            raise ValueError('centring holds the scores of pairs near zero; on = "ratings" they have a zero of their own')

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.on,)

    def check_feedback(self, lesson: Lesson) -> None:
        """Refuse judgements that put no answer above another."""
        KINDS[self.on](judgements_in(lesson, self.on), Terms(self.margin, self.centring))

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        check_lesson(lesson, self.needs, policy.base.text)
        start = policy.frozen("start")
        records = judgements_in(lesson, self.on)
        asked = self.asked(lesson, policy.base.text)
        learned, held = parted(records, _prompt_of, self.held_out)
        judged = KINDS[self.on](learned, Terms(self.margin, self.centring))
        trial, choices = judged.pairs(held), judged.choices(records)
        names = grow_heads(policy, self.members, self.seed)
        weights = bootstraps(len(judged.records), self.members, self.seed)
        deck = Deck(range(len(judged.records)), self.batch_size, self.epochs, self.seed)
        descend = self.descent.on(policy, updates=len(deck))
        for places in deck:
            forest = judged.forest([judged.records[place] for place in places], policy.base)
            forest = forest.attach(trees={"weight": weights[places].to(policy.base.device)})
            mark(policy, 0.0)
            told = descend(partial(self.loss, policy, names, judged), forest) | judged.facts
            last = deck.dealt == len(deck)
            if trial and (last or deck.dealt % self.evaluate_every == 0):
                told |= self.tried(policy, names, trial, choices)
            if last and self.samples:
                manner = Manner(max_tokens=self.sample_tokens, seed=self.seed)
                told |= normalise(policy, names, start, asked, manner, self.descent.micro_tokens)
            yield told

    def deploy(self, policy: Role, lesson: Lesson) -> LearnedReward:
        reward = LearnedReward(policy, self.combine, self.caution, self.descent.micro_tokens)
        if self.samples and not reward.normalised:
            warnings.warn(
                f"the reward model '{policy.name}' was stopped before its last planned update, so its scores were not brought "
                "to mean 0 and deviation 1; have the optimizer scale them, or give the training a budget that it can finish in",
                stacklevel=2,
            )
        return reward

    def loss(self, policy: Role, names: Sequence[str], judged: Judgements, forest: Forest) -> Loss:
        """The mean over the members of each tree's loss, weighed as often as the member's bootstrap has drawn the tree."""
        scores = member_scores(policy, forest, names)
        losses = (forest.notes["weight"] * judged.losses(scores, forest)).mean(1)
        return Loss.over(losses, reward=scores, **judged.told(scores, forest))

    def tried(self, policy: Role, names: Sequence[str], trial: Sequence[Comparison], choices: Sequence[Comparison]) -> Metrics:
        """The figures of the held-out pairs, by the mean of the members."""
        prompts = [pair.prompt for pair in trial for _ in range(2)]
        replies = [reply for pair in trial for reply in (pair.chosen, pair.rejected)]
        scores = score(policy, names, prompts, replies, self.descent.micro_tokens)
        lengths = torch.tensor([float(len(policy.base.text.reply_ids(reply))) for reply in replies])
        told = figures(Tried(trial, scores.mean(1).view(-1, 2), lengths.view(-1, 2)), choices)
        return told | ({"members_apart": float(scores.std(1, correction=0).mean())} if self.members > 1 else {})

    def asked(self, lesson: Lesson, text: Text) -> list[Prompt]:
        """Prompts whose answers scores are normalised by: the lesson's, else those of the feedback; spread evenly over them.
        Recorded prompts may be longer than can be answered: those are passed over."""
        if not self.samples:
            return []
        prompts = list(lesson.prompts) or [_prompt_of(record) for record in judgements_in(lesson, self.on)]
        different = list({prompt.id: prompt for prompt in prompts}.values())
        spread = different[:: max(1, len(different) // self.samples)][: self.samples]
        asked = [prompt for prompt in spread if text.answerable(prompt, self.sample_tokens)]
        if not asked:
            text.make_room(spread, self.sample_tokens)  # which says why none can be answered
        return asked


def bootstraps(records: int, members: int, seed: int) -> Tensor:
    """(records, members) How often each member's bootstrap has drawn each record; one member sees each once."""
    if members == 1:
        return torch.ones(records, 1)
    draws = [Random(f"{seed}/bootstrap/{member}").choices(range(records), k=records) for member in range(members)]
    return torch.stack([torch.bincount(torch.tensor(drawn), minlength=records).float() for drawn in draws], dim=1)


def _prompt_of(record: Any) -> Prompt:
    prompt: Prompt = record.prompt
    return prompt
