"""What families of p-values cost and save where there is a jury beside the judge. Simulated benches, by the report's own code.

    python benchmarks/coverage_jury.py --benches 1000 --results benchmarks/results/coverage-jury

Four contestants answer the same prompts, twice each, under the same seeds. What an answer is to the judge, and to each of four
jurors, is

    contestant + contestant × seed + contestant × prompt + chance

each part drawn anew for every bench, half of its variance for all five alike and half for each by himself. A juror prefers an
answer to those of the start's that it beats. Contestants are the same to all, or differ: to each of the five in an order of
his own.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from coverage import ANSWERS, LEVELS, Row

from alignzoo.lab import store
from alignzoo.lab.compare.duels import Duel, Entrant, duels
from alignzoo.lab.compare.jury import Liking, likings
from alignzoo.lab.compare.played import Played
from alignzoo.lab.compare.significance import LEVEL, holm

JURORS = ("one", "two", "three", "four")
SEEDS, PROMPTS = 5, 60
OWN_SEED, OWN_PROMPT, CHANCE = 0.1, 0.3, 0.5
WAYS = {
    "one family with the judge": lambda judge, jury: [*holm([*judge, *jury.ravel()])],
    "one for each juror": lambda judge, jury: [*holm(judge), *(p for own in jury for p in holm(own))],
    "one for all jurors": lambda judge, jury: [*holm(judge), *holm(jury.ravel())],
}
"""From the p-values of the judge's pairs, and of each juror's, those that are told."""


@dataclass
class Counts:
    """By the way that families are made, of each bench."""

    judge_false: list[bool] = field(default_factory=list)
    jury_false: list[bool] = field(default_factory=list)
    judge_found: list[float] = field(default_factory=list)
    jury_found: list[float] = field(default_factory=list)


def heard(dice: np.random.Generator, levels: Row) -> Row:
    """(hearers, seeds, prompts, answers) What one contestant's answers are to each who hears them."""

    def drawn(hearers: int) -> Row:
        of_seed, of_prompt = dice.standard_normal((hearers, SEEDS, 1, 1)), dice.standard_normal((hearers, 1, PROMPTS, 1))
        chance = dice.standard_normal((hearers, SEEDS, PROMPTS, ANSWERS))
        parts: Row = (OWN_SEED * of_seed + OWN_PROMPT * of_prompt + CHANCE * chance) * np.sqrt(0.5)
        return parts

    whole: Row = levels[:, None, None, None] + drawn(1) + drawn(len(levels))
    return whole


def bench(dice: np.random.Generator, levels: Row) -> list[Entrant]:
    """Contestants by rows of `levels`, whose first column is the judge's and the others the jury's."""
    start = heard(dice, np.zeros(levels.shape[1]))
    return [_entrant(str(place), heard(dice, own), start) for place, own in enumerate(levels)]


def _entrant(name: str, said: Row, start: Row) -> Entrant:
    beaten = (said[:, :, :, :, None] > start[:, :, :, None]).mean(-1)
    words = np.ones((PROMPTS, ANSWERS))
    figures = [f"value: preferred by {juror}" for juror in JURORS]
    return Entrant(
        name,
        tuple(
            Played(
                seed=seed,
                folder=Path(),
                prompts=tuple(map(str, range(PROMPTS))),
                start={"score": start[0, seed], "words": words},
                policy={"score": said[0, seed], "words": words, **dict(zip(figures, beaten[1:, seed], strict=True))},
                distinct=(1.0, 1.0),
                way=(),
                settings={"jury": [{"name": juror} for juror in JURORS]},
                spent={},
                warnings=(),
                tally={},
            )
            for seed in range(SEEDS)
        ),
    )


def simulated(benches: int, seed: int = 0) -> dict[str, Counts]:
    """So many benches of contestants that are the same, and so many of contestants that differ."""
    dice, found = np.random.default_rng(seed), {way: Counts() for way in WAYS}
    for _ in range(benches):
        for way, (judge, jury) in _told(bench(dice, np.full((4, 5), 0.3))).items():
            found[way].judge_false.append(bool(min(judge) < LEVEL))
            found[way].jury_false.append(bool(min(jury) < LEVEL))
        levels = np.stack([dice.permutation(LEVELS) for _ in range(5)], 1)
        for way, (judge, jury) in _told(bench(dice, levels)).items():
            found[way].judge_found.append(float(np.mean(np.array(judge) < LEVEL)))
            found[way].jury_found.append(float(np.mean(np.array(jury) < LEVEL)))
    return found


def _told(there: Sequence[Entrant]) -> dict[str, tuple[list[float], list[float]]]:
    fought: Sequence[Duel] = duels(there)
    liked: Sequence[Liking] = likings(there)
    judge, jury = [duel.chance for duel in fought], np.array([one.chance for one in liked]).reshape(len(JURORS), -1)
    told = {way: raised(judge, jury) for way, raised in WAYS.items()}
    assert [one.adjusted for one in liked] == told["one for all jurors"][len(judge) :]  # what the report does
    return {way: (ps[: len(judge)], ps[len(judge) :]) for way, ps in told.items()}


def markdown(command: str, found: Mapping[str, Counts], benches: int) -> str:
    head = [
        "| families of p-values | the judge | a juror | judge's pairs told apart | jurors' pairs |",
        "|---|---|---|---|---|",
    ]
    rows = [
        f"| {way} | {np.mean(one.judge_false):.3f} | {np.mean(one.jury_false):.3f} | {np.mean(one.judge_found):.3f} | "
        f"{np.mean(one.jury_found):.3f} |"
        for way, one in found.items()
    ]
    told = f"""\
Of {benches:,} simulated benches of four contestants that are the same to a judge and to four jurors: in how many the judge, or
any juror, is said to find somebody better. And of as many whose contestants differ: how many pairs are told apart."""
    return "\n".join([f"`{command}`", "", told, "", *head, *rows]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated benches with a jury, compared by the report's own code.")
    parser.add_argument("--benches", type=int, default=1000)
    parser.add_argument("--results", type=Path, help="without a suffix: .md is written")
    args = parser.parse_args()
    text = markdown("python " + shlex.join(sys.argv), simulated(args.benches), args.benches)
    print(text)
    if args.results:
        store.write_text(args.results.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
