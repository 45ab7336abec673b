"""A run file → everything that a run is made of, checked before any model is loaded."""

from __future__ import annotations

import importlib.metadata
import platform
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from alignzoo import __version__
from alignzoo.interfaces import FeedbackSource, Manner, ModelSource, Optimizer, Reward, Task
from alignzoo.learning.canaries import Watch
from alignzoo.learning.intake import Limits
from alignzoo.learning.ledger import Budget
from alignzoo.model.base import Lora
from alignzoo.model.loading import Loading
from alignzoo.seam.discovery import discover
from alignzoo.seam.hookspecs import Kind
from alignzoo.seam.settings import SettingsError, build, override, table_of
from alignzoo.seam.zoo import Found, Zoo, ZooError

TEACHES: Mapping[str, tuple[str, ...]] = {
    "demonstration": ("demonstrations",),
    "comparison": ("comparisons", "ratings"),
    "ranking": ("rankings", "comparisons", "ratings"),
    "rating": ("ratings",),
    "critique": ("comparisons", "demonstrations", "ratings"),
}
"""What an optimizer can learn from each kind of record (by the conversions in `records`)."""


class PlanError(ValueError):
    """A run that cannot work, found out before it starts."""


@dataclass(frozen=True)
class Part:
    """A component of a run, made with its settings."""

    found: Found
    made: Any

    def row(self) -> dict[str, Any]:
        return {"use": self.found.full_name, **(table_of(self.made) if is_dataclass(self.made) else {})}


@dataclass(frozen=True)
class Answering:
    """How start and policy are asked the test prompts."""

    split: str = "test"
    """Which of the task's prompts."""
    prompts: Annotated[int, Ge(1)] = 200
    """How many of them at most."""
    file: str = ""
    """JSON lines with prompts of your own ("prompt": a text, or "turns": a list), instead of the task's."""
    n: Annotated[int, Ge(1)] = 1
    """Answers to each."""
    manner: Manner = Manner(max_tokens=64)
    """How they are sampled."""


@dataclass(frozen=True)
class Plan:
    """All of a run, resolved."""

    name: str
    model: str
    """The folder or hub name of the base."""
    optimizer: Part
    feedback: Part | None = None
    seed: int = 0
    checkpoint_every: int = 20
    threads: int = 0
    model_part: Part | None = None
    loading: Loading = Loading()
    lora: Lora = Lora()
    task: Part | None = None
    start: Part | None = None
    start_feedback: Part | None = None
    reward: Part | None = None
    judge: Part | None = None
    budget: Budget = Budget()
    watch: Watch = Watch()
    intake: Limits = Limits()
    answer: Answering = Answering()

    def parts(self) -> dict[str, Part]:
        """Every component, by its place in the file."""
        named = {
            "task": self.task,
            "model": self.model_part,
            "start": self.start,
            "start.feedback": self.start_feedback,
            "feedback": self.feedback,
            "reward": self.reward,
            "optimizer": self.optimizer,
            "judge": self.judge,
        }
        return {place: part for place, part in named.items() if part is not None}

    def table(self) -> dict[str, Any]:
        """The run file with everything resolved: what `run.toml` holds, and what makes two runs the same."""
        whole: dict[str, Any] = {name: getattr(self, name) for name in ("name", "seed", "checkpoint_every", "threads")}
        for place, part in self.parts().items():
            if place == "start.feedback":
                whole["start"]["feedback"] = part.row()
            elif place != "model":
                whole[place] = part.row()
        named = self.model_part.row() if self.model_part else {"path": self.model}
        whole["model"] = {**named, **table_of(self.loading), "lora": table_of(self.lora)}
        for name in ("budget", "watch", "intake", "answer"):
            whole[name] = table_of(getattr(self, name))
        return whole

    def made_with(self) -> dict[str, Any]:
        """Versions, and the digest of every plugin's bytes, so that a number is tied to what produced it."""
        libraries = ("torch", "transformers", "peft", "bitsandbytes")
        return {
            "alignzoo": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in libraries},
            "plugins": {
                part.found.full_name: f"{part.found.version} sha256:{part.found.digest()}" for part in self.parts().values()
            },
        }


