"""What the conformance kit is made of: a check with its id, a component on trial, and the verdict on it.

A check is a function with one sentence of doc. It returns where all is well and raises `Failed` or `NotRun` where it is not;
whatever else it raises is a failure, too. A check that builds on others names them as `after`: where one of those has failed it
is not run, so that one mistake in a plugin is told once, under its own id.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from alignzoo.interfaces import Lesson
from alignzoo.records import Completion, Feedback, Prompt
from alignzoo.seam.zoo import Broken, Found

Level = Literal["static", "cpu", "gpu"]
Status = Literal["passed", "failed", "not run", "expected"]
LEVELS: tuple[Level, ...] = ("static", "cpu", "gpu")


class Failed(Exception):
    """What a check found, and what to do about it."""


class NotRun(Exception):
    """Why a check does not apply here, or cannot be made."""


@dataclass(frozen=True)
class Trial:
    """How the kit tries a component, where its defaults are not enough. A component names its own as `Component.trial`, so that
    whoever has the plugin can check it; `conformance(name, trial=…)` takes another."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """As in a run file. They go before the kit's own, which make an optimizer quick."""
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    """Files that the settings name, by their paths below the folder that the checks run in."""
    lesson: Lesson | None = None
    """What an optimizer learns from, instead of the kit's: `learns` is then not run, for the kit cannot tell what is better."""
    prompts: Sequence[Prompt] = ()
    """What a reward is asked about, and a source of feedback may ask about, instead of the kit's prompts."""
    completions: Sequence[Completion] = ()
    """Answers to those prompts, one to each."""
    records: Sequence[Feedback] = ()
    """What a filter is given, instead of the kit's records."""
    expected: Mapping[str, str] = field(default_factory=dict)
    """Checks that must fail, by their ids, and why: one that passes all the same is a failure."""
    slow: str = ""
    """Why everything that needs the component made takes long: such checks are run with `--all` only."""
    position: Mapping[str, Any] = field(default_factory=dict)
    """Settings, besides those above, with which a source gives enough pairs to tell whether it goes by their order."""


@dataclass(frozen=True)
class Verdict:
    """What came of one check."""

    subject: str
    check: str
    status: Status
    said: str = ""
    seconds: float = 0.0

    def row(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class Check:
    """One thing that must hold."""

    id: str
    level: Level
    says: str
    after: tuple[str, ...]
    run: Callable[[Any], None]

    @property
    def kind(self) -> str:
        """What it is about: a plugin, any component, or a kind of component."""
        return self.id.partition(".")[0]


CHECKS: dict[str, Check] = {}
"""Every check by its id, in the order in which they are told."""


def check(kind: str, level: Level = "cpu", after: Sequence[str] = ()) -> Callable[[Callable[[Any], None]], Check]:
    """Make a function a check of the kit. `after` are ids, the kind left out where it is the same."""

    def made(function: Callable[[Any], None]) -> Check:
        says = " ".join((function.__doc__ or "").split())
        ids = tuple(one if "." in one else f"{kind}.{one}" for one in after)
        entry = Check(f"{kind}.{function.__name__.replace('_', '-')}", level, says, ids, function)
        return CHECKS.setdefault(entry.id, entry)

    return made


@dataclass(frozen=True)
class Offer:
    """A plugin as it is installed: what it offers, and its faults."""

    plugin: str
    module: str
    distribution: str
    version: str
    components: tuple[Found, ...] = ()
    broken: tuple[Broken, ...] = ()


@dataclass
class Subject:
    """A component on trial, or a plugin as a whole, the folder that it is tried in, and what is already known of it."""

    plugin: Offer
    component: Found | None = None
    given: Trial | None = None
    thorough: bool = False
    """Whether checks that take long are made, too."""
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    """What several checks look at, by its name."""

    @property
    def name(self) -> str:
        return self.component.full_name if self.component else f"plugin:{self.plugin.plugin}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of check that it is put to. What an optimizer deploys as a reward is tried as one."""
        if self.component is None:
            return ("plugin",)
        component = self.component.component
        return ("component", component.kind, *(["reward"] if component.gives == ("reward",) else []))

    @property
    def found(self) -> Found:
        """The component."""
        if self.component is None:
            raise NotRun("it is about one component, and this is a plugin as a whole")
        return self.component

    @cached_property
    def trial(self) -> Trial:
        """The one that was given, else the component's own, else an empty one."""
        if self.given is not None or self.component is None:
            return self.given or Trial()
        module, _, attribute = self.found.component.trial.partition(":")
        if not module:
            return Trial()
        from importlib import import_module

        own = getattr(import_module(module), attribute)
        if not isinstance(own, Trial):
            raise Failed(f"{module}:{attribute} is a {type(own).__name__}; a trial is an alignzoo.testing.Trial")
        return own

    @cached_property
    def object(self) -> Any:
        """What the component names."""
        return self.found.load()

    @cached_property
    def folder(self) -> Path:
        """Where the checks run: it holds the files of the trial and goes with this subject."""
        self.kept["folder"] = temporary = tempfile.TemporaryDirectory(prefix="alignzoo-check-")
        for name, content in self.trial.files.items():
            path = Path(temporary.name) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Path(temporary.name)

    def close(self) -> None:
        """Clear the folder away."""
        if self.__dict__.pop("folder", None) is not None:
            self.kept.pop("folder").cleanup()

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Something that several checks look at, made when the first of them asks."""
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]


def judged(one: Check, subject: Subject) -> Verdict:
    """The verdict of a check, found out when it is first asked for."""
    if one.id not in subject.verdicts:
        began = time.monotonic()
        status, said = _tried(one, subject)
        if (reason := _expected(one, subject)) and status == "passed":
            status, said = "failed", f"it passes, although the trial says that it must fail: {reason}. Take it off `expected`"
        elif reason and status == "failed":
            status, said = "expected", reason
        subject.verdicts[one.id] = Verdict(subject.name, one.id, status, said, time.monotonic() - began)
    return subject.verdicts[one.id]


def _tried(one: Check, subject: Subject) -> tuple[Status, str]:
    for earlier in (name for name in below(one) if CHECKS[name].kind in subject.kinds):
        if judged(CHECKS[earlier], subject).status in ("failed", "expected"):
            return "not run", f"it builds on {earlier}, which fails"
    try:
        with chdir(subject.folder), quiet_neighbours():
            one.run(subject)
    except NotRun as reason:
        return "not run", str(reason)
    except Failed as finding:
        return "failed", str(finding)
    except Exception as error:  # a plugin may raise anything
        return "failed", f"raises {type(error).__name__}: {error}"
    return "passed", ""


def below(one: Check) -> list[str]:
    """The checks that this one builds on, those that they build on first."""
    found: dict[str, None] = {}
    for earlier in one.after:
        found |= dict.fromkeys([*below(CHECKS[earlier]), earlier])
    return list(found)


def _expected(one: Check, subject: Subject) -> str:
    try:
        return subject.trial.expected.get(one.id, "")
    except Exception:  # a trial that cannot be had is told by the check that it is had
        return ""


@contextmanager
def quiet_neighbours() -> Iterator[None]:
    """What one check does to the process is undone before the next."""
    python, arrays, torches = random.getstate(), np.random.get_state(), torch.get_rng_state()
    dtype, grad, threads = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    environment = dict(os.environ)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        torch.set_rng_state(torches)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(environment)
