"""RLOO, GRPO, REINFORCE++ and NLPO, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "optimizer",
        "rloo",
        "alignzoo_policy_gradient.rloo:RLOO",
        summary="REINFORCE leave-one-out: several answers to each prompt, each measured against the others",
        needs=("prompts", "reward"),
        paper="https://arxiv.org/abs/2402.14740",
    )
    yield Component(
        "optimizer",
        "grpo",
        "alignzoo_policy_gradient.grpo:GRPO",
        summary="Group relative policy optimization, with Dr. GRPO and DAPO's loss as settings",
        needs=("prompts", "reward"),
        paper="https://arxiv.org/abs/2402.03300",
    )
    yield Component(
        "optimizer",
        "reinforce-plus-plus",
        "alignzoo_policy_gradient.reinforce:ReinforcePlusPlus",
        summary="REINFORCE with PPO's clip, a KL penalty on each token and advantages whitened over the batch; no critic",
        needs=("prompts", "reward"),
        paper="https://arxiv.org/abs/2501.03262",
    )
    yield Component(
        "optimizer",
        "nlpo",
        "alignzoo_policy_gradient.nlpo:NLPO",
        summary="PPO's clip without a critic, where only what an older copy of the policy finds likely may be sampled",
        needs=("prompts", "reward"),
        paper="https://arxiv.org/abs/2210.01241",
    )
