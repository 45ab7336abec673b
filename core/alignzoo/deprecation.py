"""Names that are on their way out: they work, and warn, for at least one minor version before a major one drops them.

@deprecated("1.1", "use role_on")
def policy_on(base): ...

__getattr__ = moved(__name__, {"old_name": Moved("alignzoo.model.role:role_on", "1.1")})
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

C = TypeVar("C", bound=Callable[..., Any])


class AlignzooDeprecation(DeprecationWarning):
    """A name of the plugin API that the next major version will not have."""


@dataclass(frozen=True)
class Moved:
    """Where a name is now ("module:attribute"), and the version of the plugin API that moved it there."""

    to: str
    since: str


def deprecated(since: str, instead: str) -> Callable[[C], C]:
    """Mark a function, method or class as going: it warns where it is called. `since` is the plugin API's version, and
    `instead` what to do ("use role_on")."""

    def mark(thing: C) -> C:
        words = f"{thing.__module__}.{thing.__qualname__} is deprecated since plugin API {since}: {instead}"
        if isinstance(thing, type):
            made: Any = getattr(thing, "__init__")  # noqa: B009 (to mypy an instance's is unsound; this is the class's)

            @functools.wraps(made)
            def warned_init(self: Any, *args: Any, **named: Any) -> None:
                warnings.warn(words, AlignzooDeprecation, stacklevel=2)
                made(self, *args, **named)

            setattr(thing, "__init__", warned_init)  # noqa: B010 (mypy knows no assignment to a method)
            return thing

        @functools.wraps(thing)
        def warned(*args: Any, **named: Any) -> Any:
            warnings.warn(words, AlignzooDeprecation, stacklevel=2)
            return thing(*args, **named)

        return warned  # type: ignore[return-value]

    return mark


def moved(module: str, names: Mapping[str, Moved]) -> Callable[[str], Any]:
    """A module's `__getattr__` that still finds names under which things were once known, and warns."""

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module '{module}' has no attribute '{name}'")
        there, since = names[name].to, names[name].since
        words = f"{module}.{name} is deprecated since plugin API {since}: it is {there.replace(':', '.')} now"
        warnings.warn(words, AlignzooDeprecation, stacklevel=2)
        place, _, attribute = there.partition(":")
        return getattr(importlib.import_module(place), attribute)

    return find
