"""KTO and BCO, as a plugin: learning from thumbs up and down."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "optimizer",
        "kto",
        "alignzoo_kto.kto:KTO",
        summary="Kahneman-Tversky optimization: thumbs up and down on single answers, unbalanced or not; no pairs",
        needs=("ratings",),
        paper="https://arxiv.org/abs/2402.01306",
    )
    yield Component(
        "optimizer",
        "bco",
        "alignzoo_kto.bco:BCO",
        summary="Binary classifier optimization: the implicit reward as a classifier of thumbs up and down",
        needs=("ratings",),
        paper="https://arxiv.org/abs/2404.04656",
    )
