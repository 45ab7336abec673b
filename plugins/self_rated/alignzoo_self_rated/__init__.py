"""A policy's own answers, rated by a reward, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "feedback",
        "self-rated",
        "alignzoo_self_rated.self_rated:SelfRated",
        summary="the start's own answers to the run's prompts, rated or compared by any reward",
        needs=("prompts", "policy"),
        gives=("rating", "comparison"),
        trial="alignzoo_self_rated.trials:self_rated",
    )
