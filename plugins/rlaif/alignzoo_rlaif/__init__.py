"""Feedback from models: judges, a constitution, critique and revision, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    return ()
