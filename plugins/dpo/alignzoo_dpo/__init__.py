"""DPO and its relatives that learn from pairs, as a plugin."""

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
    yield Component(
        "optimizer",
        "ipo",
        "alignzoo_dpo.ipo:IPO",
        summary="Identity preference optimization: like DPO, but aims at a margin instead of an ever larger one",
        needs=("comparisons",),
        paper="https://arxiv.org/abs/2310.12036",
    )
    yield Component(
        "optimizer",
        "simpo",
        "alignzoo_dpo.simpo:SimPO",
        summary="Simple preference optimization: no reference, log-probability per token, a margin to lead by",
        needs=("comparisons",),
        paper="https://arxiv.org/abs/2405.14734",
    )
    yield Component(
        "optimizer",
        "orpo",
        "alignzoo_dpo.orpo:ORPO",
        summary="Odds ratio preference optimization: fine-tuning and preference in one stage, no reference",
        needs=("comparisons",),
        paper="https://arxiv.org/abs/2403.07691",
    )
