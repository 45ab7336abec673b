"""Online and iterative DPO, as a plugin: fresh pairs each round, judged by a reward."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "optimizer",
        "online-dpo",
        "alignzoo_online_dpo.online_dpo:OnlineDPO",
        summary="Online DPO: the policy writes the pairs, a reward or judge says which is better; iterative with larger rounds",
        needs=("prompts", "reward"),
        paper="https://arxiv.org/abs/2402.04792",
    )
