"""Dawid and Skene (1979): the truth of each item and the habits of each annotator, each learned from the other by EM.

An annotator k who looks at an item whose truth is j says l with probability π_jl^(k), whatever the others say. Nothing here
knows what a category means; somebody who always says the opposite is worth as much as somebody who is always right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alignzoo_annotators.agreement import Numbers

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Reliability:
    """What EM came to."""

    posterior: Numbers
    """(items, classes): how likely each class is the truth."""
    prior: Numbers
    """(classes,): how common each is."""
    confusion: Numbers
    """(annotators, truth, said): π."""
    objective: tuple[float, ...]
    """The log-likelihood (with smoothing, the log-posterior) of each round; it never falls."""

    @property
    def right(self) -> Numbers:
        """How likely each annotator says the truth: Σ_j p_j π_jj."""
        return np.asarray(np.einsum("j,kjj->k", self.prior, self.confusion))


def dawid_skene(
    items: Places,
    annotators: Places,
    labels: Places,
    classes: int,
    *,
    smoothing: float = 0.0,
    tolerance: float = 1e-7,
    rounds: int = 2000,
) -> Reliability:
    """Each entry is one judgement; somebody may judge an item again. `smoothing` is how many judgements of each kind everybody
    is thought to have given before. It stops where the objective rises by less than `tolerance` of itself."""
    posterior = shares(items, labels, classes)  # eq. 3.1
    told: list[float] = []
    for _ in range(rounds):
        prior, confusion = habits(posterior, items, annotators, labels, smoothing)
        posterior, likelihood = truths(prior, confusion, items, annotators, labels)
        told.append(likelihood + (smoothing * float(np.log(confusion).sum()) if smoothing else 0.0))
        if len(told) > 1 and told[-1] - told[-2] < tolerance * abs(told[-1]):
            break
    return Reliability(posterior, prior, confusion, tuple(told))


def shares(items: Places, labels: Places, classes: int) -> Numbers:
    """How many of an item's judgements are of each class: where EM begins, so that most people are thought to mean well."""
    counts = np.zeros((int(items.max()) + 1, classes))
    np.add.at(counts, (items, labels), 1.0)
    return np.asarray(counts / np.maximum(counts.sum(1, keepdims=True), 1.0))


def habits(posterior: Numbers, items: Places, annotators: Places, labels: Places, smoothing: float) -> tuple[Numbers, Numbers]:
    """The M-step: p (eq. 2.4) and π (eq. 2.3) that are likeliest, the truth being as likely as it is. Who never met a class
    is thought to say anything."""
    classes = posterior.shape[1]
    said = np.full((int(annotators.max()) + 1, classes, classes), smoothing)  # (annotator, said, truth)
    np.add.at(said, (annotators, labels), posterior[items])
    met = said.sum(1, keepdims=True)
    confusion = np.divide(said, met, out=np.full_like(said, 1 / classes), where=met > 0)
    return posterior.mean(0), confusion.transpose(0, 2, 1)


def truths(prior: Numbers, confusion: Numbers, items: Places, annotators: Places, labels: Places) -> tuple[Numbers, float]:
    """The E-step (eq. 2.5), in logarithms, and the log-likelihood of all judgements (eq. 2.7)."""
    with np.errstate(divide="ignore"):  # what never happens has the logarithm −∞
        each = np.log(confusion.transpose(0, 2, 1))[annotators, labels]
        logs = np.tile(np.log(prior), (int(items.max()) + 1, 1))
    np.add.at(logs, items, each)
    peak = logs.max(1, keepdims=True)
    whole = np.exp(logs - peak)
    sums = whole.sum(1, keepdims=True)
    return whole / sums, float((peak + np.log(sums)).sum())
