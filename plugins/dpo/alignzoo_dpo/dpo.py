"""Direct Preference Optimization, Rafailov et al. 2023, https://arxiv.org/abs/2305.18290.

The policy is its own reward model: r(x, y) = β log π(y|x)/π_ref(y|x) up to a constant (eq. 5), so the Bradley–Terry
likelihood of the preferences can be maximised directly (eq. 7). What differs between the relatives in `LOSSES` is only how
a pair's margin becomes a loss; `strength`, the probability that chosen is the better one, weighs both directions in each.

Left out: nothing of the paper. Added: the margin may be averaged over tokens, the reference may be left out, and a likelihood
term keeps chosen replies likely (`likelihood`), because DPO may lower both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal, Protocol

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from alignzoo.interfaces import Count, Lesson, Metrics, Seed
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.intake import check_lesson
from alignzoo.learning.reference import Remembered
from alignzoo.limits import check_settings
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.role import Role
from alignzoo_dpo.pairs import by_strength, expected, per_token, sides, told


class PairLoss(Protocol):
    """Of each pair, from its margin h = log-ratio of chosen − log-ratio of rejected."""

    def __call__(self, margin: Tensor, beta: float, noise: float) -> Tensor: ...


def level(pairs: Forest) -> Tensor:
    """(replies) The reference of reference-free DPO: every reply is as likely as any other, and a log-ratio is log π."""
    return torch.zeros(len(pairs.last), device=pairs.ids.device)


def sigmoid(margin: Tensor, beta: float, noise: float) -> Tensor:
    """−(1−ε) log σ(βh) − ε log σ(−βh). DPO (eq. 7) at ε = 0, conservative DPO (Mitchell 2023) above."""
    return -(1 - noise) * logsigmoid(beta * margin) - noise * logsigmoid(-beta * margin)


def robust(margin: Tensor, beta: float, noise: float) -> Tensor:
    """[−(1−ε) log σ(βh) + ε log σ(−βh)] / (1−2ε): unbiased under flips with probability ε (Chowdhury et al. 2024, eq. 6)."""
    return (-(1 - noise) * logsigmoid(beta * margin) + noise * logsigmoid(-beta * margin)) / (1 - 2 * noise)


def ipo(margin: Tensor, beta: float, noise: float) -> Tensor:
    """(h − 1/(2τ))², with τ = β (Azar et al. 2023, eq. 17). A share ε of flipped labels pulls towards (1−2ε)/(2τ)."""
    target = 1 / (2 * beta)
    return (1 - noise) * (margin - target) ** 2 + noise * (margin + target) ** 2


def hinge(margin: Tensor, beta: float, noise: float) -> Tensor:
    """max(0, 1 − βh): SLiC's calibration loss on log-ratios (Zhao et al. 2023; Liu et al. 2024)."""
    return (1 - noise) * relu(1 - beta * margin) + noise * relu(1 + beta * margin)


LOSSES: Mapping[str, PairLoss] = {"sigmoid": sigmoid, "robust": robust, "ipo": ipo, "hinge": hinge}


@dataclass(frozen=True)
class DPO:
    needs: ClassVar[tuple[str, ...]] = ("comparisons",)

    loss: Literal["sigmoid", "robust", "ipo", "hinge"] = "sigmoid"
    """How a pair's margin becomes a loss: a row of LOSSES."""
    beta: Annotated[float, Gt(0)] = 0.1
    """β: how strongly the policy is held to the reference (IPO's τ)."""
    label_noise: Annotated[float, Interval(ge=0, lt=0.5)] = 0.0
    """ε: the share of labels believed to be flipped. Conservative DPO with `sigmoid`; `robust` needs it above 0."""
    reference: Literal["start", "none"] = "start"
    """What log-ratios are taken to: the policy as it was, or nothing (reference-free: it is never asked, nor made)."""
    per: Literal["reply", "token"] = "reply"
    """Log-ratios summed over each reply, or averaged over its tokens (length-normalised)."""
    likelihood: Annotated[float, Ge(0)] = 0.5
    """Weight of −log π(chosen) per token, which keeps chosen replies likely; 0 is the paper's. Under soft labels, of either
    side by its strength."""
    batch_size: Count = 32
    """Comparisons per update."""
    epochs: Count = 1
    """Passes over the comparisons; the reference is asked about each only once."""
    seed: Seed = 0
    """Order of the comparisons."""
    descent: Descent = Descent(lr=5e-4, schedule="linear", warmup=5)
    """How the policy is moved."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.loss == "robust" and self.label_noise == 0:
            raise ValueError("the loss 'robust' corrects for label noise; set label_noise to the share you expect, such as 0.1")

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        base = policy.base
        check_lesson(lesson, self.needs, base.text)
        reference = Remembered(policy.frozen(), self.descent.micro_tokens) if self.reference == "start" else level
        deck = Deck(lesson.comparisons, self.batch_size, self.epochs, self.seed)
        descend = self.descent.on(policy, updates=len(deck))
        for comparisons in deck:
            pairs = base.text.pairs(comparisons, base.device)
            pairs = pairs.attach(replies={"reference": reference(pairs)})
            yield descend(partial(self.pair_loss, policy), pairs)

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def pair_loss(self, policy: Role, pairs: Forest) -> Loss:
        """Of each pair."""
        logps, strength = per_reply(policy.logps(pairs), pairs), pairs.notes["strength"]
        moved = logps - pairs.replies["reference"]
        ratios = per_token(moved, pairs) if self.per == "token" else moved
        chosen, rejected = sides(ratios)
        loss = partial(LOSSES[self.loss], beta=self.beta, noise=self.label_noise)
        preference = expected(loss, chosen - rejected, strength)
        losses = preference - self.likelihood * by_strength(per_token(logps, pairs), strength)
        known = {"displacement": sides(moved)[0]} if self.reference == "start" else {}
        return Loss.over(losses, preference=preference, **told(self.beta * ratios, logps), **known)
