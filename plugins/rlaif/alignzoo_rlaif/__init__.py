"""Feedback from models: judges, a constitution, critique and revision, as a plugin."""

from collections.abc import Iterable

from alignzoo.seam.hookspecs import Command, Component, hookimpl


@hookimpl
def alignzoo_components() -> Iterable[Component]:
    yield Component(
        "feedback",
        "critique-revision",
        "alignzoo_rlaif.critique_revision:CritiqueRevision",
        summary="a critic finds fault with the policy's answers under a constitution, and revises them",
        needs=("prompts", "policy"),
        gives=("critique",),
        paper="https://arxiv.org/abs/2212.08073",
        trial="alignzoo_rlaif.trials:critique_revision",
    )
    yield Component(
        "feedback",
        "ai-preferences",
        "alignzoo_rlaif.preferences:AIPreferences",
        summary="a judge prefers among the policy's answers under a constitution",
        needs=("prompts", "policy"),
        gives=("comparison",),
        paper="https://arxiv.org/abs/2309.00267",
        trial="alignzoo_rlaif.trials:ai_preferences",
    )
    yield Component(
        "feedback",
        "critique-chains",
        "alignzoo_rlaif.chains:Chains",
        summary="chains of critique and revision from a file, as Anthropic published them",
        gives=("critique",),
        paper="https://arxiv.org/abs/2212.08073",
        trial="alignzoo_rlaif.trials:chains",
    )
    yield Component(
        "optimizer",
        "constitutional",
        "alignzoo_rlaif.guided:Constitutional",
        summary="Trains nothing: answers under principles, told before, by critique and revision, or by a judge's choice",
        paper="https://arxiv.org/abs/2212.08073",
        trial="alignzoo_rlaif.trials:constitutional",
    )
    yield Component(
        "optimizer",
        "context-distillation",
        "alignzoo_rlaif.distilling:ContextDistillation",
        summary="Context distillation: the policy learns to answer as if the principles stood before it",
        needs=("prompts",),
        paper="https://arxiv.org/abs/2112.00861",
        trial="alignzoo_rlaif.trials:context_distillation",
    )
    yield Component(
        "reward",
        "ai-judge",
        "alignzoo_rlaif.rewards:AIJudge",
        summary="what a judge finds an answer worth: a model here, an endpoint, or recorded verdicts",
        paper="https://arxiv.org/abs/2309.00267",
        trial="alignzoo_rlaif.trials:ai_judge",
    )
    yield Component(
        "reward",
        "consistency",
        "alignzoo_rlaif.rewards:Consistency",
        summary="whether a judge finds all that an answer says supported by its prompt",
        paper="https://arxiv.org/abs/2306.00186",
    )
    yield Component(
        "filter",
        "hybrid",
        "alignzoo_rlaif.hybrid:Hybrid",
        summary="people's comparisons and a judge's mixed, by share or where the judge is unsure, never above a stated cost",
        trial="alignzoo_rlaif.trials:hybrid",
    )


@hookimpl
def alignzoo_commands() -> Iterable[Command]:
    yield Command("judge-check", "alignzoo_rlaif.check", "measure a judge on pairs whose better answer is known")