_PLACES: Mapping[str, tuple[Kind, type]] = {
    "task": ("task", Task),
    "feedback": ("feedback", FeedbackSource),
    "reward": ("reward", Reward),
    "optimizer": ("optimizer", Optimizer),
    "start": ("optimizer", Optimizer),
    "judge": ("reward", Reward),
}
_SECTIONS = (
    "name",
    "seed",
    "checkpoint_every",
    "threads",
    "model",
    "budget",
    "watch",
    "intake",
    "answer",
    "made_with",
    *_PLACES,
)


def read_plan(path: Path, changes: Sequence[str] = (), zoo: Zoo | None = None) -> Plan:
    """The plan of a run file, with settings overridden as "optimizer.beta=0.2"."""
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanError(f"there is no run file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: not TOML: {error}") from None
    for change in changes:
        table = override(table, change)
    return plan_of({"name": path.stem, **table}, file=path.name, zoo=zoo or discover())


def plan_of(table: Mapping[str, Any], zoo: Zoo, file: str = "") -> Plan:
    """The plan that a table describes. Everything wrong with it is reported at once."""
    reader = _Reader(file, zoo, [])
    plan = reader.plan(table)
    if reader.problems:
        raise SettingsError(*reader.problems)
    _check_fit(plan, zoo)
    return plan


@dataclass
class _Head:
    """The settings at the top of a run file."""

    name: str = "run"
    seed: Annotated[int, Ge(0)] = 0
    checkpoint_every: Annotated[int, Ge(1)] = 20
    threads: Annotated[int, Ge(0)] = 0
    """CPU threads; 0 leaves it to torch. Small models are steadier, and no slower, on one."""


@dataclass
class _Reader:
    """One reading of a run file, gathering the problems on its way."""

    file: str
    zoo: Zoo
    problems: list[str] = field(default_factory=list)

    def plan(self, table: Mapping[str, Any]) -> Plan:
        known = {f.name for f in fields(_Head)}
        odd = {name: value for name, value in table.items() if name not in _SECTIONS}
        head = self.section(_Head, {k: v for k, v in table.items() if k in known} | odd, "")
        seed = head.seed
        start = dict(table.get("start", {}))
        start_feedback = start.pop("feedback", None)
        parts = {
            place: self.part(place, *_PLACES[place], dict(table[place] if place != "start" else start), seed)
            for place in _PLACES
            if place in table
        }
        if start_feedback is not None:
            parts["start_feedback"] = self.part("start.feedback", "feedback", FeedbackSource, dict(start_feedback), seed)
        if "optimizer" not in table:
            self.problems.append(f'{self.file}: optimizer: missing; say which: [optimizer] use = "dpo"')
        model_table = dict(table.get("model", {}))
        lora = self.section(Lora, model_table.pop("lora", {}), "model.lora")
        path, model_part = self.model(model_table)
        sections = {
            "loading": self.section(Loading, model_table, "model"),
            "budget": self.section(Budget, table.get("budget", {}), "budget"),
            "watch": self.section(Watch, table.get("watch", {}), "watch"),
            "intake": self.section(Limits, table.get("intake", {}), "intake"),
            "answer": self.section(Answering, table.get("answer", {}), "answer"),
        }
        return Plan(
            name=head.name,
            seed=seed,
            checkpoint_every=head.checkpoint_every,
            threads=head.threads,
            model=path,
            model_part=model_part,
            lora=lora,
            **sections,
            **{"optimizer": None, **parts},  # type: ignore[arg-type]
        )

    def section(self, kind: type[Any], table: Any, place: str) -> Any:
        try:
            return build(kind, table, place, file=self.file)
        except SettingsError as error:
            self.problems += error.problems
            return kind()

    def part(self, place: str, kind: Kind, protocol: type, table: dict[str, Any], seed: int) -> Part | None:
        """A component by its `use`, made with the rest of its table; the run's seed serves where it has none of its own."""
        name = table.pop("use", None)
        if not isinstance(name, str):
            self.problems.append(f'{self.file}: {place}: say what to use: use = "…" (see `alignzoo list --kind {kind}`)')
            return None
        try:
            found = self.zoo.find(kind, name)
            described = found.load()
        except ZooError as error:
            self.problems.append(f"{self.file}: {place}.use: {error}")
            return None
        if is_dataclass(described) and any(f.name == "seed" for f in fields(described)):
            table = {"seed": seed, **table}
        try:
            made = build(described, table, place, file=self.file) if isinstance(described, type) else described
        except SettingsError as error:
            self.problems += error.problems
            return None
        if not isinstance(made, protocol):
            self.problems.append(f"{self.file}: {place}.use: {found.full_name} is no {protocol.__name__}; tell its author")
            return None
        return Part(found, made)

    def model(self, table: dict[str, Any]) -> tuple[str, Part | None]:
        path = table.pop("path", "")
        if "use" not in table:
            if not path or not isinstance(path, str):
                self.problems.append(f'{self.file}: model: say which: path = "folder or hub name", or use = "playground"')
            return str(path), None
        own = {key: table.pop(key) for key in list(table) if key not in {f.name for f in fields(Loading)}}
        part = self.part("model", "model", ModelSource, own, 0)
        return (part.made.folder() if part else ""), part


