"""Everything that a run is made of, resolved, and whether it fits together."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from functools import partial
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Interval

from alignzoo import __version__
from alignzoo.interfaces import Asking, Manner
from alignzoo.lab.gone import Gone
from alignzoo.lab.reserve import Reserve, Whose
from alignzoo.learning.choices import Budget, Combine, Limits, Voice, Watch
from alignzoo.model.choices import Loading, Lora
from alignzoo.records import Feedback
from alignzoo.seam.composed import Composed
from alignzoo.seam.settings import table_of
from alignzoo.seam.zoo import Found

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
    """A component of a run, made with its settings; and, where it is a source of feedback, what chooses the answers that it is
    asked about, and the filters behind it."""

    found: Found
    made: Any
    filters: tuple[Part, ...] = ()
    acquisition: Part | None = None

    def row(self) -> dict[str, Any]:
        around: dict[str, Any] = {"acquisition": self.acquisition.row()} if self.acquisition else {}
        around |= {"filter": [sieve.row() for sieve in self.filters]} if self.filters else {}
        return {"use": self.found.full_name, **self._settings(), **around}

    def _settings(self) -> dict[str, Any]:
        if isinstance(self.made, Gone):
            return dict(self.made.settings)
        return table_of(self.made) if is_dataclass(self.made) else {}

    def behind(self) -> dict[str, Part]:
        """What stands around it, and what it has looked up itself, by its place below this one's."""
        chosen = {"acquisition": self.acquisition} if self.acquisition else {}
        sieves = {f"filter.{i}": sieve for i, sieve in enumerate(self.filters)}
        inner = self.made.looked_up() if isinstance(self.made, Composed) else {}
        return {**chosen, **sieves, **{f"within.{name}": Part(found, made) for name, (found, made) in inner.items()}}

    def collect(
        self, asking: Asking, reserve: Reserve | None = None, passed: dict[str, int] | None = None
    ) -> Iterator[Feedback]:
        """What a source gives, less what is held back, through its filters, one after the other; `passed` is told how many
        records came out of each."""
        count = partial(_counted, {} if passed is None else passed)
        records: Iterator[Feedback] = count(self.found.full_name, self.made.collect(asking))
        if reserve is not None and reserve.whose.held:
            records = count("whose.held", reserve.sift(records, asking.tally))
        for number, sieve in enumerate(self.filters):
            records = count(f"filter.{number} ({sieve.found.full_name})", sieve.made.sift(records, asking))
        return records


def _counted(passed: dict[str, int], name: str, records: Iterator[Feedback]) -> Iterator[Feedback]:
    passed[name] = 0

    def told() -> Iterator[Feedback]:
        for record in records:
            passed[name] += 1
            yield record

    return told()


@dataclass(frozen=True)
class Rewarding:
    """One reward of a run, and how it counts. Where there is `feedback`, the component is an optimizer that is trained on it
    from the start, and what it deploys is the reward."""

    part: Part
    voice: Voice = Voice()
    feedback: Part | None = None

    def row(self) -> dict[str, Any]:
        trained = {"feedback": self.feedback.row()} if self.feedback else {}
        return {**self.part.row(), **table_of(self.voice), **trained}


PREFERRED = "preferred by "
"""Before the name of a juror, in the figures of a run."""


@dataclass(frozen=True)
class Juror:
    """Who is shown the answers beside the judge: a reward that nobody raises. Where there is `feedback`, the component is an
    optimizer that is trained on it from the start, and what it deploys is the reward."""

    part: Part
    name: str
    feedback: Part | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name.strip() == self.name != "" and self.name.isprintable()):
            raise ValueError(f"name: is what a juror is called in reports, a word or some; got {self.name!r}")

    def row(self) -> dict[str, Any]:
        trained = {"feedback": self.feedback.row()} if self.feedback else {}
        return {**self.part.row(), "name": self.name, **trained}


Scoring = TypeVar("Scoring", Rewarding, Juror)


@dataclass(frozen=True)
class Answering:
    """How start and policy are asked the test prompts."""

    split: str = "test"
    """Which of the task's prompts."""
    prompts: Annotated[int, Ge(1)] = 200
    """How many of them at most."""
    file: str = ""
    """JSON lines with prompts of your own ("prompt": a text, or "turns": a list), instead of the task's."""
    n: Annotated[int, Interval(ge=1, le=10_000)] = 1
    """Answers to each."""
    manner: Manner = Manner(max_tokens=64)
    """How they are sampled. Its seed is counted from the run's."""

    def under(self, seed: int) -> Answering:
        """The same with the random numbers of one run: luck in drawing must not be the same under every seed."""
        return replace(self, manner=replace(self.manner, seed=(self.manner.seed + seed) % 2**31))


@dataclass(frozen=True)
class Trailing:
    """What a training leaves of its way, for pictures of reward against KL."""

    every: Annotated[int, Ge(0)] = 0
    """Updates between two points; 0 leaves no trail. The start is the first point."""
    prompts: Annotated[int, Ge(1)] = 32
    """How many are asked at each point, the same ones."""
    split: str = "validation"
    """Which of the task's prompts."""


