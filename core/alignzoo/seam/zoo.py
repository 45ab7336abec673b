"""What is installed, and what its names mean.

A component's full name is `optimizer:ppo/ppo`: kind, plugin, component. Short forms are `ppo`, `ppo/ppo` and
`optimizer:ppo`. An installed plugin is never fatal; one that somebody names is, when it cannot be had.
"""

from __future__ import annotations

import os
import sys

from alignzoo.seam.hookspecs import Component
from alignzoo.seam.installed import LOCAL
from alignzoo.seam.light import TYPE_CHECKING, dataclass
from alignzoo.seam.nearest import near, nearest
from alignzoo.seam.source import digest
from alignzoo.seam.vetting import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType
    from typing import Any

    from alignzoo.seam.hookspecs import Command, Kind
    from alignzoo.seam.installed import Entry
    from alignzoo.seam.registry import Registry


class ZooError(ValueError):
    """A name that means nothing here, too much, or something that cannot be loaded."""


class Unusable(ZooError):
    """A component that is installed and rightly named, and broken: nothing that the user wrote would mend it."""


@dataclass(frozen=True)
class Found:
    """A component, and where it comes from."""

    component: Component
    plugin: str
    package: str
    distribution: str
    version: str

    @property
    def full_name(self) -> str:
        if not self.plugin:
            return self.component.object
        return f"{self.component.kind}:{self.plugin}/{self.component.id}"

    @property
    def origin(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()

    def load(self) -> Any:
        """Import the object: the only moment at which a plugin's heavy code runs."""
        import importlib

        module_name, _, attribute = self.component.object.partition(":")
        try:
            module = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            raise self._fault(f"{self._blame()} cannot be imported: {reason}. {self._remedy()}") from error
        try:
            return getattr(module, attribute)
        except AttributeError:
            known = [name for name in vars(module) if not name.startswith("_")]
            close = near(attribute, known)
            hint = f" (it has '{close}')" if close else ""
            raise self._fault(
                f"{self._blame()} is '{self.component.object}', but {module_name} has no '{attribute}'{hint}. {self._remedy()}"
            ) from None

    def digest(self) -> str:
        """What the bytes of the plugin's package come to; the same in a checkout and in an installed wheel."""
        return digest(self.package)

    def _fault(self, words: str) -> ZooError:
        return Unusable(words) if self.plugin else ZooError(words)

    def _blame(self) -> str:
        if not self.plugin:
            return f"'{self.component.object}', a function of your own,"
        return f"{self.full_name}, of plugin '{self.plugin}' ({self.origin}),"

    def _remedy(self) -> str:
        if not self.plugin:
            return "It is looked for among what is installed, and then in the folder that the command is run in"
        if self.version == LOCAL:
            return f"Mend {self.distribution}"
        return f"Install {self.distribution} again or another version of it; if it stays, tell its author"


@dataclass(frozen=True)
class Added:
    """A command that a plugin adds, and where it comes from."""

    command: Command
    plugin: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Hooked:
    """A plugin that wants to be told of runs, and the module with its hooks."""

    module: ModuleType
    plugin: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Broken:
    """A fault in an installed plugin: why, and what to do. `holds` are the component ids that it may be hiding; empty
    where its components can be used all the same."""

    plugin: str
    distribution: str
    version: str
    reason: str
    fix: str
    holds: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()


@dataclass(frozen=True)
class Zoo:
    """Every component that can be used, and every fault."""

    components: tuple[Found, ...]
    broken: tuple[Broken, ...]
    registry: Registry
    commands: tuple[Added, ...] = ()
    hooked: tuple[Hooked, ...] = ()
    disabled: tuple[Entry, ...] = ()
    files: tuple[str, ...] = ()
    """The plugins among them that are files which somebody named."""

    def find(self, kind: Kind, name: str) -> Found:
        """The component of this kind that a name means, or a `ZooError` that says what was meant, perhaps."""
        if kind == "reward" and _is_own(name):
            return own_reward(name)
        asked, plugin, component = _parts(name)
        if asked and asked != kind:
            raise ZooError(f"'{name}' names {_a(asked)}, but {_a(kind)} is needed here; `alignzoo list --kind {kind}`")
        of_kind = [found for found in self.components if found.component.kind == kind]
        return self._one(name, kind, of_kind, plugin, component)

    def lookup(self, name: str) -> Found:
        """The component of any kind that a name means."""
        asked, plugin, component = _parts(name)
        if asked:
            return self.find(asked, name)
        return self._one(name, "component", self.components, plugin, component)

    def _one(self, name: str, what: str, among: Iterable[Found], plugin: str, component: str) -> Found:
        there = list(among)
        matching = [f for f in there if f.component.id == component and plugin in ("", f.plugin)]
        if len(matching) > 1 and len({found.component.kind for found in matching}) == 1:
            matching = [found for found in matching if self._owned(found)] or matching
        if len(matching) == 1:
            return matching[0]
        if matching:
            names = ", ".join(sorted(found.full_name for found in matching))
            raise ZooError(f"'{name}' can mean {names}; write the full name")
        for fault in self.broken:
            if component in fault.holds or plugin == fault.plugin:
                raise Unusable(
                    f"no {what} named '{name}' can be used: plugin '{fault.plugin}' ({fault.origin}) is installed "
                    f"but broken: {fault.reason}. {fault.fix}"
                )
        listed = self._listed(component, plugin)
        for entry in self.disabled:
            if entry.plugin in (component, plugin, *listed):
                raise Unusable(
                    f"no {what} named '{name}' can be used: plugin '{entry.plugin}' is disabled; alignzoo enable {entry.plugin}"
                )
        raise ZooError(self._unknown(name, what, there, component, listed))

    def _owned(self, found: Found) -> bool:
        """Whether the registry lists this component: installing something else cannot change what its name means."""
        listed = (entry.components for entry in self.registry.plugin if entry.id == found.plugin)
        return any(f"{found.component.kind}:{found.component.id}" in components for components in listed)

    def _unknown(self, name: str, what: str, there: list[Found], component: str, listed: list[str]) -> str:
        elsewhere = [found.full_name for found in self.components if found.component.id == component]
        if elsewhere:
            return f"no {what} named '{name}'; there is {', '.join(sorted(elsewhere))}"
        if listed:
            return f"no {what} named '{name}' is installed; the registry has it: alignzoo install {listed[0]}"
        short = [found.component.id for found in there]
        return f"no {what} named '{name}'{nearest(component, short)}"

    def _listed(self, component: str, plugin: str) -> list[str]:
        """The registered plugins, not bundled ones unless disabled, that offer a component of this id."""
        here = {found.plugin for found in self.components}
        offering = [p for p in self.registry.plugin if component in [c.partition(":")[2] for c in p.components]]
        return [p.id for p in offering if p.id not in here and plugin in ("", p.id)]


def _is_own(name: str) -> bool:
    """Whether it is written "module:function", where a kind is no module."""
    module, _, function = name.partition(":")
    return module not in KINDS and function.isidentifier() and all(part.isidentifier() for part in module.split("."))


def own_reward(name: str) -> Found:
    """A function "module:function" as a reward; its module may lie in the folder that the command is run in."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that it shadows nothing
    package = name.partition(":")[0].partition(".")[0]
    return Found(Component("reward", name.partition(":")[2], name, "a function of your own"), "", package, "", "")


def _parts(name: str) -> tuple[Any, str, str]:
    """(kind, plugin, component) of a name; what it does not say is empty."""
    kind, colon, rest = name.rpartition(":")
    if colon and kind not in KINDS:
        raise ZooError(f"'{name}': no kind of component is named '{kind}'{nearest(kind, KINDS)}")
    plugin, _, component = rest.rpartition("/")
    return kind, plugin, component


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
