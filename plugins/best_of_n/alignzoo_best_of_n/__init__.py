"""Best-of-N and its distillation, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    return ()
