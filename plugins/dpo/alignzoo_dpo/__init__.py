"""Direct preference optimization, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "optimizer",
        "dpo",
        "alignzoo_dpo.dpo:DPO",
        summary="Direct preference optimization: pairs, no reward model, no sampling",
        needs=("comparisons",),
        paper="https://arxiv.org/abs/2305.18290",
    )
