"""How often a reward is right about pairs that people judged: by subset, over all pairs, and as a mean of the subsets.

A pair is right where the better answer scores higher, and half right where both score the same. Where a label is only likely
(strength p), the pair counts p if the likelier side is ahead and 1 − p if not; a label that is a tie has no right side, and the
pair is left out. Beside it stands the rule that knows lengths alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignzoo.lab.statistics import Estimate, wilson
from alignzoo.records import Comparison

_RESAMPLES = 4000

Groups = Mapping[str, Sequence[float]]
"""By prompt: how right each of its pairs is."""


@dataclass(frozen=True)
class Scored:
    """A pair, the subset that it belongs to, and what the reward said of its two sides."""

    pair: Comparison
    subset: str
    chosen: float
    rejected: float

    @property
    def lead(self) -> float:
        return self.chosen - self.rejected

    @property
    def longer(self) -> int:
        """By how many characters the chosen answer is longer."""
        return len(self.pair.chosen.text) - len(self.pair.rejected.text)


def rightness(lead: float, strength: float) -> float:
    """p where chosen is ahead, 1 − p where it is behind, one half where the two are level."""
    return strength if lead > 0 else 1 - strength if lead < 0 else 0.5


# Estimates --------------------------------------------------------------------------------------------------------------


def share_of(groups: Groups) -> Estimate:
    """The share of right pairs. Pairs of one prompt are no independent trials: where there are such, prompts are resampled
    whole; else, and where resampling could not tell (all right or all wrong), the interval is Wilson's over prompts."""
    sums = np.array([math.fsum(values) for values in groups.values()])
    counts = np.array([len(values) for values in groups.values()])
    share = float(sums.sum() / counts.sum())
    if counts.max() == 1 or np.all(sums / counts == share):
        found = wilson(share * len(counts), len(counts))
        assert found is not None  # there are prompts
        return Estimate(share, found.low, found.high)
    return _resampled(sums, counts)


def _resampled(sums: NDArray[Any], counts: NDArray[Any]) -> Estimate:
    """Σ sums / Σ counts over prompts, with the percentile interval of resampled prompts."""
    picks = np.random.default_rng(0).integers(len(counts), size=(_RESAMPLES, len(counts)))
    low, high = np.quantile(sums[picks].sum(1) / counts[picks].sum(1), [0.025, 0.975])
    return Estimate(float(sums.sum() / counts.sum()), float(low), float(high))


def mean_of(parts: Sequence[Estimate]) -> Estimate:
    """The plain mean of independent shares; its interval from theirs, each side by its own distances added in squares (the
    method of variance estimates recovery, Zou and Donner 2008)."""
    mean = fmean(part.mean for part in parts)
    below = math.hypot(*(part.mean - part.low for part in parts)) / len(parts)
    above = math.hypot(*(part.high - part.mean for part in parts)) / len(parts)
    return Estimate(mean, mean - below, mean + above)


