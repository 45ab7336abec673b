"""Odds Ratio Preference Optimization (ORPO), Hong, Lee and Thorne 2024, https://arxiv.org/abs/2403.07691.

Fine-tuning on the chosen reply and learning the preference in one stage, without a reference. The odds of a reply are those of
its mean log-probability per token a (section 4): log odds = a − log(1 − exp a), and

    L = NLL_c − λ log σ(log odds_c − log odds_r)                                                    (eq. 6 and 7)

Left out: nothing. The likelihood is that of the chosen reply's tokens; the authors' code and TRL count the prompt's as well,
which is `over = "text"`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import logsigmoid

from alignzoo.interfaces import Count, Lesson, Metrics, Seed
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.intake import check_lesson
from alignzoo.limits import check_settings
from alignzoo.model import whole
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.role import Role
from alignzoo_dpo.pairs import by_strength, expected, per_token, sides, told

_SURE = -(2.0**-23)
"""The mean log-probability of a reply that is as good as certain: at a = 0 the odds would be infinite."""


def log_odds(mean: Tensor) -> Tensor:
    """log p/(1−p) of p = exp a, in float32 or better. Where p is nearer to 1 than 2⁻²³ (a may be rounded to 0) it counts as
    that far from it: log odds of 15.9, and no gradient from them, in place of infinity and NaN."""
    held = (mean if mean.dtype == torch.float64 else mean.float()).clamp(max=_SURE)
    return held - torch.log(-torch.expm1(held))


def odds_ratio(difference: Tensor) -> Tensor:
    """−log σ(log odds_c − log odds_r) (eq. 7)."""
    return -logsigmoid(difference)


def shares(pairs: Forest, over: str) -> Tensor:
    """(replies) By what to multiply a reply's summed log-probability, so that the mean over the pairs of a whole batch is the
    mean over each chosen reply's tokens ("reply"), over all chosen tokens of the batch ("token"), or over those and their
    prompts' ("text"). Under soft labels either side counts by its strength."""
    if over == "reply":
        return 1 / pairs.lengths
    prompts = [len(tree.prompt) - 1 if over == "text" else 0 for tree in pairs.trees]
    lengths = pairs.lengths + torch.tensor(prompts, device=pairs.ids.device).repeat_interleave(2)
    counted = by_strength(lengths.float(), pairs.notes["strength"]).sum()
    return (len(pairs) / counted).expand(len(lengths))


@dataclass(frozen=True)
class ORPO:
    needs: ClassVar[tuple[str, ...]] = ("comparisons",)

    lam: Annotated[float, Ge(0)] = 0.1
    """λ: the weight of the odds ratio beside the likelihood; 0 is fine-tuning on the chosen replies."""
    over: Literal["reply", "token", "text"] = "reply"
    """What the likelihood is a mean over: each chosen reply's tokens, all chosen tokens of a batch, or those with their prompts
    (as TRL has it)."""
    batch_size: Count = 32
    """Comparisons per update."""
    epochs: Count = 1
    """Passes over the comparisons."""
    seed: Seed = 0
    """Order of the comparisons."""
    descent: Descent = Descent(lr=5e-4, schedule="linear", warmup=5)
    """How the policy is moved."""

    def __post_init__(self) -> None:
        check_settings(self)

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        base = policy.base
        check_lesson(lesson, self.needs, base.text)
        deck = Deck(lesson.comparisons, self.batch_size, self.epochs, self.seed)
        descend = self.descent.on(policy, updates=len(deck))
        for comparisons in deck:
            pairs = base.text.pairs(comparisons, base.device)
            pairs = pairs.attach(replies={"share": shares(pairs, self.over)})  # of the whole batch: micro-batches cannot know
            yield descend(partial(self.pair_loss, policy), pairs)

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def pair_loss(self, policy: Role, pairs: Forest) -> Loss:
        """Of each pair."""
        logps, counted = self.read(policy, pairs)
        strength = pairs.notes["strength"]
        odds = log_odds(per_token(logps, pairs))
        chosen, rejected = sides(odds)
        likelihood = by_strength(counted * pairs.replies["share"], strength)
        losses = expected(odds_ratio, chosen - rejected, strength)
        return Loss.over(self.lam * losses - likelihood, nll=-likelihood, odds_ratio=losses, **told(self.lam * odds, logps))

    def read(self, policy: Role, pairs: Forest) -> tuple[Tensor, Tensor]:
        """(replies), (replies) The summed log-probability of each reply, and of what the likelihood counts of its text."""
        if self.over != "text":
            logps = per_reply(policy.logps(pairs), pairs)
            return logps, logps
        said, prompts = whole.logps(policy, pairs)
        logps = per_reply(said, pairs)
        return logps, logps + prompts[pairs.tree]
