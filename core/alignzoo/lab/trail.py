"""The way of a training, for pictures of reward against KL: at the start and every few updates, some prompts are answered, and
each answer's KL from the start, proxy (what the optimizer raises) and gold (what the judge says) are written down.

The KL is by the one estimator that serves every optimizer (`answering`). What the trail costs is not charged to the optimizer,
and nothing that the optimizer learns from is touched by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from annotated_types import Ge

from alignzoo.interfaces import Graded, Lesson, Optimizer, Policy, Reward, no_reward
from alignzoo.lab.answering import answers, plainly
from alignzoo.lab.plan import Answering
from alignzoo.lab.store import named
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.rewards import Combined
from alignzoo.model.role import Role
from alignzoo.records import Prompt, completion_from_row

Point = dict[str, Any]


@dataclass(frozen=True)
class Trail:
    """What is asked on the way, and who judges. Rows: `update`, the means `kl`, `proxy` and `gold`, and `each` prompt's."""

    file: Path
    every: Annotated[int, Ge(1)]
    prompts: Sequence[Prompt]
    how: Answering
    gold: Reward

    def due(self, update: int) -> bool:
        return update % self.every == 0

    def begin(self, updates: int) -> None:
        """Keep the points up to this update: those after it are about to be made again."""
        lines = self.file.read_text(encoding="utf-8").splitlines(keepends=True) if self.file.exists() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["update"] <= updates] if updates else []
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text("".join(kept), encoding="utf-8")

    def leave(self, update: int, optimizer: Optimizer, policy: Role, start: Role, lesson: Lesson) -> None:
        """Write down where the policy is: as it would be deployed, or, before the first update, as it starts."""
        with counting(Ledger(), policy.base):  # what is asked here is not the optimizer's
            deployed = optimizer.deploy(policy, lesson) if update else policy
            assert isinstance(deployed, Policy)
            self._write(update, self._point(deployed, start, _apart(lesson.reward)))

    def grade(self, optimizer: Optimizer, policy: Role, lesson: Lesson) -> None:
        """Where nothing was trained: the strengths of what is deployed, if it has any."""
        with counting(Ledger(), policy.base):
            deployed = optimizer.deploy(policy, lesson)
            if isinstance(deployed, Graded):
                for point in deployed.grades(self.prompts, plainly(self.how.manner), self.gold):
                    self._write(0, point)

    def _write(self, update: int, point: Mapping[str, Any]) -> None:
        """A row: lists, which have a value of each prompt, become their mean, and are kept apart."""
        each = {name: values for name, values in point.items() if isinstance(values, list)}
        row = {"update": update, **point, **{name: fmean(values) for name, values in each.items()}, "each": each}
        with named(self.file), self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _point(self, policy: Policy, start: Role, proxy: Reward) -> Point:
        how = replace(self.how, n=1, manner=plainly(self.how.manner))
        rows = list(answers("policy", policy, start, self.prompts, how))
        said = [completion_from_row(row["completion"]) for row in rows]
        kls = [row["kl"] for row in rows]
        return {
            "kl": None if None in kls else kls,
            "proxy": None if proxy is no_reward else list(proxy(self.prompts, said)),
            "gold": list(self.gold(self.prompts, said)),
        }


def _apart(reward: Reward) -> Reward:
    """The optimizer's reward, asked without its noticing: several as one count what they have heard."""
    return replace(reward, _heard={}) if isinstance(reward, Combined) else reward
