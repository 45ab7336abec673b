"""Telling plugins of runs. Each is called alone: what one raises is told once, and it is not called again in this run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from alignzoo.seam.calling import manager
from alignzoo.seam.hookspecs import Course, Finding
from alignzoo.seam.zoo import Hooked

if TYPE_CHECKING:
    from alignzoo.records import Completion, Prompt


T = TypeVar("T")


@dataclass
class Hooks:
    """The plugins that want to be told, and where their mistakes are told."""

    hooked: Iterable[Hooked]
    complain: Callable[[str], None]
    deaf: set[str] = field(default_factory=set)
    """Plugins that raised: they are told nothing more."""
    managers: dict[str, pluggy.PluginManager] = field(default_factory=dict)
    """What calls each plugin, made when the first hook is called."""

    def started(self, course: Course) -> None:
        self._tell("alignzoo_run_started", {"course": course})

    def updated(self, course: Course, update: int, metrics: dict[str, float]) -> None:
        self._tell("alignzoo_run_updated", {"course": course, "update": update, "metrics": MappingProxyType(metrics)})

    def ended(self, course: Course, summary: Mapping[str, Any]) -> None:
        self._tell("alignzoo_run_ended", {"course": course, "summary": summary})

    def columns(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> dict[str, list[float]]:
        """What the plugins report of answers, each column under its name and its plugin's."""

        def whole(columns: Any) -> dict[str, list[float]]:
            read = {str(name): [float(number) for number in numbers] for name, numbers in columns.items()}
            for name, column in read.items():
                if len(column) != len(completions) or not all(map(math.isfinite, column)):
                    raise ValueError(f"column '{name}' is not one finite number for each of {len(completions)} answers")
            return read

        asked = self._answers("alignzoo_report_columns", {"prompts": prompts, "completions": completions}, whole)
        return {f"{name} ({plugin})": column for plugin, columns in asked for name, column in columns.items()}

    def findings(self) -> list[tuple[str, Finding]]:
        """What the plugins say to the doctor, each finding with the plugin's name."""
        asked = self._answers("alignzoo_findings", {}, lambda findings: [Finding(f.problem, f.fix) for f in findings])
        return [(plugin, found) for plugin, several in asked for found in several]

    def _tell(self, hook: str, what: Mapping[str, Any]) -> None:
        for _ in self._answers(hook, what, lambda answer: answer):
            pass

    def _answers(self, hook: str, what: Mapping[str, Any], read: Callable[[Any], T]) -> Iterator[tuple[str, T]]:
        """What each plugin that has this hook answers, as `read` takes it: what goes wrong in reading is the plugin's too."""
        for one in self.hooked:
            if one.plugin in self.deaf:
                continue
            try:
                answers = [read(answer) for answer in getattr(self._manager(one).hook, hook)(**what)]
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a plugin may raise anything, or call sys.exit; the run goes on
                self.deaf.add(one.plugin)
                self.complain(
                    f"warning: plugin '{one.plugin}' ({one.distribution} {one.version}): {hook} raises "
                    f"{type(error).__name__}: {error}; it is told nothing more. Install another version, or uninstall it"
                )
            else:
                yield from ((one.plugin, answer) for answer in answers)

    def _manager(self, one: Hooked) -> pluggy.PluginManager:
        if one.plugin not in self.managers:
            self.managers[one.plugin] = manager(one.module, one.plugin)
        return self.managers[one.plugin]
