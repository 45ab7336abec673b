"""What best-of-n is worth, for every n up to N, from N answers to each prompt (Nakano et al. 2021, appendix I).

Of N answers, sorted by the proxy that chooses, the k-th is the best of n that are drawn without replacement in C(k−1, n−1) of
C(N, n) cases. So, without bias and for every n at once,

    E[gold of the best of n] = Σₖ C(k−1, n−1) / C(N, n) · gold₍ₖ₎

Gold is what counts, the proxy what chooses; with proxy for gold it is the proxy's own curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignzoo.lab.statistics import Estimate, bootstrap

Row = NDArray[np.float64]


class CurveError(ValueError):
    """Scores from which no curve can be drawn."""


@dataclass(frozen=True)
class Point:
    """Best-of-n for one n: mean proxy and gold with 95 % intervals over prompts, and what is known without any sample."""

    n: int
    proxy: Estimate
    gold: Estimate
    kl: float
    """log n − (n−1)/n, in nats."""
    win_rate: float
    """How often its proxy is above that of a single answer: n/(n+1)."""

    def row(self) -> dict[str, Any]:
        known = {"n": self.n, "kl": self.kl, "win_rate": self.win_rate}
        return {**known, "proxy": self.proxy.row(), "gold": self.gold.row()}


def divergence(n: int) -> float:
    """KL(best-of-n ‖ policy) = log n − (n−1)/n in nats: exact where no two scores are equal, else an upper bound."""
    if n < 1:
        raise CurveError(f"best-of-n draws one answer at least; got n = {n}")
    return math.log(n) - (n - 1) / n


def estimated(scores: Sequence[float], n: int) -> float:
    """KL(best-of-n ‖ policy) for one prompt, from the scores of some answers to it. The density of best-of-n over the policy's
    depends on the score alone. With F the share of answers that score at most so,

        scores in an interval that no two share      n Fⁿ⁻¹
        a score from F₋ to F that several have       (Fⁿ − F₋ⁿ) / (F − F₋)        one of them is drawn, each as likely

    so each such score takes from the formula what its answers do not differ by: ∫ log(n uⁿ⁻¹) d(uⁿ) over [F₋, F], less
    (Fⁿ − F₋ⁿ) log of the second. Where no two are equal it is the formula; where all are, 0."""
    _, sizes = np.unique(np.asarray(scores, dtype=float), return_counts=True)
    upto = np.cumsum(sizes) / len(scores)
    below = upto - sizes / len(scores)
    chosen = upto**n - below**n
    apart = chosen * (math.log(n) - (n - 1) / n) + (n - 1) / n * (_times_log(upto**n) - _times_log(below**n))
    alike = _times_log(chosen) - chosen * np.log(upto - below)
    return max(0.0, divergence(n) - float((apart - alike)[sizes > 1].sum()))


def _times_log(x: Row) -> Row:
    """x log x, 0 at 0."""
    return np.asarray(x * np.log(np.where(x > 0, x, 1.0)))


def predicted_win_rate(n: int) -> float:
    """How often the best of n is better than one other answer, by the score that chose it: n/(n+1)."""
    if n < 1:
        raise CurveError(f"best-of-n draws one answer at least; got n = {n}")
    return n / (n + 1)


def weights(n: int, count: int) -> Row:
    """(count) C(k−1, n−1) / C(count, n) for k = 1 … count: the chance that the k-th lowest is the best of n. From the top,
    w_N = n/N and w₍ₖ₋₁₎ = w₍ₖ₎ (k−n)/(k−1), nought from k = n on: no binomial is ever formed."""
    if not 1 <= n <= count:
        raise CurveError(f"from {count} answers the best of n is known for n between 1 and {count}; got n = {n}")
    k = np.arange(count, 1, -1)
    falls = (k - n) / (k - 1)
    return n / count * np.cumprod(np.concatenate([[1.0], falls]))[::-1]


def ranked(proxy: Sequence[float], gold: Sequence[float]) -> Row:
    """The gold of one prompt's answers from the lowest proxy to the highest; equal proxies share their mean gold, as each of
    them is as likely to be chosen."""
    _, ties, sizes = np.unique(np.asarray(proxy, dtype=float), return_inverse=True, return_counts=True)
    shared = np.bincount(ties, weights=np.asarray(gold, dtype=float)) / sizes
    return np.asarray(shared[np.sort(ties)])


def by_prompt(proxy: Sequence[Sequence[float]], gold: Sequence[Sequence[float]], n: int) -> list[float]:
    """The expected gold of the best of n by proxy, for each prompt."""
    _check(proxy, gold)
    return [float(weights(n, len(own)) @ ranked(own, theirs)) for own, theirs in zip(proxy, gold, strict=True)]


def curve(
    proxy: Sequence[Sequence[float]], gold: Sequence[Sequence[float]], ns: Sequence[int] = (), seed: int = 0
) -> tuple[Point, ...]:
    """Best-of-n from the scores of N answers to each prompt, for these n, or for 1, 2, 4 … N."""
    _check(proxy, gold)
    return tuple(
        Point(
            n,
            _over(by_prompt(proxy, proxy, n), seed),
            _over(by_prompt(proxy, gold, n), seed),
            divergence(n),
            predicted_win_rate(n),
        )
        for n in ns or doublings(min(map(len, proxy)))
    )


def doublings(count: int) -> list[int]:
    """1, 2, 4 … and `count` itself."""
    return [*(2**power for power in range((count - 1).bit_length())), count]


def _over(prompts: Sequence[float], seed: int) -> Estimate:
    return bootstrap({str(place): [value] for place, value in enumerate(prompts)}, seed)


def _check(proxy: Sequence[Sequence[float]], gold: Sequence[Sequence[float]]) -> None:
    if not proxy or not all(map(len, proxy)):
        raise CurveError("a curve needs at least one prompt, and at least one scored answer to each")
    if list(map(len, proxy)) != list(map(len, gold)):
        raise CurveError("proxy and gold must score the same answers: their counts differ")
    if not all(math.isfinite(score) for table in (proxy, gold) for own in table for score in own):
        raise CurveError("a score that is not a finite number has no place on a curve")
