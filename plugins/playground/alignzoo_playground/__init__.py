"""The playground: a small closed world with ground truth, a gold reward, annotators, and a model that lives in it."""

from __future__ import annotations

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    """A feedback source, a reward, a model and a task that belong together."""
    here = "alignzoo_playground"
    return (
        Component(
            "feedback",
            "playground",
            f"{here}.feedback:PlaygroundFeedback",
            "simulated annotators with values of their own judge answers, or a careful writer shows how",
            needs=("prompts", "policy"),
            gives=("comparison", "ranking", "rating", "demonstration"),
            trial=f"{here}.trials:playground",
        ),
        Component(
            "reward",
            "playground-gold",
            f"{here}.gold:GoldReward",
            "what an answer is really worth, by value and combined, read from its words",
        ),
        Component(
            "model",
            "playground",
            f"{here}.embedded:PlaygroundModel",
            "a Llama of about a million parameters that answers, judges, criticises and revises in the playground",
        ),
        Component(
            "task",
            "playground",
            f"{here}.task:PlaygroundTask",
            "requests in twelve kinds, some of them harmful, split by what they are about",
        ),
    )
