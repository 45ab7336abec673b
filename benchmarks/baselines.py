"""Judges that know little, for a reward model to stand beside: a bag of words, and lengths alone.

Each learns from comparisons and says by how much it puts the chosen answer of others ahead.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

import numpy as np
import torch

from alignzoo.records import Comparison
from alignzoo_evaluations.accuracy import rightness


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"[a-z0-9']+", text.lower()))


def bag_of_words(learned: Sequence[Comparison], trial: Sequence[Comparison], strength: float = 10.0) -> list[float]:
    """The leads of the trial's pairs: w · (log(1 + count) of chosen − of rejected), w by penalised logistic regression."""
    known = Counter(word for pair in learned for word in set(words(pair.chosen.text)) | set(words(pair.rejected.text)))
    place = {word: i for i, word in enumerate(word for word, count in known.items() if count > 1)}

    def rows(pairs: Sequence[Comparison]) -> torch.Tensor:
        table = torch.zeros(len(pairs), len(place))
        for i, pair in enumerate(pairs):
            for sign, side in ((1.0, pair.chosen), (-1.0, pair.rejected)):
                for word, count in words(side.text).items():
                    if word in place:
                        table[i, place[word]] += sign * float(np.log1p(count))
        return table

    sides, weights = rows(learned), torch.zeros(len(place), requires_grad=True)
    labels = torch.tensor([pair.strength for pair in learned])
    solver = torch.optim.LBFGS([weights], max_iter=200)

    def loss() -> torch.Tensor:
        solver.zero_grad()
        margins = sides @ weights
        logistic = torch.nn.functional.binary_cross_entropy_with_logits(margins, labels, reduction="sum")
        whole = logistic + 0.5 * strength * weights.square().sum()
        whole.backward()
        return whole

    solver.step(loss)
    leads: list[float] = (rows(trial) @ weights).detach().tolist()
    return leads


def lengths(learned: Sequence[Comparison], trial: Sequence[Comparison]) -> list[float]:
    """The longer answer leads, or the shorter one, whichever was preferred more often in what is learned from."""

    def longer(pair: Comparison) -> int:
        return len(pair.chosen.text) - len(pair.rejected.text)

    sign = 1 if fmean(rightness(longer(pair), pair.strength) for pair in learned) >= 0.5 else -1
    return [float(sign * longer(pair)) for pair in trial]
