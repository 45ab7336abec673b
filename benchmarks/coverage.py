"""Do the report's intervals cover, and is it silent where nothing differs? Simulated benches, by its own code.

    python benchmarks/coverage.py --benches 1000 --results benchmarks/results/coverage

Four contestants answer the same prompts, twice each, under the same seeds. An answer's quality is

    contestant + seed + contestant × seed + prompt + contestant × prompt + chance

each part drawn anew for every bench, with the deviations of a row. The judge says the quality itself; in "right or wrong" it
says 1 with the chance σ(quality), else 0. In "wordy" longer answers win more often. The truth of a figure is that of endless
seeds and prompts.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from alignzoo.lab import store
from alignzoo.lab.compare.duels import Duel, Entrant, duels
from alignzoo.lab.compare.played import Played
from alignzoo.lab.compare.ranking import Rank, ranking, strengths
from alignzoo.lab.compare.significance import SHARE
from alignzoo.lab.statistics import Estimate

Row = NDArray[np.float64]
ANSWERS = 2
LEVELS = (0.0, 0.15, 0.3, 0.6)
"""What contestants are worth, where they are not the same."""


@dataclass(frozen=True)
class Ground:
    """A kind of bench: how much differs by what."""

    name: str
    seeds: int
    prompts: int
    own_seed: float
    own_prompt: float
    chance: float
    shared_seed: float = 0.1
    shared_prompt: float = 0.5
    shares: bool = False
    wordy: float = 0.0
    """By how much quality rises with length."""


GROUNDS = (
    Ground("all parts", 5, 60, 0.1, 0.3, 0.5),
    Ground("seeds matter most", 5, 100, 0.3, 0.05, 0.3),
    Ground("prompts matter most", 5, 60, 0.0, 0.6, 0.2),
    Ground("chance alone", 5, 200, 0.0, 0.0, 0.6),
    Ground("ten seeds", 10, 60, 0.15, 0.3, 0.5),
    Ground("right or wrong", 5, 100, 0.2, 0.5, 0.0, shared_prompt=1.0, shares=True),
    Ground("wordy", 5, 100, 0.1, 0.3, 0.5, wordy=0.3),
)


@dataclass
class Counts:
    """Of how many intervals the truth was in, by figure, and in how many benches something false was claimed."""

    held: dict[str, list[bool]] = field(default_factory=dict)
    false: list[bool] = field(default_factory=list)

    def add(self, figure: str, found: Estimate, truth: float) -> None:
        self.held.setdefault(figure, []).append(found.low <= truth <= found.high)


def entrants(dice: np.random.Generator, ground: Ground, levels: Sequence[float]) -> list[Entrant]:
    """One bench."""
    shape = (ground.seeds, ground.prompts, ANSWERS)
    shared = ground.shared_seed * dice.standard_normal((ground.seeds, 1, 1))
    shared = shared + ground.shared_prompt * dice.standard_normal((1, ground.prompts, 1))
    return [_entrant(dice, ground, place, level, shared, shape) for place, level in enumerate(levels)]


def _entrant(
    dice: np.random.Generator, ground: Ground, place: int, level: float, shared: Row, shape: tuple[int, ...]
) -> Entrant:
    seeds, prompts, _ = shape
    words = 20.0 + 5 * place * (ground.wordy > 0) + 5 * dice.standard_normal(shape)
    quality = level + shared + ground.own_seed * dice.standard_normal((seeds, 1, 1))
    quality = quality + ground.own_prompt * dice.standard_normal((1, prompts, 1)) + ground.chance * dice.standard_normal(shape)
    quality = quality + ground.wordy * (words - 20) / 5
    start = shared + ground.own_prompt * dice.standard_normal((1, prompts, 1)) + ground.chance * dice.standard_normal(shape)
    score, begun = (_judged(dice, ground, one) for one in (quality, start))
    return Entrant(str(place), tuple(_played(seed, score[seed], begun[seed], words[seed], ground) for seed in range(seeds)))


def _judged(dice: np.random.Generator, ground: Ground, quality: Row) -> Row:
    if not ground.shares:
        return quality
    right: Row = (dice.random(quality.shape) < expit(quality)).astype(float)
    return right


def _played(seed: int, score: Row, start: Row, words: Row, ground: Ground) -> Played:
    return Played(
        seed=seed,
        folder=Path(),
        prompts=tuple(map(str, range(ground.prompts))),
        start={"score": start},
        policy={"score": score, "words": words},
        distinct=(1.0, 1.0),
        way=(),
        settings={},
        spent={},
        warnings=(),
        tally={},
        bounds={"score": SHARE} if ground.shares else {},
    )


# What is so ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """Figures of endless seeds and prompts."""

    means: Row
    wins: Row
    """(contestants, contestants)"""
    ratings: Row


def truth(ground: Ground, levels: Sequence[float]) -> Truth:
    """Of graded answers by the normal distribution, of others by four million draws."""
    count = len(levels)
    places = np.arange(count) * (ground.wordy > 0)
    means = np.array(levels) + ground.wordy * places
    apart = math.sqrt(2 * (ground.own_seed**2 + ground.own_prompt**2 + ground.chance**2 + ground.wordy**2))
    wins = stats.norm.cdf((means[:, None] - means[None]) / apart)
    if ground.shares:
        dice = np.random.default_rng(99)
        own = math.hypot(ground.own_seed, ground.own_prompt)
        shared = math.hypot(ground.shared_seed, ground.shared_prompt) * dice.standard_normal(1_000_000)
        right = np.stack([expit(level + shared + own * dice.standard_normal(shared.size)) for level in levels])
        means = right.mean(1)
        wins = 0.5 + (right @ (1 - right).T - (1 - right) @ right.T) / (2 * shared.size)
    return Truth(means, wins, 1000 + 400 / math.log(10) * strengths(wins + np.eye(count)))


# Benches ------------------------------------------------------------------------------------------------------------------


def simulated(ground: Ground, benches: int, seed: int = 0) -> Counts:
    """So many benches of contestants that differ, and so many of contestants that are the same."""
    dice, counts, so = np.random.default_rng(seed), Counts(), truth(ground, LEVELS)
    for _ in range(benches):
        there = entrants(dice, ground, LEVELS)
        for place, one in enumerate(there):
            counts.add("reward", one.figure("score"), so.means[place])
        _of_duels(counts, duels(there), so, ground)
        _of_ranks(counts, ranking(there), so)
        if not ground.wordy:  # there one writes longer answers, so they are not the same
            same = duels(entrants(dice, ground, [0.3] * len(LEVELS)))
            counts.false.append(any(duel.verdict != "not separable" for duel in same))
    return counts


def _of_duels(counts: Counts, fought: Sequence[Duel], so: Truth, ground: Ground) -> None:
    for duel in fought:
        a, b = int(duel.first), int(duel.second)
        counts.add("difference", duel.difference, so.means[a] - so.means[b])
        counts.add("wins", duel.wins, so.wins[a, b])
        if not ground.wordy:  # where length is nothing to the judge, wins at equal length are wins
            counts.add("wins at equal length", duel.wins_at_equal_length, so.wins[a, b])


def _of_ranks(counts: Counts, ranks: Sequence[Rank], so: Truth) -> None:
    for rank in ranks:
        counts.add("rating", rank.rating, so.ratings[int(rank.name)])


def markdown(command: str, found: Mapping[str, Counts], benches: int) -> str:
    figures = list(dict.fromkeys(figure for counts in found.values() for figure in counts.held))
    head = ["| kind of bench | " + " | ".join(figures) + " | a false claim |", "|---|" + "---|" * (len(figures) + 1)]
    rows = []
    for name, counts in found.items():
        cells = [f"{np.mean(counts.held[figure]):.3f}" if figure in counts.held else "–" for figure in figures]
        cells.append(f"{np.mean(counts.false):.3f}" if counts.false else "–")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    told = f"""\
Of {benches:,} simulated benches of each kind: the share of 95 % intervals that hold the truth, and in how many benches of four
contestants that are the same somebody is called better."""
    return "\n".join([f"`{command}`", "", told, "", *head, *rows]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated benches, compared by the report's own code.")
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