@dataclass(frozen=True)
class Plan:
    """All of a run, resolved."""

    name: str
    optimizer: Part
    path: str = ""
    """The folder or hub name of the base, where no plugin brings it."""
    feedback: Part | None = None
    seed: int = 0
    checkpoint_every: int = 20
    threads: int = 0
    plugins: tuple[str, ...] = ()
    """Plugins in files of one's own, beside those that are installed."""
    model_part: Part | None = None
    loading: Loading = Loading()
    lora: Lora = Lora()
    task: Part | None = None
    start: Part | None = None
    start_feedback: Part | None = None
    rewards: tuple[Rewarding, ...] = ()
    combine: Combine = "sum"
    policy: Part | None = None
    """What is put around the trained policy before anybody asks it."""
    judge: Part | None = None
    jury: tuple[Juror, ...] = ()
    budget: Budget = Budget()
    watch: Watch = Watch()
    intake: Limits = Limits()
    answer: Answering = Answering()
    trail: Trailing = Trailing()
    whose: Whose = Whose()

    @property
    def model(self) -> str:
        """The folder or hub name of the base. A plugin that has to make its model does so when this is first asked."""
        return str(self.model_part.made.folder()) if self.model_part else self.path

    @property
    def learned(self) -> Part | None:
        """The source of feedback, if the optimizer learns from anything that it gives: what nobody reads is not paid for."""
        gives = self.feedback.made.gives if self.feedback else ()
        taught = {what for kind in gives for what in TEACHES[kind]}
        return self.feedback if taught.intersection(self.optimizer.made.needs) else None

    @property
    def raised(self) -> tuple[Rewarding, ...]:
        """The rewards, if the optimizer asks for any."""
        return self.rewards if "reward" in self.optimizer.made.needs else ()

    @property
    def trained_jury(self) -> dict[int, Juror]:
        """The jurors that are trained, by their numbers among all: those of the folders that they are trained in."""
        return {number: juror for number, juror in enumerate(self.jury, start=1) if juror.feedback}

    def parts(self) -> dict[str, Part]:
        """Every component, by its place in the file."""
        named = {
            "task": self.task,
            "model": self.model_part,
            "start": self.start,
            "start.feedback": self.start_feedback,
            "feedback": self.feedback,
            **{place: rewarding.part for place, rewarding in self.placed_rewards()},
            **{f"{place}.feedback": rewarding.feedback for place, rewarding in self.placed_rewards()},
            "optimizer": self.optimizer,
            "policy": self.policy,
            "judge": self.judge,
            **{place: juror.part for place, juror in self.placed_jury()},
            **{f"{place}.feedback": juror.feedback for place, juror in self.placed_jury()},
        }
        there = {place: part for place, part in named.items() if part is not None}
        behind = {f"{place}.{below}": more for place, part in there.items() for below, more in part.behind().items()}
        return {**there, **behind}

    def placed_rewards(self) -> list[tuple[str, Rewarding]]:
        """The rewards by their places in the file: "reward", or "reward.0", "reward.1", …"""
        return _placed("reward", self.rewards)

    def placed_jury(self) -> list[tuple[str, Juror]]:
        """The jury by their places in the file, likewise."""
        return _placed("jury", self.jury)

    def table(self) -> dict[str, Any]:
        """The run file with everything resolved: what `run.toml` holds, and what makes two runs the same."""
        scalars = ("name", "seed", "checkpoint_every", "threads", "combine")
        whole: dict[str, Any] = {name: getattr(self, name) for name in scalars}
        whole |= {"plugins": list(self.plugins)} if self.plugins else {}
        for place, part in self.parts().items():
            if place == "start.feedback":
                whole["start"]["feedback"] = part.row()
            elif place != "model" and not place.startswith(("reward", "jury")) and trunk(place) == place:
                whole[place] = part.row()
        for place, several in (("reward", self.rewards), ("jury", self.jury)):
            if rows := [one.row() for one in several]:
                whole[place] = rows[0] if len(rows) == 1 else rows
        named = self.model_part.row() if self.model_part else {"path": self.path}
        whole["model"] = {**named, **table_of(self.loading), "lora": table_of(self.lora)}
        for name in ("budget", "watch", "intake", "answer", "trail"):
            whole[name] = table_of(getattr(self, name))
        return {**whole, "whose": table_of(self.whose)} if self.whose != Whose() else whole

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


def _placed(place: str, several: Sequence[Scoring]) -> list[tuple[str, Scoring]]:
    return [(place if len(several) == 1 else f"{place}.{i}", one) for i, one in enumerate(several)]


def trunk(place: str) -> str:
    """The place of the component that a filter, an acquisition or one that it looked up belongs to; any other is its own."""
    return re.split(r"\.(?:filter|acquisition|within)\b", place)[0]


def check_judge(plan: Plan) -> Part:
    """The judge of a plan, for who needs one."""
    if plan.judge is None:
        raise PlanError('judge: nobody to judge the answers; name a reward: [judge] use = "…"')
    return plan.judge


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
