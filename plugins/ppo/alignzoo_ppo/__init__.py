"""Proximal policy optimization for language models, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "optimizer",
        "ppo",
        "alignzoo_ppo.ppo:PPO",
        summary="Proximal policy optimization: a critic, a clipped surrogate, a KL leash; any reward",
        needs=("prompts", "reward"),
        paper="https://arxiv.org/abs/1909.08593",
    )
