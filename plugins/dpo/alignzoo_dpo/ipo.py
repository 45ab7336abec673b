"""Identity Preference Optimization (IPO), Azar et al. 2023, https://arxiv.org/abs/2310.12036.

DPO's loop with a loss that aims at a margin, (h − 1/(2τ))² (eq. 17), where DPO's never has enough: labels without noise do not
drive the policy to certainty. The loss is DPO's row `ipo`; this page is IPO's name and defaults.

Left out: nothing. The paper sums a log-ratio over its reply's tokens; TRL averages, which is `per = "token"`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Gt

from alignzoo.interfaces import Count, Lesson, Metrics, Seed
from alignzoo.learning.descent import Descent
from alignzoo.limits import check_settings
from alignzoo.model.role import Role
from alignzoo_dpo.dpo import DPO


@dataclass(frozen=True)
class IPO:
    needs: ClassVar[tuple[str, ...]] = ("comparisons",)

    tau: Annotated[float, Gt(0)] = 0.1
    """τ: how strongly the policy is held to the reference. A sure preference is worth a margin of 1/(2τ) nats."""
    per: Literal["reply", "token"] = "reply"
    """Log-ratios summed over each reply, or averaged over its tokens (then τ wants to be larger by about a reply's length)."""
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

    @property
    def as_dpo(self) -> DPO:
        """The same, in DPO's words."""
        return DPO(
            loss="ipo",
            beta=self.tau,
            per=self.per,
            likelihood=0.0,
            batch_size=self.batch_size,
            epochs=self.epochs,
            seed=self.seed,
            descent=self.descent,
        )

    def improve(self, policy: Role, lesson: Lesson) -> Iterator[Metrics]:
        return self.as_dpo.improve(policy, lesson)

    def deploy(self, policy: Role, lesson: Lesson) -> Role:
        return policy
