"""What a plugin may offer: an entry point of the group `alignzoo.plugins`, naming a module with these functions.

The module must be import-light: a component names its object as "module:attribute", and it is imported only when used.
"""

from __future__ import annotations

from alignzoo.seam import light as pluggy  # its markers, and no more of it
from alignzoo.seam.light import TYPE_CHECKING, dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Literal

    from alignzoo.records import Completion, Prompt

    Kind = Literal["optimizer", "reward", "feedback", "filter", "acquisition", "policy", "model", "task"]

API = "1.0"
"""The version of this page and of `interfaces`. A plugin built for 1.0 works with every 1.x."""

hookspec = pluggy.HookspecMarker("alignzoo")
hookimpl = pluggy.HookimplMarker("alignzoo")


@dataclass(frozen=True)
class Component:
    """One thing that a plugin adds. `object` is "module:attribute". `needs` says what an optimizer's lesson must hold
    or what a feedback source asks of the run; `gives` what records a source yields, or "reward" where that, and no policy,
    is what an optimizer deploys. `trial` names, as "module:attribute", how the conformance kit is to try the component (an
    `alignzoo.testing.Trial`), where its defaults are not enough."""

    kind: Kind
    id: str
    object: str
    summary: str
    needs: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    paper: str = ""
    api: str = API
    trial: str = ""


@dataclass(frozen=True)
class Command:
    """A verb of its own, alignzoo VERB …: `module` is imported only when the verb is used; it has `arguments(page)`, which
    tells an `argparse.ArgumentParser` what the verb takes, and `run(args)`, which does it and returns the exit code."""

    verb: str
    module: str
    summary: str
    api: str = API


@dataclass(frozen=True)
class Course:
    """A training that hooks are told of: which stage of which run ("start", "reward", …, "train"), the folder of that stage,
    and the run file with everything resolved."""

    run: str
    stage: str
    folder: str
    optimizer: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """What a plugin has to say to `alignzoo doctor`: what is wrong, and what to do about it."""

    problem: str
    fix: str


@hookspec
def alignzoo_components() -> Iterable[Component]:
    """Name the components of this plugin."""
    raise NotImplementedError


@hookspec
def alignzoo_commands() -> Iterable[Command]:
    """Name the commands that this plugin adds to `alignzoo`."""
    raise NotImplementedError


@hookspec
def alignzoo_run_started(course: Course) -> None:
    """A training begins, or is taken up again."""


@hookspec
def alignzoo_run_updated(course: Course, update: int, metrics: Mapping[str, float]) -> None:
    """One update was made: its number, and what the optimizer and the canaries tell of it."""


@hookspec
def alignzoo_run_ended(course: Course, summary: Mapping[str, Any]) -> None:
    """A training is through, or stopped by its budget; `summary` is what is written of it."""


@hookspec
def alignzoo_report_columns(
    prompts: Sequence[Prompt], completions: Sequence[Completion]
) -> Mapping[str, Sequence[float]] | None:
    """More to report of the answers of start and policy: under each name one number for each (prompt, completion)."""


@hookspec
def alignzoo_findings() -> Iterable[Finding] | None:
    """Look at what this plugin needs from the machine, and say what is wrong with it."""


def __getattr__(name: str) -> Any:
    if name == "Kind":
        from typing import Literal

        from alignzoo.seam.vetting import KINDS

        return Literal[KINDS]
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
