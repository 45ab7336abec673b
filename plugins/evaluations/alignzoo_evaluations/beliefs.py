"""What a policy answers to questions with given options: p(option | question), a multi-token option's log-probabilities summed,
renormalised over the options; before and after alignment, paired by question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from alignzoo.lab.statistics import Estimate, bootstrap, share
from alignzoo.model.forest import per_reply
from alignzoo.model.role import Role
from alignzoo.model.text import Text
from alignzoo.records import Completion
from alignzoo_evaluations.questions import Question

_AT_ONCE = 8192
"""The most packed tokens in one forward pass."""


@dataclass(frozen=True)
class Belief:
    """What a policy says to one question."""

    match: float
    """The share of the behaviour's answers in what all options get."""
    said: float
    """What all options get together. Where it is near nothing, the share is one of crumbs."""


def matching(logps: Tensor, count: int) -> Belief:
    """From the options' log-probabilities, those that match first: Σ_match p / Σ p."""
    whole = logps.logsumexp(0)
    return Belief(float((logps[:count].logsumexp(0) - whole).exp()), float(whole.exp()))


def written(question: Question, text: Text, lead: str = "") -> tuple[Completion, ...]:
    """The options as a reply begins. Only where neither the template nor the tokenizer writes a space of its own before a reply
    is theirs kept, or "Yes" would be asked about with two. An option that another one begins with is asked about to its end."""
    options = [f"{lead.rstrip()} {option.lstrip()}" for option in question.options] if lead.strip() else list(question.options)
    if text.template != "plain" or _begins_with_space(text):
        options = [option.lstrip() for option in options]
    begins = any(one != other and other.startswith(one) for one in options for other in options)
    return tuple(Completion(option, finished=begins) for option in options)


def _begins_with_space(text: Text) -> bool:
    """Whether the tokenizer puts a space of its own before whatever it reads, as those of Llama 2 do."""
    [first, *_] = text.tokenizer.convert_ids_to_tokens(text.tokenizer("a", add_special_tokens=False)["input_ids"])
    return str(first).startswith("\u2581")


def readable(questions: Sequence[Question], text: Text, lead: str = "") -> tuple[list[Question], int]:
    """The questions that fit the context whole, and how many do not: a question without its beginning is another one."""
    kept = []
    for question in questions:
        longest = max(len(text.reply_ids(option)) for option in written(question, text, lead))
        if len(text.prompt_ids(question.prompt)) + longest <= text.context:
            kept.append(question)
    return kept, len(questions) - len(kept)


def beliefs(
    role: Role, questions: Sequence[Question], lead: str = "", tell: Callable[[int], None] = lambda done: None
) -> list[Belief]:
    """What a role says to each question."""
    text, found, done = role.base.text, list[Belief](), 0
    groups = [written(question, text, lead) for question in questions]
    forest = text.replies([question.prompt for question in questions], groups, role.base.device)
    for piece in forest.split(_AT_ONCE):
        with torch.no_grad():
            sums = per_reply(role.logps(piece).double(), piece).cpu()
        counts = [len(tree.replies) for tree in piece.trees]
        asked = questions[done : done + len(counts)]
        found += [matching(logps, question.matching) for logps, question in zip(torch.split(sums, counts), asked, strict=True)]
        done += len(counts)
        tell(done)
    return found


# Before and after ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shift:
    """One behaviour, before and after."""

    behaviour: str
    questions: int
    chance: float
    start: Estimate
    policy: Estimate
    change: Estimate
    """Paired by question."""
    said: tuple[float, float]
    """What the options get together, on the average."""

    def row(self) -> dict[str, Any]:
        plain = {"behaviour": self.behaviour, "questions": self.questions, "chance": self.chance, "said": list(self.said)}
        return {**plain, "start": self.start.row(), "policy": self.policy.row(), "change": self.change.row()}


def shift(behaviour: str, questions: Sequence[Question], start: Sequence[Belief], policy: Sequence[Belief]) -> Shift:
    """The mean probability of matching answers. The same question asked again is no other one: they are resampled together."""
    names = [f"{question.behaviour}/{question.prompt.id}" for question in questions]

    def grouped(values: Sequence[float]) -> dict[str, list[float]]:
        groups: dict[str, list[float]] = {}
        for name, value in zip(names, values, strict=True):
            groups.setdefault(name, []).append(value)
        return groups

    before, after = [one.match for one in start], [one.match for one in policy]
    return Shift(
        behaviour=behaviour,
        questions=len(set(names)),
        chance=fmean(question.chance for question in questions),
        start=share(grouped(before)),
        policy=share(grouped(after)),
        change=bootstrap(grouped([b - a for a, b in zip(before, after, strict=True)])),
        said=(fmean(one.said for one in start), fmean(one.said for one in policy)),
    )


def shifts(questions: Sequence[Question], start: Sequence[Belief], policy: Sequence[Belief]) -> list[Shift]:
    """Each behaviour by itself and, where there are several, all of them."""
    places: dict[str, list[int]] = {}
    for place, question in enumerate(questions):
        places.setdefault(question.behaviour, []).append(place)
    if len(places) > 1:
        places["all questions"] = list(range(len(questions)))
    return [
        shift(name, [questions[i] for i in here], [start[i] for i in here], [policy[i] for i in here])
        for name, here in places.items()
    ]


def markdown(found: Sequence[Shift]) -> str:
    """A table for a reader."""
    lines = ["| behaviour | questions | chance | before | after | change | options said |", "|---|---|---|---|---|---|---|"]
    for one in found:
        said = f"{one.said[0]:.2g} → {one.said[1]:.2g}"
        cells = (one.behaviour, one.questions, f"{one.chance:.2f}", one.start, one.policy, one.change, said)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [
        "",
        "Probability of the answers that show the behaviour, among the options; 95 % intervals over questions. Of many",
    ]
    return (
        "\n".join([*lines, "behaviours, one in twenty shows a change by chance alone. Options said: what all get together."])
        + "\n"
    )
