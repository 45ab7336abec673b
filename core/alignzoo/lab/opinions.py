"""What each group of annotators thinks of a policy, by judgements that it has not learned from.

A policy agrees with a choice where the chosen answer has become likelier than the rejected one, beside the start:
log π(chosen)/π₀(chosen) > log π(rejected)/π₀(rejected), the implicit reward of DPO (eq. 5). Any policy with log-probabilities
can be asked, however it was trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from alignzoo.interfaces import Lesson, Policy
from alignzoo.learning.choices import Limits
from alignzoo.learning.intake import admit
from alignzoo.model.forest import per_reply, plant
from alignzoo.model.role import Role
from alignzoo.records import Comparison, Feedback, Rating, comparisons_in, comparisons_of_ratings, to_json
from alignzoo.who import Who

_AT_ONCE = 8192
"""The most packed tokens in one forward pass."""
_ANY = Limits(dropped=1.0, contradictory=1.0)


def opinions(policy: Policy, start: Role, held: Iterable[Feedback], who: Who) -> list[dict[str, Any]]:
    """The rows of opinions.jsonl: of each choice that was held back by how much the chosen answer leads; null where the policy
    has no log-probabilities, so that nobody knows."""
    pairs = {_name(pair): pair for pair in choices_in(held)}
    usable, _ = admit(Lesson(comparisons=tuple(pairs.values())), ("comparisons",), start.base.text, _ANY)
    asked = usable.comparisons
    known: Sequence[float | None] = leads(policy, start, asked) if isinstance(policy, Role) else [None] * len(asked)
    return [
        {
            "choice": _name(pair),
            "prompt": pair.prompt.id,
            "group": who.group(pair.provenance),
            "strength": pair.strength,
            "lead": lead,
        }
        for pair, lead in zip(asked, known, strict=True)
    ]


def choices_in(records: Iterable[Feedback]) -> Iterator[Comparison]:
    """Everything that was preferred to something else; of scores, what one annotator scored higher than another answer."""
    ratings: dict[tuple[str, str], list[Rating]] = {}
    for record in records:
        if isinstance(record, Rating):
            ratings.setdefault((record.provenance.annotator, record.provenance.note), []).append(record)
        else:
            yield from (pair for pair in comparisons_in([record]) if not pair.tie)
    for own in ratings.values():
        yield from comparisons_of_ratings(own)


def leads(policy: Role, start: Role, pairs: Sequence[Comparison]) -> list[float]:
    """By how many nats more the chosen answer of each pair has become likelier than the rejected one."""
    if not pairs:
        return []
    forest = plant([start.base.text.tree(pair.prompt, [pair.chosen, pair.rejected]) for pair in pairs], start.base.device)
    with torch.no_grad():
        moved = [per_reply(policy.logps(piece) - start.logps(piece), piece) for piece in forest.split(_AT_ONCE)]
    sides = torch.cat(moved).tolist()
    return [chosen - rejected for chosen, rejected in zip(sides[0::2], sides[1::2], strict=True)]


def _name(pair: Comparison) -> str:
    """The same for the same choice of the same person."""
    return hashlib.blake2b(to_json(pair).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
