"""Whose choices: how often each contestant agrees with each group of annotators, on choices that nobody learned from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.played import Played
from alignzoo.lab.compare.significance import ENOUGH, LEVEL, SHARE, Table, holm, spread_of_some
from alignzoo.lab.reserve import agreement
from alignzoo.lab.statistics import Estimate

Choices = Mapping[str, Mapping[str, Any]]
"""By their names: the same choice of the same person has one in every run."""


@dataclass(frozen=True)
class Opinion:
    """What is to be told of one contestant, by group."""

    name: str
    learned: Mapping[str, float]
    """Judgements that it learned from, the mean over seeds."""
    agrees: Mapping[str, Estimate]
    """Empty where the policy gives no log-probabilities."""


@dataclass(frozen=True)
class Apart:
    """How much more often the first agrees with a group than the second does."""

    group: str
    first: str
    second: str
    seeds: int
    difference: Estimate
    chance: float
    adjusted: float = 1.0
    """p among all pairs and groups (Holm)."""

    @property
    def separable(self) -> bool:
        return self.adjusted < LEVEL and self.seeds >= ENOUGH


@dataclass(frozen=True)
class Whose:
    """What groups think of the contestants."""

    choices: Mapping[str, float]
    """How many of each group's were held back and put to all, the mean over seeds."""
    opinions: tuple[Opinion, ...]
    apart: tuple[Apart, ...]
    """Every pair for every group."""
    alike: bool = True
    """Whether the same choices were held back for all; those that were not are left out."""


def whose(entrants: Sequence[Entrant]) -> Whose | None:
    """What there is to be told; nothing where no choice was held back and no groups are known. Who learned from nobody's is not
    in it."""
    asked = {one.name: {run.seed: choices for run in one.runs if (choices := _choices(run))} for one in entrants}
    asked = {name: runs for name, runs in asked.items() if runs}
    if not asked:
        known = {group for one in entrants for run in one.runs for group in run.learned if group}
        told = tuple(_opinion(one, {}) for one in entrants if any(run.learned for run in one.runs))
        return Whose({}, told, ()) if len(known) > 1 else None
    shared = _shared(list(asked.values()))
    alike = all(set(choices) == set(shared[seed]) for runs in asked.values() for seed, choices in runs.items())
    put = [choice for choices in shared.values() for choice in choices.values()]
    counts, prompts = Counter(choice["group"] for choice in put), sorted({choice["prompt"] for choice in put})
    groups = sorted(counts)
    tables = {name: {group: _table(runs, shared, group, prompts) for group in groups} for name, runs in asked.items()}
    return Whose(
        choices={group: counts[group] / len(shared) for group in groups},
        opinions=tuple(_opinion(one, tables[one.name]) for one in entrants if one.name in asked),
        apart=tuple(_apart(tables, groups)),
        alike=alike,
    )


def _choices(run: Played) -> Choices:
    return {choice["choice"]: choice for choice in run.opinions}


def _shared(asked: Sequence[Mapping[int, Choices]]) -> dict[int, Choices]:
    """Under each seed, the choices that all were asked about."""
    under: dict[int, list[Choices]] = {}
    for seed, choices in ((seed, runs[seed]) for runs in asked for seed in sorted(runs)):
        under.setdefault(seed, []).append(choices)
    return {
        seed: {key: choice for key, choice in first.items() if all(key in others for others in rest)}
        for seed, (first, *rest) in under.items()
    }


def _table(runs: Mapping[int, Choices], shared: Mapping[int, Choices], group: str, prompts: Sequence[str]) -> Table:
    """(seeds, prompts) How far one contestant agrees with a group; nan where the group said nothing that could be asked."""
    table = np.full((len(shared), len(prompts)), np.nan)
    place = {prompt: column for column, prompt in enumerate(prompts)}
    for row, seed in enumerate(shared):
        own = runs.get(seed, {})
        rows = [own[key] for key in shared[seed] if key in own and own[key]["lead"] is not None]
        for prompt, agreed in agreement(rows, group).items():
            table[row, place[prompt]] = fmean(agreed)
    return table


def _opinion(one: Entrant, tables: Mapping[str, Table]) -> Opinion:
    names = sorted({group for run in one.runs for group in run.learned})
    return Opinion(
        one.name,
        {group: fmean(run.learned.get(group, 0) for run in one.runs) for group in names},
        {group: spread_of_some(table).interval(SHARE) for group, table in tables.items() if not np.isnan(table).all()},
    )


def _apart(tables: Mapping[str, Mapping[str, Table]], groups: Sequence[str]) -> Iterator[Apart]:
    told = []
    for group in groups:
        for first, second in combinations(tables, 2):
            differences = tables[first][group] - tables[second][group]
            if not np.isnan(differences).all():
                spread = spread_of_some(differences)
                told.append(Apart(group, first, second, spread.seeds, spread.interval(), spread.chance()))
    for one, p in zip(told, holm([one.chance for one in told]), strict=True):
        yield replace(one, adjusted=p)
