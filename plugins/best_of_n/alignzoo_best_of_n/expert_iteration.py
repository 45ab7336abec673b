"""Expert iteration: imitate the best of one's own answers (rejection sampling fine-tuning: Yuan et al. 2023,
https://arxiv.org/abs/2308.01825; in rounds: Anthony et al. 2017, Dong et al. 2023, https://arxiv.org/abs/2304.06767).

    each round    y₁ … y_n ~ π(·|x)    keep the best by r(x, yᵢ)    L = − Σ log π(yₜ | x, y₍<ₜ₎) / Σ 1    over what was kept

Best-of-n is the expert, the policy its pupil; next round's expert is the best-of-n of what the pupil has become.

Left out: mixing in demonstrations or a KL penalty; what holds the policy near its start is few rounds and a small step.
Answers that did not end are never kept: imitating them would teach not to end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from statistics import fmean
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Interval

from alignzoo.interfaces import Count, Lesson, LessonError, Manner, Metrics, Positive, Reward, Seed
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.limits import check_settings
from alignzoo.model.forest import Forest
from alignzoo.model.role import Role
from alignzoo.records import Completion, Demonstration, Prompt
from alignzoo_best_of_n.choosing import Scorer, best, stream
from alignzoo_best_of_n.harvest import Harvest

Keep = Callable[[Sequence[float], "ExpertIteration", Random], list[int]]
"""(scores of one prompt's answers, settings, dice) → the places of those that are kept."""


def keep_best(scores: Sequence[float], how: ExpertIteration, dice: Random) -> list[int]:
    """The best one; among equals any."""
    return [best(scores, dice)]


def keep_share(scores: Sequence[float], how: ExpertIteration, dice: Random) -> list[int]:
    """The best share of them, one at least; among equals any."""
    shuffled = dice.sample(range(len(scores)), len(scores))
    return sorted(shuffled, key=lambda place: -scores[place])[: math.ceil(how.share * len(scores))]


def keep_above(scores: Sequence[float], how: ExpertIteration, dice: Random) -> list[int]:
    """All that reach the threshold."""
    return [place for place, score in enumerate(scores) if score >= how.threshold]


KEEPS: Mapping[str, Keep] = {"best": keep_best, "share": keep_share, "above": keep_above}


@dataclass(frozen=True)
class ExpertIteration:
    needs: ClassVar[tuple[str, ...]] = ("prompts", "reward")

    rounds: Count = 3
    """How often the policy answers anew."""
    prompts: Count = 256
    """Prompts that are answered in a round."""
    n: Annotated[int, Ge(2)] = 8
    """Answers drawn for each of them."""
    keep: Literal["best", "share", "above"] = "best"
    """Which answers to a prompt are imitated: the best one, the best `share`, or all from `threshold` on. A row of KEEPS."""
    share: Annotated[float, Interval(gt=0, le=1)] = 0.25
    """With `keep = "share"`: how much of the n answers."""
    threshold: float = 0.0
    """With `keep = "above"`: the lowest score that is imitated."""
    max_tokens: Count = 48
    """The longest answer; one that does not end within it is never imitated."""
    temperature: Positive = 1.0
    """T of the draws."""
    epochs: Count = 2
    """Passes over what a round has kept."""
    batch_size: Count = 32
    """Answers per update."""
    seed: Seed = 0
    """Of the draws and of every order."""
    descent: Descent = Descent(lr=5e-4)
    """How the policy is moved. A schedule is planned for as many answers as could be kept."""

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def longest(self) -> int:
        return self.max_tokens

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        lesson.check(self.needs)
        deck = Deck(lesson.prompts, self.prompts, self.rounds, self.seed)
        harvest = Harvest(self.seed)
        descend = self.descent.on(policy, updates=self.planned(len(lesson.prompts)))
        policy.base.text.make_room(lesson.prompts, self.max_tokens)
        while harvest.unlearned(self.epochs, self.batch_size) or harvest.round < self.rounds:
            if not harvest.unlearned(self.epochs, self.batch_size):
                harvest.bring(*self.gather(policy, lesson.reward, next(iter(deck)), harvest.round))
                continue
            shown = harvest.deal(self.batch_size)
            forest = policy.base.text.replies([d.prompt for d in shown], [[d.completion] for d in shown], policy.base.device)
            yield {**descend(partial(self.loss, policy), forest), **harvest.told}

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def planned(self, prompts: int) -> int:
        """Updates, if every prompt of every round keeps as many answers as it may."""
        most = {"best": 1, "share": math.ceil(self.share * self.n), "above": self.n}[self.keep]
        return self.rounds * self.epochs * -(-most * min(self.prompts, prompts) // self.batch_size)

    def gather(
        self, policy: Role, reward: Reward, prompts: Sequence[Prompt], number: int
    ) -> tuple[list[Demonstration], Metrics]:
        """A round's answers: those to be imitated, and what there is to tell of all."""
        manner = Manner(max_tokens=self.max_tokens, temperature=self.temperature, seed=stream(self.seed, number))
        groups = policy.sample(prompts, self.n, manner)
        scores = Scorer(reward)(prompts, groups)
        kept: dict[tuple[str, str], Demonstration] = {}
        accepted: list[float] = []
        tied = 0
        for prompt, group, own in zip(prompts, groups, scores, strict=True):
            ended = [place for place, reply in enumerate(group) if reply.finished]
            if min(own) == max(own):
                tied += 1
            elif ended:
                dice = Random(f"{self.seed}/{number}/{prompt.id}")
                places = [ended[i] for i in KEEPS[self.keep]([own[place] for place in ended], self, dice)]
                accepted += [own[place] for place in places]
                kept |= {(prompt.id, group[i].text): _shown(prompt, group[i]) for i in places}
        if not kept:
            raise LessonError(self._nothing(number, len(prompts), tied))
        draws = [reply for group in groups for reply in group]
        told = {
            "round": float(number + 1),
            "score": fmean(score for own in scores for score in own),
            "score_kept": fmean(accepted),
            "acceptance": len(accepted) / len(draws),
            "distinct": sum(len({reply.text for reply in group}) for group in groups) / len(draws),
            "tied": tied / len(prompts),
            "ended": fmean(reply.finished for reply in draws),
        }
        return list(kept.values()), told

    def loss(self, policy: Role, forest: Forest) -> Loss:
        logps = policy.logps(forest)
        return Loss.over(-logps, logp=logps)

    def _nothing(self, number: int, prompts: int, tied: int) -> str:
        return (
            f"round {number + 1} has nothing to imitate: of {prompts} prompts, {tied} had answers that all score the same, "
            f"and of the others' answers none both ended and was kept (keep = '{self.keep}'). Draw more (n), hotter "
            "(temperature) or longer (max_tokens) answers, lower the threshold, or plan fewer rounds"
        )


def _shown(prompt: Prompt, reply: Completion) -> Demonstration:
    return Demonstration(prompt, Completion(reply.text, reply.tokens, reply.finished))
