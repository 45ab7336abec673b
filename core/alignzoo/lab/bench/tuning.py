"""Tuning as a part of the protocol: every entry gets the same number of trials, judged on validation prompts, and the best of
them is what runs on the test prompts, once.

    [tune]                      # for all entries
    trials = 8

    [entry.tune]                # what may be tuned of this one
    optimizer.descent.lr = {low = 1e-4, high = 1e-2, log = true}
    optimizer.beta = [0.05, 0.1, 0.3]

The first trial is the entry as it is written; the others are proposed by Optuna's TPE from a seed. Proposals depend on earlier
trials alone, so an interrupted tuning goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Annotated, Any

from annotated_types import Ge, Interval

from alignzoo.interfaces import Closed
from alignzoo.lab.plan import Plan, PlanError
from alignzoo.seam.settings import SettingsError, build, table_of


@dataclass(frozen=True)
class Tuning:
    """How much tuning each entry gets."""

    trials: Annotated[int, Interval(ge=1, le=10_000)] = 8
    """Runs of each entry, the one with its settings as written among them."""
    prompts: Annotated[int, Ge(1)] = 100
    """How many prompts a trial is judged on."""
    split: str = "validation"
    """Which of the task's prompts they are: never the test's."""
    seed: Annotated[int, Ge(0)] = 0
    """The seed of the trials' runs and of what is proposed."""

    def table(self) -> dict[str, Any]:
        return table_of(self)

    def plan(self, plan: Plan) -> Plan:
        """The run of a trial: judged on other prompts, by the judge alone, and leaving no trail."""
        how = replace(plan.answer, split=self.split, prompts=self.prompts)
        return replace(plan, answer=how, jury=(), trail=replace(plan.trail, every=0))

    def check(self, plan: Plan) -> None:
        """Refuse to tune on what is judged in the end."""
        if self.split == plan.answer.split:
            raise PlanError(f"tune.split: '{self.split}' are the prompts that the bench is judged on; tune on others")
        if plan.task is None or plan.answer.file:
            raise PlanError("tune: needs a task, whose validation prompts trials are judged on; answer.file has only one kind")
        if isinstance(plan.task.made, Closed):
            raise PlanError(f"tune: no prompt is held out to tune on: {plan.task.made.closed}")
        judged = {prompt.id for prompt in plan.task.made.prompts(plan.answer.split)}
        if shared := [prompt for prompt in plan.task.made.prompts(self.split) if prompt.id in judged]:
            others = f"are among those of '{plan.answer.split}', on which the bench is judged"
            raise PlanError(f"tune.split: {len(shared)} prompts of '{self.split}' {others}; tune on others")


@dataclass(frozen=True)
class Space:
    """The values that a setting may take: a range, or a list."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    """Whether only whole numbers are meant."""
    choices: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if not self.choices and not self.low < self.high:
            raise ValueError("write {low = …, high = …} with low below high, or a list of values")
        if self.log and self.low <= 0:
            raise ValueError("on a log scale low must be greater than 0")

    def examples(self) -> tuple[Any, ...]:
        """Values to see by whether the setting is there and can have all of them: each of a list, both ends of a range."""
        return self.choices or ((int(self.low), int(self.high)) if self.whole else (self.low, self.high))

    def table(self) -> Any:
        return list(self.choices) or {"low": self.low, "high": self.high, "log": self.log, "whole": self.whole}


@dataclass(frozen=True)
class Trial:
    """One trial that is through: what was changed, and how it was judged; None where it failed."""

    changes: Mapping[str, Any]
    value: float | None
    reason: str = ""
    """Why it failed."""


def proposed(space: Mapping[str, Space], past: Sequence[Trial], seed: int) -> dict[str, Any]:
    """The changes of the next trial. The first makes none."""
    if not past:
        return {}
    import optuna  # late: only who tunes has it

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    ranges = {place: _distribution(one, optuna.distributions) for place, one in space.items()}
    for trial in past[1:]:
        asked = study.ask(ranges)
        if trial.value is None:
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(asked, trial.value)
    return dict(study.ask(ranges).params)


def _distribution(space: Space, kinds: Any) -> Any:
    if space.choices:
        return kinds.CategoricalDistribution(space.choices)
    if space.whole:
        return kinds.IntDistribution(int(space.low), int(space.high), log=space.log)
    return kinds.FloatDistribution(space.low, space.high, log=space.log)


def best(past: Sequence[Trial]) -> Trial | None:
    """The trial that was judged highest, the earlier of equals; None if all failed."""
    return max((trial for trial in past if trial.value is not None), key=lambda trial: trial.value or 0.0, default=None)


# Reading ------------------------------------------------------------------------------------------------------------------


def read_tuning(given: Any, file: str) -> Tuning | None:
    if given is not None and find_spec("optuna") is None:
        raise SettingsError(f"{file}: tune: needs Optuna: pip install 'alignzoo[tune]', or leave [tune] out")
    return None if given is None else build(Tuning, given, "tune", file=file)


def read_space(given: Any, file: str) -> dict[str, Space]:
    """Each setting that may be tuned, by its place."""
    if given is None or given == "none":
        return {}
    if not isinstance(given, Mapping):
        raise SettingsError(f'{file}: tune: must be a table of settings and their ranges, or "none"')
    return {place: build(Space, row, f"tune.{place}", file=file) for place, row in _rows(given, "")}


def _rows(given: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, row in given.items():
        place = f"{above}.{name}" if above else name
        if isinstance(row, Mapping) and not {"low", "high", "choices"} & set(row):
            yield from _rows(row, place)
        else:
            yield place, {"choices": row} if isinstance(row, list) else row
