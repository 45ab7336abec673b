"""Whether the parts of a run fit together: what an optimizer needs, and what the run gives it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Literal, get_args, get_origin, get_type_hints

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
    otherwise = " or ".join(f"{under}.{setting}" for setting in _turned(feedback, missing))
    return f"{needs}, but {source}" + (f"; set {otherwise}, where its data has them" if otherwise else _sources(missing, zoo))


def _turned(source: Part, missing: Sequence[str]) -> Iterator[str]:
    """The settings, one choice for another, with which a source gives what is missing."""
    if not is_dataclass(source.made) or isinstance(source.made, type):
        return
    hints = get_type_hints(type(source.made))
    for field in fields(source.made):
        for choice in get_args(hints[field.name]) if get_origin(hints[field.name]) is Literal else ():
            try:
                gives = replace(source.made, **{field.name: choice}).gives  # type: ignore[attr-defined]
            except Exception:  # with the rest of its settings that cannot be, and a plugin may say so in its own way
                continue
            if _taught(gives) & set(missing):
                yield f'{field.name} = "{choice}"'


def _sources(missing: Sequence[str], zoo: Zoo) -> str:
    there = [found for found in zoo.components if found.component.kind == "feedback"]
    fitting = sorted(found.full_name for found in there if _taught(found.component.gives) & set(missing))
    return f"; sources that can give {' or '.join(missing)}: {', '.join(fitting)}" if fitting else ""
