"""Best-of-N and its distillation, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "optimizer",
        "best-of-n",
        "alignzoo_best_of_n.best_of_n:BestOfN",
        summary="Best-of-N: draw several answers, give the one that the reward likes best; trains nothing",
        needs=("reward",),
        paper="https://arxiv.org/abs/2009.01325",
    )
    yield Component(
        "optimizer",
        "expert-iteration",
        "alignzoo_best_of_n.expert_iteration:ExpertIteration",
        summary="Best-of-N, distilled: imitate the best of one's own answers, round by round",
        needs=("prompts", "reward"),
        paper="https://arxiv.org/abs/2308.01825",
        trial="alignzoo_best_of_n.trials:expert_iteration",
    )
