"""Whom each juror likes better: how much more often it prefers one contestant's answers to the start's than another's.

Differences are taken at the same seed and prompt, as those of the judge's scores are. All pairs of all jurors are one family
(Holm), and the judge's duels another: his verdicts are the same without a jury (`docs/decisions/0015-intervals.md`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from alignzoo.lab.compare.duels import OPEN, Entrant, Verdict, settled, shared_seeds
from alignzoo.lab.compare.played import Played
from alignzoo.lab.compare.significance import Spread, holm, spread_of
from alignzoo.lab.plan import PREFERRED
from alignzoo.lab.report import jury_in
from alignzoo.lab.statistics import Estimate

_ELSEWHERE = ("model", "start")
"""Settings that a juror which is trained owes itself to, beside its own."""


@dataclass(frozen=True)
class Liking:
    """What one juror makes of two contestants."""

    juror: str
    first: str
    second: str
    seeds: int
    difference: Estimate
    """How much more often the first's answers are preferred to the start's than the second's."""
    chance: float
    """p of the difference, by itself."""
    adjusted: float = 1.0
    """p among all pairs of all jurors (Holm)."""
    verdict: Verdict = OPEN
    seeds_needed: int | None = None
    why: str = ""

    def told(self) -> str:
        """The verdict in words."""
        if self.verdict == OPEN:
            return f"{self.first} and {self.second} are not separable: {self.why}"
        better, worse = (self.first, self.second) if self.verdict == "first" else (self.second, self.first)
        return f"{self.juror} likes {better} better than {worse}"


Heard = tuple[Liking, Spread | None]
"""One without a verdict yet, and the spread that decides it; None where the two cannot be compared."""


def likings(entrants: Sequence[Entrant]) -> list[Liking]:
    """Every pair by every juror that all were heard by, with p-values held to one family. All must have answered the same
    prompts (`Entrant.on`)."""
    heard = [_heard(juror, *pair) for juror in heard_by_all(entrants) for pair in combinations(entrants, 2)]
    tested = [(liking, spread) for liking, spread in heard if spread is not None]
    adjusted = iter(holm([liking.chance for liking, _ in tested]))
    return [liking if spread is None else _settled(liking, spread, next(adjusted), len(tested)) for liking, spread in heard]


def heard_by_all(entrants: Sequence[Entrant]) -> list[str]:
    """The jurors whose preferences every run has."""
    runs = [run for one in entrants for run in one.runs]
    return [name for name in jurors(runs[0]) if all(_figure(name) in run.policy for run in runs)]


def jurors(run: Played) -> dict[str, Mapping[str, Any]]:
    """The settings of each juror of a run, by its name."""
    return {row["name"]: row for row in jury_in(run.settings)}


def _heard(juror: str, a: Entrant, b: Entrant) -> Heard:
    seeds = shared_seeds((a, b))
    if apart := _apart(juror, a, b, seeds):
        none = Estimate(math.nan, math.nan, math.nan)
        return Liking(juror, a.name, b.name, 0, none, 1.0, why=apart), None
    spread = spread_of(a.table(_figure(juror), seeds) - b.table(_figure(juror), seeds), closed=a.closed)
    return Liking(juror, a.name, b.name, spread.seeds, spread.interval(), spread.chance()), spread


def _settled(liking: Liking, spread: Spread, adjusted: float, family: int) -> Liking:
    verdict, needed, why = settled(spread, adjusted, family)
    return replace(liking, adjusted=adjusted, verdict=verdict, seeds_needed=needed, why=why)


def _figure(juror: str) -> str:
    return f"value: {PREFERRED}{juror}"


def _apart(juror: str, a: Entrant, b: Entrant, seeds: Sequence[int]) -> str:
    """Why what a juror says of the one cannot be held against what it says of the other; empty where it can."""
    if not seeds:
        return "they have no seed in common"
    pairs = [tuple(one.runs[one.seeds.index(seed)] for one in (a, b)) for seed in seeds]
    if any(_said_first(ours) != _said_first(theirs) for ours, theirs in pairs):
        return "their answers are preferred to those of another start"
    if any(_raised(juror, ours) != _raised(juror, theirs) for ours, theirs in pairs):
        return f"not the same {juror} heard them"
    return ""


def _said_first(run: Played) -> tuple[bytes, ...]:
    """What tells one start's answers from another's: their scores, and how long they are."""
    return tuple(run.start[name].round(6).tobytes() for name in ("score", "words"))


def _raised(juror: str, run: Played) -> list[Any]:
    """What makes a juror what it is."""
    own = jurors(run).get(juror, {})
    return [own, *(run.settings.get(name) for name in _ELSEWHERE if "feedback" in own)]
