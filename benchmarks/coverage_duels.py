"""Do the intervals of duels cover, and is an umpire who finds all the same silent? Simulated benches, by the report's own code.

    python benchmarks/coverage_duels.py --benches 1000 --results benchmarks/results/coverage-duels

Four contestants answer the same prompts under the same seeds, and every two are shown to an umpire in both orders. An answer's
quality is contestant + contestant × seed + contestant × prompt + chance, as in `coverage.py`; the umpire finds the answer that
is shown first the better one with probability

    σ(sharpness · (its quality − the other's) + lean + lean of this prompt + chance)

each part drawn anew for every bench. An umpire of hard labels says 1 or 0 for it; some answers are the same, and nobody is
asked. The truth of a figure is that of endless seeds and prompts, by a million draws.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from coverage import LEVELS, Counts, Row, markdown
from scipy.special import expit

from alignzoo.lab import store
from alignzoo.lab.compare.bouts import Bout, heard, orders
from alignzoo.lab.compare.duels import OPEN
from alignzoo.lab.compare.ranking import strengths

DRAWS = 1_000_000


@dataclass(frozen=True)
class Ground:
    """A kind of bench, and of umpire."""

    name: str
    seeds: int = 5
    prompts: int = 50
    own_seed: float = 0.1
    own_prompt: float = 0.3
    chance: float = 0.5
    sharpness: float = 2.0
    lean: float = 0.0
    prompts_lean: float = 0.0
    unsteady: float = 0.5
    hard: bool = False
    alike: float = 0.0


GROUNDS = (
    Ground("soft labels"),
    Ground("leans to the first place", lean=1.0, prompts_lean=0.5),
    Ground("hard labels, leans", lean=0.5, prompts_lean=0.5, hard=True),
    Ground("seeds matter most", own_seed=0.4, own_prompt=0.1),
    Ground("a third is the same", alike=0.33),
    Ground("ten seeds", seeds=10, own_seed=0.2),
    Ground("few prompts", prompts=20),
)


def bouts(dice: np.random.Generator, ground: Ground, levels: Sequence[float]) -> list[Bout]:
    """One bench: every two contestants, as the umpire saw them."""
    shape = (ground.seeds, ground.prompts)
    quality = [level + _spread(dice, ground, shape) for level in levels]
    lean = ground.lean + ground.prompts_lean * dice.standard_normal((1, ground.prompts))
    places = tuple(range(ground.seeds))
    told = []
    for a, b in combinations(range(len(levels)), 2):
        ahead, behind = _said(dice, ground, quality[a] - quality[b], lean)
        alike = (dice.random(shape) < ground.alike).astype(float)
        told.append(Bout(str(a), str(b), places, ahead, behind, np.rint(5 * dice.standard_normal(shape)), alike))
    return told


def _spread(dice: np.random.Generator, ground: Ground, shape: tuple[int, int]) -> Row:
    by_seed, by_prompt = dice.standard_normal((shape[0], 1)), dice.standard_normal((1, shape[1]))
    spread: Row = ground.own_seed * by_seed + ground.own_prompt * by_prompt + ground.chance * dice.standard_normal(shape)
    return spread


def _said(dice: np.random.Generator, ground: Ground, better: Row, lean: Row | float) -> tuple[Row, Row]:
    """How likely the umpire finds the one's answer the better one, shown first and shown second."""
    noise = ground.unsteady * dice.standard_normal((2, *better.shape))
    ahead, behind = expit(ground.sharpness * better + lean + noise[0]), expit(ground.sharpness * better - lean + noise[1])
    return ((ahead > 0.5) * 1.0, (behind > 0.5) * 1.0) if ground.hard else (ahead, behind)


# What is so ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """Figures of endless seeds and prompts."""

    wins: Row
    """(contestants, contestants)"""
    ratings: Row
    consistent: float
    biased: float
    lean: float


def truth(ground: Ground, levels: Sequence[float]) -> Truth:
    dice, count = np.random.default_rng(99), len(levels)
    apart = math.sqrt(2 * (ground.own_seed**2 + ground.own_prompt**2 + ground.chance**2))
    wins, orderly = np.full((count, count), 0.5), []
    for a, b in combinations(range(count), 2):
        lean = ground.lean + ground.prompts_lean * dice.standard_normal(DRAWS)
        ahead, behind = _said(dice, ground, levels[a] - levels[b] + apart * dice.standard_normal(DRAWS), lean)
        wins[a, b] = ground.alike / 2 + (1 - ground.alike) * float((ahead + behind).mean()) / 2
        wins[b, a] = 1 - wins[a, b]
        agreed = (ahead - 0.5) * (behind - 0.5)
        orderly.append([(agreed > 0).mean(), (agreed < 0).mean(), (ahead - behind).mean()])
    ratings = 1000 + 400 / math.log(10) * strengths(wins)
    return Truth(wins, ratings, *map(float, np.mean(orderly, 0)))


# Benches ------------------------------------------------------------------------------------------------------------------


def simulated(ground: Ground, benches: int, seed: int = 0) -> Counts:
    """So many benches of contestants that differ, and so many of contestants that are the same."""
    dice, counts, so = np.random.default_rng(seed), Counts(), truth(ground, LEVELS)
    for _ in range(benches):
        there = bouts(dice, ground, LEVELS)
        pairs, ranks = heard(there, closed=False)
        for one in pairs:
            is_so = so.wins[int(one.duel.first), int(one.duel.second)]
            counts.add("wins", one.duel.wins, is_so)
            if not ground.alike:  # where some are the same, whatever their length, the law of length is another
                counts.add("wins at equal length", one.duel.wins_at_equal_length, is_so)
        for rank in ranks:
            counts.add("rating", rank.rating, so.ratings[int(rank.name)])
        steady = orders(there, closed=False)
        counts.add("order consistency", steady.consistent, so.consistent)
        counts.add("position bias", steady.biased, so.biased)
        counts.add("lean", steady.lean, so.lean)
        same, _ = heard(bouts(dice, ground, [0.3] * len(LEVELS)), closed=False)
        counts.false.append(any(one.duel.verdict != OPEN for one in same))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated duels, decided by the report's own code.")
    parser.add_argument("--benches", type=int, default=1000)
    parser.add_argument("--results", type=Path, help="without a suffix: .md is written")
    args = parser.parse_args()
    found = {ground.name: simulated(ground, args.benches) for ground in GROUNDS}
    text = markdown("python " + shlex.join(sys.argv), found, args.benches)
    print(text)
    if args.results:
        store.write_text(args.results.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
