"""Prompts of one's own as a task, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "task",
        "prompts",
        "alignzoo_prompts.prompts:Prompts",
        summary="prompts from a file of JSON lines, split by prompt",
        trial="alignzoo_prompts.trials:prompts",
    )
