"""What was gained against how far it went from the start, and where going farther no longer helps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.gao import Fit, GaoError, fit
from alignzoo.lab.compare.significance import ANYWHERE, COST, Bounds, over_seeds, spread_of
from alignzoo.lab.statistics import Estimate

NOWHERE = 1e-6
"""A KL below which a point is the start's."""
COSTS = ("labels", "flops", "seconds")
_NEAREST = 0.1
"""d = √KL below which the law of training, whose slope is infinite at 0, says nothing."""


@dataclass(frozen=True)
class Point:
    """Where a contestant was, over its seeds: after so many updates, or (`n` > 0) as the best of n answers (its "strength")."""

    update: int
    n: int
    kl: Estimate
    gold: Estimate
    proxy: Estimate | None
    labels: float
    """Mean over seeds, as flops and seconds: where a budget stops is nearly the same under each."""
    flops: float
    seconds: float
    kl_estimated: Estimate | None = None
    """Of the best of n, whose `kl` is by its formula: the same from the answers' scores, where the trail has it."""


def frontier(one: Entrant) -> Iterator[Point]:
    """The points of a contestant's way, each a mean over seeds; without a way, start and end."""
    ways = [run.way for run in one.runs if run.way]
    if not ways:
        yield from _ends(one)
        return
    bounds = one.runs[0].bounds.get("score", ANYWHERE)
    keys = sorted({(row["update"], int(row.get("strength") or 0)) for way in ways for row in way})
    for update, n in keys:
        rows = [row for way in ways for row in way if (row["update"], int(row.get("strength") or 0)) == (update, n)]
        if len(rows) < len(ways) or any(row.get("kl") is None for row in rows):
            continue
        proxied = all(row.get("proxy") is not None for row in rows)
        estimated = all(row.get("kl_estimated") is not None for row in rows)
        yield Point(
            update,
            n,
            _distance(_over(rows, "kl", ANYWHERE, one.closed)),
            _over(rows, "gold", bounds, one.closed),
            _over(rows, "proxy", ANYWHERE, one.closed) if proxied else None,
            **{name: _mean([row[name] for row in rows]) for name in COSTS},
            kl_estimated=_over(rows, "kl_estimated", COST, one.closed) if estimated else None,
        )


def fitted(way: Sequence[Point]) -> Fit | None:
    """Gao's law for a way; None where there are too few points to say anything."""
    start = next((point.gold.mean for point in way if point.kl.mean < NOWHERE), None)
    chosen = any(point.n > 1 for point in way)
    if start is None:
        return None
    try:
        gold = [point.gold.mean for point in way]
        law = "best-of-n" if chosen else "rl"
        return fit(law, [point.kl.mean for point in way], gold, start=start, least_d=least_kl(law) ** 0.5)
    except GaoError:
        return None


def least_kl(law: str) -> float:
    """What a law says nothing about: distances up to this one."""
    return 0.0 if law == "best-of-n" else _NEAREST**2


def _ends(one: Entrant) -> Iterator[Point]:
    if not all("kl" in run.policy for run in one.runs):
        return
    yield Point(0, 0, Estimate(0.0, 0.0, 0.0), one.figure("score", who="start"), None, 0.0, 0.0, 0.0)

    def mean(name: str) -> float:
        return _mean([float(run.spent.get(name, 0.0)) for run in one.runs])

    costs = mean("labels"), mean("flops"), mean("seconds")
    yield Point(int(mean("updates")), 0, _distance(one.figure("kl")), one.figure("score"), None, *costs)


def _distance(found: Estimate) -> Estimate:
    """A KL is not below 0, though an estimate of it by samples may be."""
    return Estimate(*(0.0 if end < 0 else end for end in (found.mean, found.low, found.high)))


def _over(rows: Sequence[Mapping[str, Any]], name: str, bounds: Bounds, closed: bool) -> Estimate:
    """Over seeds and prompts as every other figure; over seeds alone where the way has no figure of each prompt."""
    each = [row.get("each", {}).get(name, ()) for row in rows]
    if len(each[0]) < 2 or len({len(figures) for figures in each}) > 1:
        return over_seeds([row[name] for row in rows], bounds)
    return spread_of(np.array(each, dtype=float), closed=closed).interval(bounds)


def _mean(figures: Sequence[float]) -> float:
    return float(sum(figures) / len(figures))