def _check_fit(plan: Plan, zoo: Zoo) -> None:
    """Refuse what cannot work: an optimizer whose needs nothing in the run meets."""
    pairs = [("optimizer", plan.optimizer, plan.feedback), ("start", plan.start, plan.start_feedback)]
    for place, optimizer, feedback in pairs:
        if optimizer is None:
            continue
        given = {what for kind in (feedback.made.gives if feedback else ()) for what in TEACHES[kind]}
        given |= {"prompts"} if plan.task else set()
        given |= {"reward"} if plan.reward else set()
        missing = [need for need in optimizer.made.needs if need not in given]
        if missing:
            raise PlanError(_misfit(place, optimizer, feedback, missing, zoo))
    for place, feedback in (("feedback", plan.feedback), ("start.feedback", plan.start_feedback)):
        if feedback and "prompts" in feedback.made.asks and plan.task is None:
            raise PlanError(f'{place}: {feedback.found.full_name} asks about prompts; name a task: [task] use = "…"')
    if plan.task is None and not plan.answer.file:
        raise PlanError('answer: nothing to ask the policy; name a task ([task] use = "…") or prompts (answer.file = "…")')


def _misfit(place: str, optimizer: Part, feedback: Part | None, missing: Sequence[str], zoo: Zoo) -> str:
    fitting = sorted(
        found.full_name
        for found in zoo.components
        if found.component.kind == "feedback"
        and any(need in TEACHES.get(kind, ()) for kind in found.component.gives for need in missing)
    )
    source = (
        f"{feedback.found.full_name} as it is set gives {', '.join(feedback.made.gives)}"
        if feedback
        else "no feedback is named"
    )
    hint = f"; sources that can give {' or '.join(missing)}: {', '.join(fitting)}" if fitting else ""
    if set(missing) <= {"prompts", "reward"}:
        wanted = {"prompts": "[task]", "reward": "[reward]"}
        hint = f"; add {' and '.join(wanted[need] for need in missing)} to the run file"
    return f"{place}: {optimizer.found.full_name} needs {' and '.join(missing)}, but {source}{hint}"


def differences(old: Mapping[str, Any], new: Mapping[str, Any], above: str = "") -> list[str]:
    """Settings in which two resolved tables differ, for a reader."""
    told = []
    for key in sorted({*old, *new}):
        before, after = old.get(key, "(not there)"), new.get(key, "(not there)")
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            told += differences(before, after, f"{above}{key}.")
        elif before != after:
            told.append(f"{above}{key}: {before} there, {after} now")
    return told
