"""Whether the parts of a run fit together: what an optimizer needs, and what the run gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from alignzoo.interfaces import Closed
from alignzoo.lab.plan import TEACHES, Juror, Part, Plan, PlanError, Rewarding
from alignzoo.seam.zoo import Zoo


def check_fit(plan: Plan, zoo: Zoo) -> None:
    """Refuse what cannot work: an optimizer whose needs nothing in the run meets."""
    pairs = [("optimizer", plan.optimizer, plan.feedback), ("start", plan.start, plan.start_feedback)]
    scoring: list[tuple[str, Rewarding | Juror]] = [*plan.placed_rewards(), *plan.placed_jury()]
    trained = [(place, one) for place, one in scoring if one.feedback]
    pairs += [(place, one.part, one.feedback) for place, one in trained]
    for place, optimizer, feedback in pairs:
        if optimizer is None:
            continue
        given = _taught(feedback.made.gives if feedback else ())
        given |= {"prompts"} if plan.task else set()
        given |= {"reward"} if plan.rewards and place == "optimizer" else set()
        missing = [need for need in optimizer.made.needs if need not in given]
        if missing:
            raise PlanError(_misfit(place, optimizer, feedback, missing, zoo))
    for place, optimizer, _ in pairs:
        if optimizer is not None and ("reward" in optimizer.found.component.gives) != place.startswith(("reward", "jury")):
            raise PlanError(_other_seat(place, optimizer))
    if plan.rewards and not any(rewarding.voice.counts for rewarding in plan.rewards):
        raise PlanError("reward: every one of them is a cost or has weight 0; one must be there to be raised")
    asked = [("feedback", plan.feedback), ("start.feedback", plan.start_feedback)]
    for place, feedback in asked + [(f"{place}.feedback", one.feedback) for place, one in trained]:
        if feedback and feedback.acquisition and "policy" not in feedback.made.asks:
            name = feedback.found.full_name
            raise PlanError(
                f"{place}.acquisition: {name}, as it is set, asks about no answers of a policy: there are none to choose"
            )
        if feedback and "prompts" in feedback.made.asks and plan.task is None:
            raise PlanError(f'{place}: {feedback.found.full_name} asks about prompts; name a task: [task] use = "…"')
    if plan.task is None and not plan.answer.file:
        raise PlanError('answer: nothing to ask the policy; name a task ([task] use = "…") or prompts (answer.file = "…")')


def check_apart(plan: Plan) -> None:
    """Refuse to judge a policy on what it learned from, unless that is asked for or nothing else exists."""
    if plan.task is None or plan.answer.file or plan.answer.split == "train" or isinstance(plan.task.made, Closed):
        return
    learned = {prompt.id for prompt in plan.task.made.prompts("train")}
    asked = plan.task.made.prompts(plan.answer.split)
    if shared := [prompt.text for prompt in asked if prompt.id in learned]:
        raise PlanError(
            f"task: {len(shared)} of the {len(asked)} prompts of '{plan.answer.split}' are among those of 'train' "
            f"(one is {shared[0][:60]!r}); {plan.task.found.full_name} must keep its splits apart, or say why it cannot "
            "(`alignzoo.interfaces.Closed`)"
        )


def _other_seat(place: str, optimizer: Part) -> str:
    name = optimizer.found.full_name
    if place.startswith(("reward", "jury")):
        return f"{place}: {name} deploys a policy, which scores nothing; name one that gives a reward (see `alignzoo list`)"
    return f"{place}: {name} deploys a reward, which answers nothing; name it under [reward], with its [reward.feedback]"


def _taught(kinds: Sequence[str]) -> set[str]:
    """What can be learned from records of these kinds."""
    return {what for kind in kinds for what in TEACHES.get(kind, ())}


def _misfit(place: str, optimizer: Part, feedback: Part | None, missing: Sequence[str], zoo: Zoo) -> str:
    """Whoever has a source and could set it otherwise is told how; others are told of the sources that there are."""
    needs = f"{place}: {optimizer.found.full_name} needs {' and '.join(missing)}"
    if set(missing) <= {"prompts", "reward"}:
        wanted = {"prompts": "[task]", "reward": "[reward]"}
        return f"{needs}, which the run does not have; add {' and '.join(wanted[need] for need in missing)} to the run file"
    if feedback is None:
        return f"{needs}, but no feedback is named{_sources(missing, zoo)}"
    source = f"{feedback.found.full_name} as it is set gives {', '.join(feedback.made.gives)}"
    under = "feedback" if place == "optimizer" else f"{place}.feedback"
    given, lacking = _taught(feedback.made.gives), set(missing)
    if otherwise := _turned(feedback, under, lambda made: bool(_taught(made.gives) & lacking)):
        return f"{needs}, but {source}; set {otherwise}, where its data has them"
    known = given | set(optimizer.made.needs) - lacking
    if otherwise := _turned(optimizer, place, lambda made: set(made.needs) <= known):
        return f"{needs}, but {source}; set {otherwise}"
    return f"{needs}, but {source}{_pupils(feedback, place, zoo)}{_sources(missing, zoo)}"


def _turned(part: Part, under: str, fits: Callable[[Any], bool]) -> str:
    """The settings, one choice for another, with which a part would fit."""
    if not is_dataclass(part.made) or isinstance(part.made, type):
        return ""
    ways, hints = [], get_type_hints(type(part.made))
    for field in fields(part.made):
        for choice in get_args(hints[field.name]) if get_origin(hints[field.name]) is Literal else ():
            # what cannot be with the rest of its settings is left out, and a plugin may say so in its own way
            with suppress(Exception):
                if fits(replace(part.made, **{field.name: choice})):
                    ways.append(f'{under}.{field.name} = "{choice}"')
    return " or ".join(ways)


def _pupils(feedback: Part, place: str, zoo: Zoo) -> str:
    """The optimizers of this seat that can learn from what a source gives, and need nothing else."""
    given, scores = _taught(feedback.made.gives), place.startswith(("reward", "jury"))
    there = [found for found in zoo.components if found.component.kind == "optimizer"]
    seated = [found for found in there if ("reward" in found.component.gives) == scores]
    fitting = sorted(found.full_name for found in seated if found.component.needs and set(found.component.needs) <= given)
    return f"; optimizers that learn from {' or '.join(feedback.made.gives)}: {', '.join(fitting)}" if fitting else ""


def _sources(missing: Sequence[str], zoo: Zoo) -> str:
    there = [found for found in zoo.components if found.component.kind == "feedback"]
    fitting = sorted(found.full_name for found in there if _taught(found.component.gives) & set(missing))
    return f"; sources that can give {' or '.join(missing)}: {', '.join(fitting)}" if fitting else ""
