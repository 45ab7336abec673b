"""Who says so, and how far to believe it: agreement, reliability, whose choices, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Command, Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "filter",
        "merged",
        "alignzoo_annotators.merged:Merged",
        "Repeated judgements of the same two answers become one: by majority, by votes, or by who can be relied on",
        paper="https://doi.org/10.2307/2346806",
    )
    yield Component(
        "filter",
        "whose",
        "alignzoo_annotators.whose:Whose",
        "Whose choices are learned: some annotators or groups only, or each with a share or an equal say",
    )


@hookimpl
def alignzoo_commands() -> Iterable[Command]:
    yield Command("annotators", "alignzoo_annotators.command", "tell who judged, how far they agree, and whom to rely on")
