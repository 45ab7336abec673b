"""Random walks: trlX's benchmark, a game so small that every way to play it is known, and a model that has watched it."""

from __future__ import annotations

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    """A task, a reward, feedback and a model that belong together."""
    here = "alignzoo_random_walks"
    return (
        Component(
            "task",
            "random-walks",
            f"{here}.task:RandomWalks",
            "the twenty places where a random walk may begin; find the shortest way to the goal",
        ),
        Component(
            "reward",
            "random-walks",
            f"{here}.reward:Optimality",
            "how near a walk is to the shortest way from where it begins, in [0, 1]",
            trial=f"{here}.trials:reward",
        ),
        Component(
            "feedback",
            "random-walks",
            f"{here}.feedback:RandomWalksFeedback",
            "the thousand random walks, shown or rated; or walks of the policy's own, compared",
            needs=("policy",),
            gives=("demonstration", "rating", "comparison"),
        ),
        Component(
            "model",
            "random-walks",
            f"{here}.model:RandomWalksModel",
            "a GPT-2 of 1.5 million parameters that imitates the walks; made here in half a minute, and kept",
            trial=f"{here}.trials:model",
        ),
    )
