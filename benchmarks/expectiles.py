"""Which expectile finds the shortest ways of the random walks, if every value is exact? Then nothing is learned and nothing is
drawn: V(s) is the τ-expectile of Q over the edges that a random walk may take, backwards from the end.

    python benchmarks/expectiles.py --results benchmarks/results/expectiles

At each place on a shortest way, the margin is Q of the best edge that stays on one, less Q of the best edge that leaves it. The
values that ILQL learns must be right to less than that. Rewards are scaled as ILQL scales them.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev

from alignzoo.lab import store
from alignzoo_random_walks.walks import GOAL, LONGEST, Game, game

TAUS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99)
Place = tuple[str, int]
"""A node, and how many nodes the walk has with it."""


def expectile(values: list[float], tau: float) -> float:
    """The m at which τ Σ (q − m)⁺ = (1 − τ) Σ (m − q)⁺, by halving."""
    low, high = min(values), max(values)
    for _ in range(60):
        middle = (low + high) / 2
        pull = sum((tau if q > middle else 1 - tau) * (q - middle) for q in values)
        low, high = (middle, high) if pull > 0 else (low, middle)
    return low


def values(played: Game, start: str, tau: float, gamma: float) -> Mapping[Place, Mapping[str, float]]:
    """Q of every edge in every place that a walk from `start` may be in. The reward comes with the end token behind the goal,
    or with the tenth letter of a walk that does not arrive."""
    worths = [played.optimality(walk) for walk in played.walks]
    mean, deviation = fmean(worths), stdev(worths)
    known: dict[Place, Mapping[str, float]] = {}
    v: dict[Place, float] = {}
    for nodes in range(LONGEST, 0, -1):
        v[GOAL, nodes] = (played.worth(start, nodes) - mean) / deviation
        for here in played.edges if nodes < LONGEST else ():
            if here != GOAL:
                lost = nodes + 1 == LONGEST
                q = {
                    to: (0 - mean) / deviation if lost and to != GOAL else gamma * v[to, nodes + 1] for to in played.edges[here]
                }
                known[here, nodes], v[here, nodes] = q, expectile(list(q.values()), tau)
    return known


def margins(played: Game, tau: float, gamma: float) -> dict[Place, float]:
    """By start, and nodes so far: the smallest margin anywhere on its shortest ways."""
    found: dict[Place, float] = {}
    for start in played.starts:
        q, ahead = values(played, start, tau, gamma), [(start, 1)]
        while ahead:
            here, nodes = ahead.pop()
            on = [to for to in played.edges[here] if played.shortest[to] == played.shortest[here] - 1]
            off = [to for to in played.edges[here] if to not in on]
            if off:
                margin = max(q[here, nodes][to] for to in on) - max(q[here, nodes][to] for to in off)
                found[start, nodes] = min(margin, found.get((start, nodes), margin))
            ahead += [(to, nodes + 1) for to in on if to != GOAL]
    return found


def optimality(played: Game, tau: float, gamma: float) -> float:
    """Of always taking the best edge by these values."""
    worths = []
    for start in played.starts:
        q, walk = values(played, start, tau, gamma), start
        while walk[-1] != GOAL and len(walk) < LONGEST:
            here = q[walk[-1], len(walk)]
            walk += max(here, key=here.__getitem__)
        worths.append(played.optimality(walk))
    return fmean(worths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--results", type=Path)
    given = parser.parse_args()
    played = game(1000)
    lines = [f"`python {shlex.join(sys.argv)}`", "", "Random walks (seed 1000), exact values of edges taken at random.", ""]
    lines += [
        "| τ | optimality of the best edges | smallest margin | at the start | starts with one below 0.15 |",
        "|---|---|---|---|---|",
    ]
    for tau in TAUS:
        found = margins(played, tau, given.gamma)
        (start, _), least = min(found.items(), key=lambda one: one[1])
        narrow = len({start for (start, _), margin in found.items() if margin < 0.15})
        lines += [f"| {tau:g} | {optimality(played, tau, given.gamma):.3f} | {least:.3f} | {start} | {narrow} |"]
    print("\n".join(lines))
    if given.results:
        store.write_text(given.results.with_suffix(".md"), "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
