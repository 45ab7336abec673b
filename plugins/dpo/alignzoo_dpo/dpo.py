"""Direct Preference Optimization, Rafailov et al. 2023, https://arxiv.org/abs/2305.18290.

The policy is its own reward model: r(x, y) = β log π(y|x)/π_ref(y|x) up to a constant (eq. 5), so the Bradley–Terry
likelihood of the preferences can be maximised directly (eq. 7). What differs between the relatives in `LOSSES` is only how
a pair's margin becomes a loss; `strength`, the probability that chosen is the better one, weighs both directions in each.

Left out: nothing of the paper. Added: the margin may be averaged over tokens, and a likelihood term keeps chosen replies
likely (`likelihood`), because DPO may lower both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from alignzoo.interfaces import Count, Lesson, Metrics
from alignzoo.learning.decks import Deck
from alignzoo.learning.descent import Descent, Loss
from alignzoo.learning.reference import Remembered
from alignzoo.model.forest import Forest, per_reply
from alignzoo.model.role import Role

PairLoss = Callable[[Tensor, float, float], Tensor]
"""(margin h, β, label noise ε) → loss of each pair. h = log-ratio of chosen − log-ratio of rejected."""


def log_ratios(policy: Tensor, reference: Tensor, lengths: Tensor, per: str) -> Tensor:
    """(replies) log π(y|x)/π_ref(y|x), summed over the tokens or averaged over them."""
    ratios = policy - reference
    return ratios / lengths if per == "token" else ratios


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
    per: Literal["reply", "token"] = "reply"
    """Log-ratios summed over each reply, or averaged over its tokens (length-normalised)."""
    likelihood: Annotated[float, Ge(0)] = 0.0
    """Weight of −log π(chosen) per token, which keeps chosen replies likely; under soft labels, of either by its strength."""
    batch_size: Count = 32
    """Comparisons per update."""
    epochs: Count = 1
    """Passes over the comparisons; the reference is asked about each only once."""
    seed: int = 0
    """Order of the comparisons."""
    descent: Descent = Descent(lr=5e-4, schedule="linear", warmup=5)
    """How the policy is moved."""

    def __post_init__(self) -> None:
        if self.loss == "robust" and self.label_noise == 0:
            raise ValueError("the loss 'robust' corrects for label noise; set label_noise to the share you expect, such as 0.1")

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        base = policy.base
        reference = Remembered(policy.frozen(), self.descent.micro_tokens)
        deck = Deck(lesson.comparisons, self.batch_size, self.epochs, self.seed)
        descend = self.descent.on(policy, updates=len(deck))
        for comparisons in deck:
            pairs = base.text.pairs(comparisons, base.device)
            pairs = pairs.attach(replies={"reference": reference(pairs)})
            yield descend(partial(self.pair_loss, policy), pairs)

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy

    def pair_loss(self, policy: Role, pairs: Forest) -> Loss:
        """Of each pair. Chosen comes before rejected in every tree, so replies reshape to (pairs, 2)."""
        logps = per_reply(policy.logps(pairs), pairs)
        lengths = pairs.lengths
        ratios = log_ratios(logps, pairs.replies["reference"], lengths, self.per).view(-1, 2)
        margin = ratios[:, 0] - ratios[:, 1]
        losses = expected(LOSSES[self.loss], margin, pairs.notes["strength"], self.beta, self.label_noise)
        if self.likelihood:
            strength = pairs.notes["strength"]
            likely = (logps / lengths).view(-1, 2)
            losses = losses - self.likelihood * (strength * likely[:, 0] + (1 - strength) * likely[:, 1])
        chosen, rejected = logps.view(-1, 2).unbind(1)
        return Loss.over(
            losses,
            accuracy=(margin > 0).float() + 0.5 * (margin == 0),
            margin=self.beta * margin,
            reward_chosen=self.beta * ratios[:, 0],
            reward_rejected=self.beta * ratios[:, 1],
            logp_chosen=chosen,
            logp_rejected=rejected,
            displacement=(logps - pairs.replies["reference"]).view(-1, 2)[:, 0],
        )


def expected(loss: PairLoss, margin: Tensor, strength: Tensor, beta: float, noise: float) -> Tensor:
    """The loss under soft labels: p ℓ(h) + (1−p) ℓ(−h). A tie, p = ½, pulls the margin to zero."""
    if bool(torch.all(strength == 1)):
        return loss(margin, beta, noise)
    return strength * loss(margin, beta, noise) + (1 - strength) * loss(-margin, beta, noise)
