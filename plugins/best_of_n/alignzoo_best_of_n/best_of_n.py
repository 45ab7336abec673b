"""Best-of-N: draw N answers, give the one that the reward likes best (Nakano et al. 2021, section 3; Stiennon et al. 2020).

    y₁ … y_N ~ π(·|x)        y* = argmax r(x, yᵢ)        KL(best-of-N ‖ π) ≤ log N − (N−1)/N

Nothing is trained: what is paid for is every answer. The bound on the KL is met where no two scores are equal.

Left out: nothing. Added: an early stop, for prompts where the best so far will hardly be beaten (`expected_gain`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from statistics import NormalDist, fmean, pstdev
from typing import Annotated, ClassVar

from annotated_types import Ge, Interval

from alignzoo.interfaces import Count, Lesson, Manner, Metrics, Policy, Reward
from alignzoo.limits import check_settings
from alignzoo.records import Completion, Prompt
from alignzoo_best_of_n.choosing import Scorer, best, stream
from alignzoo_best_of_n.curve import by_prompt, divergence, doublings, estimated

_ENOUGH = 4
"""Draws without which nothing is said of their spread."""


@dataclass(frozen=True)
class BestOfN:
    needs: ClassVar[tuple[str, ...]] = ("reward",)

    n: Annotated[int, Interval(ge=1, le=65_536)] = 16
    """N: answers that are drawn for each that is given."""
    batch: Count = 16
    """Answers to a prompt that are drawn at once; memory grows with it. Early stopping looks after each batch."""
    least_gain: Annotated[float, Ge(0)] = 0.0
    """Stop drawing for a prompt when all remaining draws together are expected to gain less than this, in standard deviations
    of its scores; 0 always draws all N."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.least_gain and self.batch < _ENOUGH:
            raise ValueError(f"least_gain judges by the spread of the first batch; let batch be {_ENOUGH} or more")

    def improve(self, policy: Policy, lesson: Lesson) -> Iterator[Metrics]:
        yield from ()

    def deploy(self, policy: Policy, lesson: Lesson) -> BestOf:
        lesson.check(self.needs)
        return BestOf(self, policy, lesson.reward)

    def rounds(self) -> list[int]:
        """How many answers each round draws: N in all."""
        return [min(self.batch, self.n - drawn) for drawn in range(0, self.n, self.batch)]

    def goes_on(self, scores: Sequence[float]) -> bool:
        """Whether more answers are drawn after these."""
        left = self.n - len(scores)
        return left > 0 and not expected_gain(scores, left) < self.least_gain


def expected_gain(scores: Sequence[float], left: int) -> float:
    """What `left` more draws are expected to add to the best so far, in standard deviations: at most

        left · E[(s − z)⁺] = left · [φ(z) − z (1 − Φ(z))]        z = (best − mean) / deviation

    with s normal as the draws so far suggest. (At most: each draw's gain is counted as if it came alone.) Equal scores leave
    nothing to gain."""
    deviation = pstdev(scores)
    if deviation == 0:
        return 0.0
    z = (max(scores) - fmean(scores)) / deviation
    normal = NormalDist()
    return left * (normal.pdf(z) - z * (1 - normal.cdf(z)))


@dataclass
class BestOf:
    """What best-of-N deploys: a policy and the reward that chooses among its answers.

    What it gives carries no log-probabilities. Those of the policy are not those of best-of-N, and Σ log π − log π₀ over them
    would not be its KL; that is `kl`."""

    how: BestOfN
    policy: Policy
    reward: Reward
    drawn: int = field(default=0, init=False)
    given: int = field(default=0, init=False)

    @property
    def kl(self) -> float:
        """KL(best-of-N ‖ policy) in nats: exact where all scores differ and nothing stops early, else an upper bound."""
        return divergence(self.how.n)

    @property
    def drawn_each(self) -> float:
        """How many answers were drawn for each that was given, so far."""
        return self.drawn / self.given if self.given else 0.0

    def sample(self, prompts: Sequence[Prompt], n: int = 1, manner: Manner = Manner()) -> list[list[Completion]]:
        """`n` answers to each prompt, each the best of N draws of its own. The draws are not those that the policy itself would
        give at this seed: a comparison with it is one between independent answers."""
        if n < 1:
            raise ValueError(f"n is how many completions each prompt gets, 1 or more; got {n}")
        scorer = Scorer(self.reward)
        picks = [self._picks(prompts, number, manner, scorer) for number in range(n)]
        return [list(group) for group in zip(*picks, strict=True)]

    def grades(self, prompts: Sequence[Prompt], manner: Manner, gold: Reward) -> Iterator[dict[str, object]]:
        """What the best of 1, 2, 4 … N is worth to each prompt, from N answers to it: by all subsets. Its KL by the formula,
        and, because answers that score alike make that too high, by an estimate."""
        groups = self.policy.sample(prompts, self.how.n, manner)
        proxy, true = Scorer(self.reward)(prompts, groups), Scorer(gold)(prompts, groups)
        for n in doublings(self.how.n):
            scores = {"proxy": by_prompt(proxy, proxy, n), "gold": by_prompt(proxy, true, n)}
            yield {"strength": n, "kl": divergence(n), "kl_estimated": [estimated(own, n) for own in proxy], **scores}

    def _picks(self, prompts: Sequence[Prompt], number: int, manner: Manner, scorer: Scorer) -> list[Completion]:
        """One answer to each prompt, drawn in rounds for as long as there is something to be gained."""
        replies: list[list[Completion]] = [[] for _ in prompts]
        scores: list[list[float]] = [[] for _ in prompts]
        places = list(range(len(prompts)))
        for turn, size in enumerate(self.how.rounds()):
            asked = [prompts[place] for place in places]
            groups = self.policy.sample(asked, size, replace(manner, seed=stream(manner.seed, number, turn)))
            for place, group, own in zip(places, groups, scorer(asked, groups), strict=True):
                replies[place] += group
                scores[place] += own
            places = [place for place in places if self.how.goes_on(scores[place])]
            if not places:
                break
        self.drawn += sum(map(len, replies))
        self.given += len(prompts)
        dice = [Random(f"{manner.seed}/{number}/{prompt.id}") for prompt in prompts]
        chosen = [group[best(own, die)] for group, own, die in zip(replies, scores, dice, strict=True)]
        return [replace(reply, logps=()) for reply in chosen]
