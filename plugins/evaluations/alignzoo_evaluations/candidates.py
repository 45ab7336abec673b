"""What is evaluated: a component by its name, a function of one's own, a reward of a run, or what a run's policy has become.

Everything that can be wrong is found before a model is loaded; `load` loads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

from alignzoo.interfaces import Reading, Reward
from alignzoo.lab.plan import Rewarding
from alignzoo.lab.run import Run
from alignzoo.learning.rewards import Combined
from alignzoo.learning.rewards import Scored as Held
from alignzoo.model.role import Role
from alignzoo.model.text import Text
from alignzoo.seam.discovery import discover
from alignzoo.seam.settings import build
from alignzoo_evaluations.accuracy import EvaluationError
from alignzoo_evaluations.implicit import Implicit, Per


@dataclass(frozen=True)
class Candidate:
    """A reward that is there for the asking."""

    name: str
    load: Callable[[], Reward]
    text: Callable[[], Text] | None = None
    """How answers become tokens, where a model reads them: what does not fit it cannot be scored."""


def component(name: str, settings: Mapping[str, Any]) -> Candidate:
    """A reward by its name, or "module:function"."""
    found = discover().find("reward", name)
    made = _made(found.load(), found.full_name, settings)
    if isinstance(made, Reading):
        raise EvaluationError(
            f"{found.full_name} reads with a model, and has none of its own; name it in a run file, [reward] use = "
            f'"{found.component.id}", and evaluate the run'
        )
    held = Held(made, found.full_name)
    return Candidate(found.full_name, lambda: held)


def _made(described: Any, name: str, settings: Mapping[str, Any]) -> Any:
    """A dataclass by its settings; anything else has none."""
    if isinstance(described, type) and is_dataclass(described):
        return build(described, settings, "reward")
    if settings:
        raise EvaluationError(f"{name} is no dataclass, so it has no settings: reward.{next(iter(settings))}")
    return described() if isinstance(described, type) else described


def of_run(run: Run, name: str = "") -> Candidate:
    """The reward of a run: the one of this name, or all of them as the optimizer hears them."""
    there = {rewarding.voice.name: rewarding for rewarding in run.plan.rewards}
    if not there:
        raise EvaluationError(f"{run.files.root} has no reward; its policy has an implicit one: --implicit sum")
    if name and name not in there:
        raise EvaluationError(f"{run.files.root} has no reward '{name}'; it has {', '.join(there)}")
    _check_trained(run, [there[name]] if name else list(there.values()))

    def load() -> Reward:
        whole = run.reward()
        parts = {voice.name: part for voice, part in whole.parts} if isinstance(whole, Combined) else {}
        return parts.get(name, whole)

    reads = any(one.feedback or isinstance(one.part.made, Reading) for one in there.values())
    return Candidate(f"{run.plan.name}: {name or ' + '.join(there)}", load, (lambda: run.base.text) if reads else None)


def of_policy(run: Run, per: Per, beta: float | None = None) -> Candidate:
    """The implicit reward of a run's policy against what it was aligned from. β is the optimizer's own where it has one."""
    if not run.files.train.done:
        raise EvaluationError(f"{run.files.root} is not trained yet; `alignzoo train {run.files.root}`")
    own = run.plan.optimizer.row().get("beta", 1.0) if beta is None else beta
    strength = float(own) if isinstance(own, int | float) else 1.0

    def load() -> Reward:
        policy = run.policy()
        if not isinstance(policy, Role):
            raise EvaluationError(
                f"what {run.plan.optimizer.found.full_name} deploys gives no log-probabilities, so it has no implicit reward"
            )
        return Implicit(policy, run.start_role(), strength, per)

    whole = "summed over a reply" if per == "sum" else "per token"
    return Candidate(f"{run.plan.name}: {strength:g} log π/π_start, {whole}", load, lambda: run.base.text)


def run_in(folder: Path) -> Run:
    """The run of a folder."""
    return Run.open(folder)


def _check_trained(run: Run, wanted: list[Rewarding]) -> None:
    number = 0
    for rewarding in run.plan.rewards:
        number += rewarding.feedback is not None
        if rewarding.feedback and rewarding in wanted and not run.files.reward(number).done:
            raise EvaluationError(
                f"{run.files.root}: its reward '{rewarding.voice.name}' is not trained yet; `alignzoo train {run.files.root}`"
            )
