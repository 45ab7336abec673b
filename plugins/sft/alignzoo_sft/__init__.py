"""Supervised fine-tuning, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "optimizer",
        "sft",
        "alignzoo_sft.sft:SFT",
        summary="Supervised fine-tuning: imitate demonstrations, reply tokens only",
        needs=("demonstrations",),
        paper="https://arxiv.org/abs/2203.02155",
    )
