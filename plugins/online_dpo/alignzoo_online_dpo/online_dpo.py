"""Online DPO, Guo et al. 2024, https://arxiv.org/abs/2402.04792; in larger rounds iterative DPO, Xu et al. 2023,
https://arxiv.org/abs/2312.16682.

DPO on pairs that the policy has just written, so that what is compared is always what it would say:

    each round    y₁ … y_n ~ π(·|x)    best y_b and worst y_w by r(x, y)    L = mean of − log σ(β h) over prompts without a tie
    h = log π(y_b|x)/π_ref(y_b|x) − log π(y_w|x)/π_ref(y_w|x)                            (Rafailov et al. 2023, eq. 7)

π_ref is the start, or the policy as it was when it wrote the round's answers; either is known from when they were written.

Left out: nothing. The paper has two answers to each prompt; of more than two the best and the worst are compared, as in
Yuan et al. 2024, https://arxiv.org/abs/2401.10020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from alignzoo.interfaces import Count, Lesson, LessonError, Metrics, Seed
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss, Step
from alignzoo.learning.memory import Dice
from alignzoo.learning.rollouts import Explorer, Exploring
from alignzoo.limits import check_settings
from alignzoo.model.forest import Forest, Tree, per_reply, plant
from alignzoo.model.role import Role

PairLoss = Callable[[Tensor, float], Tensor]
"""(margin h, β) → loss of each pair."""


def sigmoid(margin: Tensor, beta: float) -> Tensor:
    """−log σ(βh): DPO."""
    return -logsigmoid(beta * margin)


def ipo(margin: Tensor, beta: float) -> Tensor:
    """(h − 1/(2τ))², with τ = β (Azar et al. 2023, eq. 17)."""
    return (margin - 1 / (2 * beta)) ** 2


def hinge(margin: Tensor, beta: float) -> Tensor:
    """max(0, 1 − βh): SLiC's calibration loss on log-ratios (Zhao et al. 2023)."""
    return relu(1 - beta * margin)


LOSSES: Mapping[str, PairLoss] = {"sigmoid": sigmoid, "ipo": ipo, "hinge": hinge}


Pair = tuple[int, int]
"""Where a better and a worse answer to one prompt are among all replies of a forest."""


def best_and_worst(forest: Forest, group: int) -> list[Pair]:
    """Of each prompt, with `group` answers, the best and the worst by the note `score`; the first among equals. None of a
    prompt whose answers all score the same, or whose best and worst are word for word the same (by a judge that wavers)."""
    scores = forest.replies["score"].view(-1, group).tolist()
    found = []
    for place, (tree, own) in enumerate(zip(forest.trees, scores, strict=True)):
        best, worst = own.index(max(own)), own.index(min(own))
        if own[best] > own[worst] and tree.replies[best] != tree.replies[worst]:
            found.append((group * place + best, group * place + worst))
    return found


def planted(forest: Forest, group: int, pairs: Sequence[Pair]) -> Forest:
    """A tree for each pair, the better answer first. The notes on replies go with it, those on tokens are summed."""
    trees = []
    for pair in pairs:
        tree, two = forest.trees[pair[0] // group], [place % group for place in pair]
        trees.append(Tree(tree.prompt, tuple(tree.replies[i] for i in two), tuple(tree.ended[i] for i in two)))
    places = [place for pair in pairs for place in pair]
    summed = {name: per_reply(note, forest)[places] for name, note in forest.tokens.items()}
    kept = {name: note[places] for name, note in forest.replies.items()}
    return plant(trees, forest.ids.device).attach(replies={**kept, **summed})


@dataclass(frozen=True)
class OnlineDPO:
    needs: ClassVar[tuple[str, ...]] = ("prompts", "reward")

    loss: Literal["sigmoid", "ipo", "hinge"] = "sigmoid"
    """How a pair's margin becomes a loss: a row of LOSSES."""
    beta: Annotated[float, Gt(0)] = 0.1
    """β: how strongly the policy is held to the reference (IPO's τ)."""
    reference: Literal["start", "round"] = "start"
    """What π_ref is: the start, or the policy that wrote the round's answers (iterative DPO). The latter holds it only within a
    round, and so it takes several steps in each (`epochs`, `minibatches`) for β to matter."""
    replies: Annotated[int, Ge(2)] = 2
    """n: answers to each prompt. The best and the worst of them become a pair."""
    prompts_per_update: Count = 32
    """Prompts answered in each round."""
    updates: Count = 100
    """Rounds: answers are written this many times."""
    epochs: Count = 1
    """Passes over the pairs of a round."""
    minibatches: Count = 1
    """Steps in each pass."""
    exploring: Exploring = Exploring()
    """How answers are written and scored."""
    seed: Seed = 0
    """Order of the prompts, answers, and minibatches."""
    descent: Descent = Descent(lr=5e-4)
    """How the policy is moved."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.minibatches > self.prompts_per_update:
            raise ValueError(f"{self.prompts_per_update} prompts make no {self.minibatches} minibatches; ask for fewer")

    @property
    def longest(self) -> int:
        return self.exploring.max_tokens

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        lesson.check(self.needs)
        explore = Explorer(self.exploring, policy, policy.frozen(), lesson, self.seed)
        deck = Deck.rounds(lesson.prompts, self.prompts_per_update, self.updates, self.seed)
        descend = self.descent.on(policy, updates=self.updates * self.epochs * self.minibatches)
        dice = Dice(self.seed)
        for prompts in deck:
            experience = explore(prompts, self.replies)
            pairs = best_and_worst(experience.forest, self.replies)
            told = experience.metrics() | {"untied": len(pairs) / len(prompts)}
            if pairs:
                told |= self.learn(descend, policy, planted(experience.forest, self.replies, pairs), dice)
            elif not descend.updates:
                raise LessonError(self.nothing(len(prompts)))
            yield told

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def learn(self, descend: Step, policy: Role, pairs: Forest, dice: Dice) -> Metrics:
        """Pass over a round's pairs, and tell the mean of what each step told."""
        pairs = pairs.attach(replies={"held": pairs.replies["reference" if self.reference == "start" else "old"]})
        told = []
        for _ in range(self.epochs):
            order = dice.order(len(pairs))
            for first in range(min(self.minibatches, len(order))):
                part = pairs.select(order[first :: self.minibatches])
                told.append(descend(partial(self.pair_loss, policy), part))
        return {name: fmean(step[name] for step in told) for name in told[0]}

    def pair_loss(self, policy: Role, pairs: Forest) -> Loss:
        """Of each pair. The better answer comes before the worse in every tree, so replies reshape to (pairs, 2)."""
        logps = per_reply(policy.logps(pairs, self.exploring.temperature), pairs)
        ratios = (logps - pairs.replies["held"]).view(-1, 2)
        margin = ratios[:, 0] - ratios[:, 1]
        better, worse = logps.view(-1, 2).unbind(1)
        scores = pairs.replies["score"].view(-1, 2)
        return Loss.over(
            LOSSES[self.loss](margin, self.beta),
            accuracy=(margin > 0).float() + 0.5 * (margin == 0),
            margin=self.beta * margin,
            logp_chosen=better,
            logp_rejected=worse,
            displacement=ratios[:, 0],
            score_gap=scores[:, 0] - scores[:, 1],
        )

    def nothing(self, prompts: int) -> str:
        return (
            f"nothing to compare: the answers to each of {prompts} prompts all score the same. Draw more (replies, "
            "prompts_per_update) or hotter ones (exploring.temperature), give them room to end (exploring.max_tokens), or "
            "name a reward that tells them apart"
        )
