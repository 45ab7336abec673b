"""Implicit language Q-learning, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "optimizer",
        "ilql",
        "alignzoo_ilql.ilql:ILQL",
        summary="Implicit language Q-learning: offline values of tokens from rated answers steer the policy as it writes",
        needs=("ratings",),
        paper="https://arxiv.org/abs/2206.11871",
        trial="alignzoo_ilql.trials:ilql",
    )
