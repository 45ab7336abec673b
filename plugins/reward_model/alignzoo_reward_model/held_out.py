"""How good a reward is on prompts that it has not learned from, and how good it could be.

Annotators disagree, so nobody reaches 100 %. Where e is the chance that a label is flipped, two annotators agree on a share
A = (1−e)² + e² of pairs, and a perfect judge agrees with one label with probability 1 − e = (1 + √(2A−1))/2, which is more
than A. Where strengths are known, it is the mean of max(p, 1−p). The accuracy stands beside this ceiling.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import TypeVar

import torch
from torch import Tensor

from alignzoo.interfaces import LessonError, Metrics
from alignzoo.lab.statistics import bootstrap, ceiling_of_agreement
from alignzoo.records import Comparison, Prompt
from alignzoo_reward_model.losses import bradley_terry

T = TypeVar("T")


def parted(records: Sequence[T], prompt_of: Callable[[T], Prompt], share: float) -> tuple[list[T], list[T]]:
    """(to learn from, held out), split by prompt: a share of the prompts, those whose hashed ids come first, with everything
    that was said of them. The seed has no say in it."""
    if share == 0:
        return list(records), []
    ids = [prompt_of(record).id for record in records]
    drawn = sorted(set(ids), key=lambda name: hashlib.sha256(f"held out/{name}".encode()).digest())
    count = max(1, round(share * len(drawn)))
    if count >= len(drawn):
        raise LessonError(
            f"held_out = {share:g} of {len(drawn)} prompts leaves none to learn from; collect feedback on more prompts, or set "
            "held_out = 0 and do without held-out figures"
        )
    out = set(drawn[:count])
    return [r for r, name in zip(records, ids, strict=True) if name not in out], [
        r for r, name in zip(records, ids, strict=True) if name in out
    ]


# Accuracy and its ceiling ---------------------------------------------------------------------------------------------


def rightness(margins: Sequence[float], strengths: Sequence[float], *, tied: float = 0.5) -> list[float]:
    """How likely each pair's label agrees with the score: p where chosen scores higher, 1 − p where lower, and `tied` where
    both score the same."""
    return [p if m > 0 else 1 - p if m < 0 else tied for m, p in zip(margins, strengths, strict=True)]


ENOUGH = 20
"""Pairs of answers that two annotators must have chosen between before their agreement is believed."""


def agreement(choices: Sequence[Comparison]) -> tuple[float, int]:
    """How often two annotators chose alike between the same two answers, and on how many pairs of answers that is known."""
    chosen: dict[tuple[str, frozenset[str]], dict[str, str]] = {}
    for choice in choices:
        if choice.provenance.annotator and not choice.tie:
            pair = (choice.prompt.id, frozenset((choice.chosen.text, choice.rejected.text)))
            chosen.setdefault(pair, {}).setdefault(choice.provenance.annotator, choice.chosen.text)
    shared = [list(by.values()) for by in chosen.values() if len(by) > 1]
    if not shared:
        return 0.0, 0
    return fmean(fmean(float(a == b) for a, b in combinations(said, 2)) for said in shared), len(shared)


def ceiling(choices: Sequence[Comparison], strengths: Sequence[float]) -> Metrics:
    """What a perfect judge would reach, from annotators who chose between the same answers, else from strengths; without
    either, `ceiling_known` is 0 and there is none."""
    agreed, pairs = agreement(choices)
    told = {"agreement": agreed, "agreement_pairs": float(pairs)} if pairs else {}
    if pairs >= ENOUGH:
        return {"ceiling_known": 1.0, "ceiling": ceiling_of_agreement(agreed), **told}
    if any(p not in (0.5, 1.0) for p in strengths):
        return {"ceiling_known": 1.0, "ceiling": fmean(max(p, 1 - p) for p in strengths), **told}
    return {"ceiling_known": 0.0, **told}


# What else is to be seen ----------------------------------------------------------------------------------------------


def calibration_error(margins: Sequence[float], strengths: Sequence[float], bins: int = 10) -> float:
    """How far σ(|margin|), the claimed chance of being right, is from the real share: the mean over pairs, in equal bins
    between one half and one (expected calibration error)."""
    claimed = torch.sigmoid(torch.tensor(margins, dtype=torch.float64).abs())
    right = torch.tensor(rightness(margins, strengths), dtype=torch.float64)
    places = ((claimed - 0.5) * 2 * bins).long().clamp(max=bins - 1)
    gaps = [float((claimed[places == b] - right[places == b]).sum().abs()) for b in range(bins)]
    return sum(gaps) / len(margins)


def correlation(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Pearson's; 0 where one of them does not vary."""
    x, y = torch.tensor(xs, dtype=torch.float64), torch.tensor(ys, dtype=torch.float64)
    x, y = x - x.mean(), y - y.mean()
    spread = float((x.square().sum() * y.square().sum()).sqrt())
    return float((x * y).sum()) / spread if spread > 1e-12 else 0.0


def by_strength(margins: Sequence[float], strengths: Sequence[float]) -> Metrics:
    """The share of likelier sides that score higher, by how likely they are, in tenths; nothing where strengths do not vary."""
    if len(set(strengths)) == 1:
        return {}
    sides = [(abs(p - 0.5) + 0.5, m if p >= 0.5 else -m) for m, p in zip(margins, strengths, strict=True)]
    tenths: dict[int, list[float]] = {}
    for p, m in sides:
        tenths.setdefault(min(10, math.ceil(10 * p - 1e-9)), []).append((m > 0) + 0.5 * (m == 0))
    return {f"held_out_accuracy_to_{10 * tenth}": fmean(right) for tenth, right in sorted(tenths.items())}


# All of it ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tried:
    """Held-out pairs, and the scores and lengths of their two sides: (pairs, 2)."""

    pairs: Sequence[Comparison]
    scores: Tensor
    lengths: Tensor


def figures(tried: Tried, choices: Sequence[Comparison]) -> Metrics:
    """Everything that can be said of the held-out pairs. Ties of the annotators have no right side and count for the log-loss
    only; without any other pair there is no accuracy."""
    strengths = torch.tensor([pair.strength for pair in tried.pairs], dtype=torch.float64)
    margins = (tried.scores[:, 0] - tried.scores[:, 1]).double()
    told = {
        "held_out_pairs": float(len(tried.pairs)),
        "held_out_log_loss": float(bradley_terry(margins, strengths).mean()),
        "held_out_length_correlation": correlation(tried.scores.flatten().tolist(), tried.lengths.flatten().tolist()),
    }
    kept = [place for place, pair in enumerate(tried.pairs) if not pair.tie]
    if not kept:
        return told
    untied, ps = margins[kept].tolist(), strengths[kept].tolist()
    prompts = [tried.pairs[place].prompt.id for place in kept]
    told |= _accuracy(untied, ps, prompts) | by_strength(untied, ps) | ceiling(choices, ps)
    return told | {"held_out_calibration_error": calibration_error(untied, ps)}


def _accuracy(margins: Sequence[float], strengths: Sequence[float], prompts: Sequence[str]) -> Metrics:
    """With its 95 % interval: prompts are resampled whole."""
    groups: dict[str, list[float]] = {}
    for prompt, right in zip(prompts, rightness(margins, strengths), strict=True):
        groups.setdefault(prompt, []).append(right)
    found = bootstrap(groups)
    told = {"held_out_accuracy": found.mean, "held_out_accuracy_low": found.low, "held_out_accuracy_high": found.high}
    if 0.0 in margins:
        told["held_out_accuracy_strict"] = fmean(rightness(margins, strengths, tied=0.0))
    return told
