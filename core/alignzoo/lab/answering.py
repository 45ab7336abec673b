"""The test prompts, what start and policy say to them, and what the judge says of that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import torch

from alignzoo.interfaces import Bounded, Distant, Manner, Policy, Reward, Valued
from alignzoo.lab.plan import PREFERRED, Answering
from alignzoo.lab.prompts import read_prompts as read_prompts  # stood here once
from alignzoo.learning.ledger import Ledger, counting
from alignzoo.learning.rewards import ScoreError, checked
from alignzoo.model.forest import per_reply
from alignzoo.model.role import Role
from alignzoo.records import (
    Completion,
    Prompt,
    completion_from_row,
    completion_to_row,
    prompt_from_row,
    prompt_to_row,
)

Columns = Callable[[Sequence[Prompt], Sequence[Completion]], dict[str, list[float]]]

_NOBODY: Mapping[str, Reward] = {}
_AT_ONCE = 32
"""Prompts that are answered together."""


def answers(
    who: str,
    policy: Policy,
    start: Role,
    prompts: Sequence[Prompt],
    how: Answering,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    served: Ledger | None = None,
) -> Iterator[dict[str, Any]]:
    """Rows of answers.jsonl. What the answers themselves cost is charged to `served`; what is measured on them is not. Each
    answer's KL from the start is by the estimator that serves every optimizer, Σ log π − log π₀ over a sample at temperature 1:
    the answer itself, or another where answers are sampled in another manner. A policy that only knows its distance by a
    formula tells that."""
    for first in range(0, len(prompts), _AT_ONCE):
        some = prompts[first : first + _AT_ONCE]
        with counting(served or Ledger(), start.base):
            groups = policy.sample(some, how.n, how.manner)
        if isinstance(policy, Distant):
            kls: list[list[float | None]] = [[policy.kl] * how.n for _ in some]
        else:
            plain = plainly(how.manner)
            kls = _divergences(groups if plain == how.manner else policy.sample(some, how.n, plain), some, start)
        for prompt, group, own in zip(some, groups, kls, strict=True):
            for number, (reply, kl) in enumerate(zip(group, own, strict=True)):
                asked, said = prompt_to_row(prompt), completion_to_row(reply)
                yield {"who": who, "number": number, "prompt": asked, "completion": said, "kl": kl}
        progress(who, min(first + _AT_ONCE, len(prompts)), len(prompts))


def plainly(manner: Manner) -> Manner:
    """The same length and seed, drawn from the policy's own distribution."""
    return replace(manner, temperature=1.0, top_p=1.0, top_k=0, min_p=0.0)


def _divergences(groups: Sequence[Sequence[Completion]], prompts: Sequence[Prompt], start: Role) -> list[list[float | None]]:
    forest = start.base.text.replies(prompts, groups, start.base.device)
    with torch.no_grad():
        before = iter(per_reply(start.logps(forest), forest).tolist())
    return [
        [sum(reply.logps) - own if reply.logps else None for reply, own in zip(group, before, strict=False)] for group in groups
    ]


def scores(
    judge: Any, rows: Sequence[Mapping[str, Any]], more: Columns, jury: Mapping[str, Reward] = _NOBODY
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of scores.jsonl, in the order of the answers: the judge's score as a whole and by each of its values, what there is
    `more` to report of each, and what each of the `jury` prefers. And between which numbers they lie, of those of which that
    is known."""
    prompts = [prompt_from_row(row["prompt"]) for row in rows]
    completions = [completion_from_row(row["completion"]) for row in rows]
    whole = checked("the judge", judge(prompts, completions), len(rows))
    values = judge.by_value(prompts, completions) if isinstance(judge, Valued) else {}
    apart = {name: checked(f"the judge's value '{name}'", given, len(rows)) for name, given in values.items()}
    bounds = _bounds(judge, {"score": whole, **apart}) if isinstance(judge, Bounded) else {}
    apart |= more(prompts, completions)
    for name, juror in jury.items():
        given = checked(f"the juror '{name}'", juror(prompts, completions), len(rows))
        apart[f"{PREFERRED}{name}"] = preferred(given, rows)
        bounds[f"{PREFERRED}{name}"] = (0.0, 1.0)
    told = []
    for place, (row, score) in enumerate(zip(rows, whole, strict=True)):
        here = {name: given[place] for name, given in apart.items()}
        told.append({"who": row["who"], "number": row["number"], "prompt": prompts[place].id, "score": score, "values": here})
    return told, bounds


def preferred(given: Sequence[float], rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """How many of the start's answers to the same prompt each answer beats by these scores, ties counting half. What two reward
    models call 1 has nothing in common; which of two answers each prefers can be compared."""
    prompts = [prompt_from_row(row["prompt"]).id for row in rows]
    start: dict[str, list[float]] = {}
    for row, prompt, score in zip(rows, prompts, given, strict=True):
        if row["who"] == "start":
            start.setdefault(prompt, []).append(score)
    beaten = ([(own > its) + 0.5 * (own == its) for its in start[prompt]] for own, prompt in zip(given, prompts, strict=True))
    return list(map(fmean, beaten))


def _bounds(judge: Bounded, told: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """What a judge's scores and values lie between, as it says; held to its word."""
    least, most = judge.bounds
    for name, given in told.items():
        if odd := [score for score in given if not least <= score <= most]:
            raise ScoreError(f"the judge says that it gives {least:g} to {most:g}, and gave {odd[0]:g} ({name})")
    return dict.fromkeys(told, (least, most))
