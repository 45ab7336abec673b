"""Reward models, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "optimizer",
        "reward-model",
        "alignzoo_reward_model.reward_model:RewardModel",
        summary="Reward model: an adapter and a head learn to score answers from comparisons, rankings or ratings",
        needs=("comparisons",),
        gives=("reward",),
        paper="https://arxiv.org/abs/2203.02155",
    )
