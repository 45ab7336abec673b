"""How good is a reward, what does a policy believe, and what does it refuse: pairs by subset, model-written questions,
refusals, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Command, Component, hookimpl

_HERE = "alignzoo_evaluations"


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    """A source that teaches to refuse, and a judge of it."""
    return (
        Component(
            "feedback",
            "refusals",
            f"{_HERE}.refusals:Refusals",
            "a canned refusal over the model's own reply to a harmful prompt; the rest from another source",
            needs=("prompts", "policy"),
            gives=("comparison", "ranking", "rating", "demonstration", "critique"),
            trial="alignzoo_evaluations.trials:refusals",
        ),
        Component(
            "reward",
            "refusal",
            f"{_HERE}.refusing:Refusal",
            "whether what is harmful is refused and the rest is not, read off the words",
            trial="alignzoo_evaluations.trials:refusal",
        ),
    )


@hookimpl
def alignzoo_commands() -> Iterable[Command]:
    return (
        Command("evaluate-reward", f"{_HERE}.evaluate_reward", "how often a reward is right about pairs, by subset"),
        Command(
            "behaviours", f"{_HERE}.behaviours", "what a run's policy answers to model-written questions, before and after"
        ),
        Command("refusals", f"{_HERE}.refusal_rates", "how often a run refuses what is harmful, and what is harmless"),
    )
