"""Who says so, and how far to believe it: agreement, reliability, whose choices, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Command, Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "filter",
        "merged",
        "alignzoo_annotators.merged:Merged",
        "make one of the judgements of the same two answers, by majority, by votes, or by who can be relied on",
        paper="https://doi.org/10.2307/2346806",
        trial="alignzoo_annotators.trials:merged",
    )
    yield Component(
        "filter",
        "whose",
        "alignzoo_annotators.whose:Whose",
        "learn the choices of some annotators or groups only, or of each to a share or alike",
    )


@hookimpl
def alignzoo_commands() -> Iterable[Command]:
    yield Command("annotators", "alignzoo_annotators.command", "tell who judged, how far they agree, and whom to rely on")
