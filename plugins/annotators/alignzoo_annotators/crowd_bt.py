"""Crowd-BT (Chen et al. 2013): how good each answer is and how far each annotator can be relied on, from choices.

    P(k prefers i to j) = η_k σ(s_i − s_j) + (1 − η_k) σ(s_j − s_i)

Turning every s and every η round gives the same probabilities, so η needs a prior with a mean above one half: most people
mean well. An answer that never lost would be worth infinity; so each has drawn some hundredths of a game against an answer
worth 0. Both are part of the objective. It is climbed by EM: was this choice meant, or turned round? Then s by
minorization-maximization (Hunter 2004) and η by counting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alignzoo_annotators.agreement import Numbers
from alignzoo_annotators.dawid_skene import Places

STEPS = 8
"""Steps on the worths in each round."""


class TrustError(ValueError):
    """A prior under which annotators are not better than chance."""


@dataclass(frozen=True)
class Choices:
    """`better[n]` was preferred to `worse[n]` by `annotator[n]`, with `weight[n]`: a tie is half a choice each way."""

    better: Places
    worse: Places
    annotator: Places
    weight: Numbers

    @classmethod
    def of(cls, first: Places, second: Places, annotator: Places, strength: Numbers) -> Choices:
        """Pairs by the probability that the first is better: 1, 0, or ½ for a tie."""
        weight = np.concatenate([strength, 1 - strength])
        kept = weight > 0
        sides = np.concatenate([first, second]), np.concatenate([second, first]), np.concatenate([annotator, annotator])
        better, worse, who = (side[kept] for side in sides)
        return cls(better, worse, who, weight[kept])


@dataclass(frozen=True)
class Worth:
    """What was learned."""

    answers: Numbers
    """s, in log-odds; 0 is the answer that everybody drew with."""
    reliability: Numbers
    """η of each annotator."""
    objective: tuple[float, ...]
    """The log-posterior of each round; it never falls."""


def crowd_bt(
    choices: Choices,
    *,
    trust: tuple[float, float] = (4.0, 1.0),
    draws: float = 0.1,
    tolerance: float = 1e-7,
    rounds: int = 500,
) -> Worth:
    """`trust`: how many choices everybody is thought to have meant and to have turned round before, the prior on η. `draws`:
    games won, and as many lost, by each answer against one worth 0."""
    if trust[0] <= trust[1]:
        raise TrustError(f"trust = {trust}: η would not be above one half by itself, and good could not be told from bad")
    count = int(max(choices.better.max(), choices.worse.max())) + 1
    strength = np.ones(count)  # exp(s)
    reliability = np.full(int(choices.annotator.max()) + 1, trust[0] / sum(trust))
    told: list[float] = []
    for _ in range(rounds):
        meant = turned(choices, strength, reliability)
        reliability = counted(choices, meant, trust)
        for _ in range(STEPS):
            strength = stepped(choices, meant, strength, draws)
        told.append(objective(choices, strength, reliability, trust, draws))
        if len(told) > 1 and told[-1] - told[-2] < tolerance * abs(told[-1]):
            break
    return Worth(np.log(strength), reliability, tuple(told))


def turned(choices: Choices, strength: Numbers, reliability: Numbers) -> Numbers:
    """The E-step: how likely each choice was meant as it was made."""
    wins = _wins(choices, strength)
    eta = reliability[choices.annotator]
    return np.asarray(eta * wins / (eta * wins + (1 - eta) * (1 - wins)))


def counted(choices: Choices, meant: Numbers, trust: tuple[float, float]) -> Numbers:
    """η: the share of somebody's choices that were meant, the prior's among them."""
    size = int(choices.annotator.max()) + 1
    good = np.bincount(choices.annotator, choices.weight * meant, size)
    whole = np.bincount(choices.annotator, choices.weight, size)
    return np.asarray((good + trust[0]) / (whole + sum(trust)))


def stepped(choices: Choices, meant: Numbers, strength: Numbers, draws: float) -> Numbers:
    """One step of Hunter's: games won, over Σ 1 / (strength of both) of the games played."""
    size = len(strength)
    won = draws + np.bincount(choices.better, choices.weight * meant, size)
    won += np.bincount(choices.worse, choices.weight * (1 - meant), size)
    game = choices.weight / (strength[choices.better] + strength[choices.worse])
    played = np.bincount(choices.better, game, size) + np.bincount(choices.worse, game, size)
    return np.asarray(won / (played + 2 * draws / (strength + 1)))


def objective(choices: Choices, strength: Numbers, reliability: Numbers, trust: tuple[float, float], draws: float) -> float:
    """log P(choices) + log of both priors."""
    wins, eta = _wins(choices, strength), reliability[choices.annotator]
    said = float(choices.weight @ np.log(eta * wins + (1 - eta) * (1 - wins)))
    believed = float((trust[0] * np.log(reliability) + trust[1] * np.log(1 - reliability)).sum())
    drawn = draws * float((np.log(strength) - 2 * np.log1p(strength)).sum())
    return said + believed + drawn


def _wins(choices: Choices, strength: Numbers) -> Numbers:
    """σ(s_better − s_worse)."""
    better, worse = strength[choices.better], strength[choices.worse]
    return np.asarray(better / (better + worse))
