"""The game of random walks, as trlX defines it (`examples/randomwalks`): a small directed graph, a thousand random walks on it,
and what a walk is worth. Everything follows from one seed, bit for bit.

Nodes are letters, "a" is the goal. Every node has an edge out, the goal has none but to itself. A walk begins anywhere else and
goes on, edge by edge, to the goal or to ten nodes. The shorter its way to the goal, the better:

    optimality = (10 − length) / (10 − shortest)        length 10 where the goal is not reached, or not by edges
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

NODES, LONGEST, WALKS = 21, 10, 1000
DENSITY = 0.1
"""How likely there is an edge from one node to another."""
LETTERS = "abcdefghijklmnopqrstu"
GOAL = LETTERS[0]

Edges = Mapping[str, str]
"""From each letter those that it leads to, in the order of the alphabet."""


@dataclass(frozen=True)
class Game:
    """A graph, what is shortest on it, and walks."""

    edges: Edges
    shortest: Mapping[str, int]
    """Nodes on the shortest way to the goal, both ends counted."""
    walks: Sequence[str] = ()

    @property
    def starts(self) -> str:
        """Where a walk may begin: anywhere but at the goal."""
        return "".join(letter for letter in sorted(self.edges) if letter != GOAL)

    def optimality(self, walk: str) -> float:
        """How good a walk is, in [0, 1]: 1 for a shortest one, 0 for one that does not arrive in time or leaves the edges.
        What comes after the goal does not count."""
        return self.worth(walk[:1], length(walk, self.edges))

    def worth(self, start: str, nodes: int) -> float:
        """What arriving after so many nodes is worth. Where no way is short enough, nothing is to be gained."""
        best = self.shortest.get(start, LONGEST)
        return (LONGEST - nodes) / (LONGEST - best) if best < LONGEST else 0.0


def length(walk: str, edges: Edges) -> int:
    """Nodes up to the goal; ten where it is not reached, over an edge that there is not, or by a letter that is no node."""
    for place, letter in enumerate(walk):
        if letter not in edges or (place and letter not in edges[walk[place - 1]]):
            return LONGEST
        if letter == GOAL:
            return min(place + 1, LONGEST)
    return LONGEST


def shortest_ways(edges: Edges) -> dict[str, int]:
    """Nodes on the shortest way from each letter to the goal, ten at most: breadth first, from the goal backwards."""
    ways, ahead = {GOAL: 1}, deque([GOAL])
    while ahead:
        here = ahead.popleft()
        for letter, leads in edges.items():
            if here in leads and letter not in ways:
                ways[letter] = ways[here] + 1
                ahead.append(letter)
    return {letter: min(ways.get(letter, LONGEST), LONGEST) for letter in edges}


def uniform(game: Game) -> dict[str, float]:
    """What is to be expected, from each start, of a walk that takes every edge with the same probability: exactly."""
    expected = {}
    for start in game.starts:
        here, worth = {start: 1.0}, 0.0
        for nodes in range(2, LONGEST + 1):
            there: dict[str, float] = {}
            for letter, chance in here.items():
                for leads in game.edges[letter]:
                    there[leads] = there.get(leads, 0.0) + chance / len(game.edges[letter])
            worth += there.pop(GOAL, 0.0) * game.worth(start, nodes)
            here = there
        expected[start] = worth
    return expected


@lru_cache(maxsize=4)
def game(seed: int) -> Game:
    """The graph and the walks of a seed. The order of the draws is the definition: trlX's examples play 1000; the default of
    its function, 1002, is another game, which chance almost solves."""
    dice = np.random.RandomState(seed)
    while True:
        drawn = dice.rand(NODES, NODES) > 1 - DENSITY
        np.fill_diagonal(drawn, False)
        if drawn.sum(1).all():
            break
    drawn[0] = np.arange(NODES) == 0  # whoever is at the goal stays there
    walks = tuple(_walk(drawn, dice) for _ in range(WALKS))
    edges = {letter: "".join(LETTERS[node] for node in np.nonzero(row)[0]) for letter, row in zip(LETTERS, drawn, strict=True)}
    return Game(edges, shortest_ways(edges), walks)


def _walk(edges: np.ndarray, dice: np.random.RandomState) -> str:
    node = 0
    while node == 0:
        node = dice.randint(NODES)
    walk = [node]
    while len(walk) < LONGEST and node != 0:
        node = dice.choice(np.nonzero(edges[node])[0])
        walk.append(node)
    return "".join(LETTERS[place] for place in walk)