def correlation(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Pearson's; 0 where one of them does not vary."""
    x, y = np.asarray(xs) - np.mean(xs), np.asarray(ys) - np.mean(ys)
    spread = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / spread if spread > 1e-12 else 0.0


# All of it --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """The figures of one subset, or of all pairs."""

    name: str
    pairs: int
    prompts: int
    accuracy: Estimate
    length: Estimate
    """The same of the rule that knows lengths alone."""
    level: int
    """Pairs whose sides scored the same, each half right."""

    def row(self) -> dict[str, Any]:
        plain = {"name": self.name, "pairs": self.pairs, "prompts": self.prompts, "level": self.level}
        return {**plain, "accuracy": self.accuracy.row(), "length": self.length.row()}


@dataclass(frozen=True)
class Evaluation:
    """How good a reward is on a file of pairs."""

    reward: str
    micro: Line
    macro: Estimate
    macro_length: Estimate
    subsets: tuple[Line, ...]
    ahead: Estimate
    """By how much more often the reward is right than the lengths: over the same prompts."""
    rule: str
    """Which rule on lengths is right more often on these pairs: "the longer", or "the shorter"."""
    length_correlation: float
    """Between an answer's score and its characters."""
    ties: int
    """Pairs left out because their label is a tie."""

    def markdown(self) -> str:
        lines = [f"# {self.reward}", "", "| subset | pairs | right | length alone | level |", "|---|---|---|---|---|"]
        if len(self.subsets) > 1:
            lines += [_row(line) for line in self.subsets]
            lines.append(f"| mean of the {len(self.subsets)} subsets | | {self.macro} | {self.macro_length} | |")
        lines += [
            _row(self.micro),
            "",
            f"Length alone always takes {self.rule} answer, the rule that does better on these pairs.",
        ]
        lines.append(f"The reward is right more often by {self.ahead}; its scores correlate with length by {_r(self)}.")
        lines.append("Level: both sides score the same, and the pair counts one half.")
        lines += [f"{self.ties} pairs whose label is a tie have no right side, and are left out."] * bool(self.ties)
        return "\n".join([*lines, "95 % intervals, over prompts."]) + "\n"

    def row(self) -> dict[str, Any]:
        """The whole as plain data."""
        return {
            "reward": self.reward,
            "micro": self.micro.row(),
            "macro": self.macro.row(),
            "macro_length": self.macro_length.row(),
            "subsets": [line.row() for line in self.subsets],
            "ahead": self.ahead.row(),
            "rule": self.rule,
            "length_correlation": self.length_correlation,
            "ties": self.ties,
        }


def evaluated(name: str, scored: Sequence[Scored]) -> Evaluation:
    """Everything that can be said of a reward from what it said of these pairs."""
    known = [one for one in scored if not one.pair.tie]
    if not known:
        raise EvaluationError(f"all {len(scored)} pairs are ties: no answer is the better one, so no reward can be right")
    sign = 1 if fmean(rightness(one.longer, one.pair.strength) for one in known) >= 0.5 else -1
    by_subset: dict[str, list[Scored]] = {}
    for one in known:
        by_subset.setdefault(one.subset, []).append(one)
    subsets = tuple(_line(subset, by_subset[subset], sign) for subset in sorted(by_subset))
    sides = [(one.chosen, one.pair.chosen) for one in known] + [(one.rejected, one.pair.rejected) for one in known]
    return Evaluation(
        reward=name,
        micro=_line("all pairs", known, sign),
        macro=mean_of([line.accuracy for line in subsets]),
        macro_length=mean_of([line.length for line in subsets]),
        subsets=subsets,
        ahead=_difference(_right(known), _lengths(known, sign)),
        rule="the longer" if sign > 0 else "the shorter",
        length_correlation=correlation([score for score, _ in sides], [len(side.text) for _, side in sides]),
        ties=len(scored) - len(known),
    )


class EvaluationError(ValueError):
    """Something that cannot be evaluated as asked."""


def _line(name: str, scored: Sequence[Scored], sign: int) -> Line:
    groups = _right(scored)
    level = sum(one.lead == 0 for one in scored)
    return Line(name, len(scored), len(groups), share_of(groups), share_of(_lengths(scored, sign)), level)


def _right(scored: Sequence[Scored]) -> Groups:
    return _grouped(scored, [one.lead for one in scored])


def _lengths(scored: Sequence[Scored], sign: int) -> Groups:
    return _grouped(scored, [sign * one.longer for one in scored])


def _grouped(scored: Sequence[Scored], leads: Sequence[float]) -> Groups:
    groups: dict[str, list[float]] = {}
    for one, lead in zip(scored, leads, strict=True):
        groups.setdefault(one.pair.prompt.id, []).append(rightness(lead, one.pair.strength))
    return groups


def _difference(ours: Groups, theirs: Groups) -> Estimate:
    """Over pairs, prompts resampled whole."""
    sums = np.array([math.fsum(ours[name]) - math.fsum(theirs[name]) for name in ours])
    return _resampled(sums, np.array([len(values) for values in ours.values()]))


def _row(line: Line) -> str:
    return f"| {line.name} | {line.pairs} | {line.accuracy} | {line.length} | {line.level} |"


def _r(evaluation: Evaluation) -> str:
    return f"{evaluation.length_correlation:+.2f}"
