"""What ILQL deploys: the policy, steered token by token by what the values say of each (Snell et al. 2022, section 4.3).

    score(a) = log π(a|s) + β (min Q'(s, a) − V(s))        a ~ softmax(score / T)

β = 0 is the policy itself, sample for sample. V is the same for all actions, so it is asked only where advantages are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Interval
from torch import Tensor

from alignzoo.interfaces import Manner
from alignzoo.limits import check_settings
from alignzoo.model.role import Role
from alignzoo.model.steering import Sight
from alignzoo.records import Completion, Prompt
from alignzoo_ilql.heads import Heads

_SMALL, _FEW = 4096, 64
"""Values of so many tokens cost less than the model beside them; of a larger vocabulary, those of so few are read."""


@dataclass(frozen=True)
class Steering:
    """How strongly, and among which tokens."""

    beta: Annotated[float, Interval(ge=0, le=1e6)] = 4.0
    """β: how much an advantage counts against the policy's own log-probability; 0 is the policy itself."""
    top_k: Annotated[int, Ge(0)] = 0
    """Draw only among so many tokens of the highest score, advantage included; 0 among all (trlX's rule)."""
    among: Annotated[int, Ge(0)] | None = None
    """Read the values of so many tokens that the policy finds likeliest, 0 of all; whatever else it might write counts as the
    worst of them. No other rows of the Q heads are read. Left out, all of 4,096 tokens or fewer, and 64 of more."""
    cut: float | None = None
    """Advantages above this count as this; 0 only takes away from bad tokens (the authors' `adv_clip`)."""

    def __post_init__(self) -> None:
        check_settings(self)

    def seen(self, vocabulary: int) -> int:
        """How many tokens' values are read."""
        few = (0 if vocabulary <= _SMALL else _FEW) if self.among is None else self.among
        return min(few or vocabulary, vocabulary)

    @property
    def idle(self) -> bool:
        """Whether nothing is changed."""
        return not (self.beta or self.top_k)


def steered(logits: Tensor, q: Tensor, v: Tensor, beta: float, cut: float | None = None) -> Tensor:
    """(rows, actions) log π + β (Q' − V), up to a constant of each row: logits do for log π."""
    advantage = q - v[:, None]
    return logits + beta * (advantage if cut is None else advantage.clamp(max=cut))


def best(scores: Tensor, k: int) -> Tensor:
    """The scores with all but each row's k highest at minus infinity."""
    if not 0 < k < scores.shape[-1]:
        return scores
    highest = scores.topk(k)
    return torch.full_like(scores, -torch.inf).scatter(1, highest.indices, highest.values)


@dataclass(frozen=True)
class Steered:
    """A policy whose next token is drawn by its own mind and by the values' of each token. `values` is the role that wears
    the heads: the policy itself, or one that reads beside it."""

    policy: Role
    values: Role
    how: Steering

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        """`n` completions of each prompt. Log-probabilities are those of the steered distribution, before `manner` narrows it
        further."""
        if self.how.idle:
            return self.policy.sample(prompts, n, manner)
        beside = () if self.values is self.policy else (self.values,)
        return self.policy.sample(prompts, n, manner, steer=self.scores, beside=beside)

    def scores(self, own: Sight, *others: Sight) -> Tensor:
        """(rows, vocabulary) What the next token is drawn from."""
        how, heads = self.how, Heads(self.values)
        states = (others[0] if others else own).states.float()
        v = heads.values(states) if how.cut is not None else states.new_zeros(len(states))
        return best(steered(own.logits, self.q(heads, states, own.logits), v, how.beta, how.cut), how.top_k)

    def q(self, heads: Heads, states: Tensor, logits: Tensor) -> Tensor:
        """(rows, vocabulary) min Q'; for tokens that are not looked at the least that was seen: β = 0 stays the policy."""
        vocabulary = logits.shape[-1]
        seen = self.how.seen(vocabulary)
        if seen == vocabulary:
            return heads.slow_all(states)
        likely = logits.topk(seen, sorted=False).indices
        values = heads.slow_among(states, likely)
        return values.amin(-1, keepdim=True).expand_as(logits).scatter(1, likely, values)
