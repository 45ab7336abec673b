"""The game is trlX's to the last bit, and a walk is worth what its definition says."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from statistics import fmean

import pytest

from alignzoo_random_walks.walks import GOAL, LONGEST, Game, game, length, shortest_ways, uniform

EDGES = {"a": "a", "b": "ac", "c": "b", "d": "c", "e": "e"}
SMALL = Game(EDGES, shortest_ways(EDGES))


@pytest.mark.parametrize(
    ("seed", "digest", "mean", "chance", "optimal", "unfinished"),
    [(1000, "69d12e9c", 0.35151, 0.34623, 0.184, 0.440), (1002, "1a78d3a2", 0.79018, 0.78517, 0.539, 0.015)],
)
def test_the_published_game(seed: int, digest: str, mean: float, chance: float, optimal: float, unfinished: float) -> None:
    played = game(seed)
    worths = [played.optimality(walk) for walk in played.walks]
    assert hashlib.sha256("\n".join(played.walks).encode()).hexdigest().startswith(digest)
    assert fmean(worths) == pytest.approx(mean, abs=5e-6)
    assert fmean(uniform(played).values()) == pytest.approx(chance, abs=5e-6)
    assert fmean(worth == 1 for worth in worths) == optimal
    assert fmean(walk[-1] != GOAL for walk in played.walks) == unfinished


def test_every_node_leads_on_and_the_goal_only_to_itself() -> None:
    played = game(1000)
    assert len(played.edges) == 21
    assert played.edges[GOAL] == GOAL
    assert all(leads and letter not in leads for letter, leads in played.edges.items() if letter != GOAL)
    assert played.starts == "bcdefghijklmnopqrstu"


def test_walks_go_by_edges_and_stop_at_the_goal() -> None:
    played = game(1000)
    assert len(played.walks) == 1000
    for walk in played.walks:
        assert walk[0] != GOAL
        assert GOAL not in walk[:-1]
        assert walk[-1] == GOAL or len(walk) == LONGEST
        assert all(there in played.edges[here] for here, there in pairwise(walk))


def test_shortest_ways_count_both_ends_and_stop_at_ten() -> None:
    assert shortest_ways(EDGES) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 10}
    chain = {"a": "a", **{there: here for here, there in zip("abcdefghijkl", "bcdefghijklm", strict=True)}}
    assert [shortest_ways(chain)[letter] for letter in "ijklm"] == [9, 10, 10, 10, 10]


@pytest.mark.parametrize(
    ("walk", "nodes", "why"),
    [
        ("ba", 2, "the shortest"),
        ("bcba", 4, "a detour"),
        ("cba", 3, "the only way"),
        ("bacx", 2, "what comes after the goal does not count"),
        ("bc", 10, "it never arrives"),
        ("ca", 10, "there is no such edge"),
        ("bda", 10, "there is no such edge on the way"),
        ("b?a", 10, "no letter of the graph"),
        ("xa", 10, "no letter of the graph at the start"),
        ("", 10, "nothing"),
        ("bcbcbcbcba", 10, "ten nodes are as good as never"),
        ("bcbcbcbcbcba", 10, "later than ten"),
    ],
)
def test_length_and_worth(walk: str, nodes: int, why: str) -> None:
    assert length(walk, EDGES) == nodes, why
    best = {"b": 2, "c": 3}.get(walk[:1], 2)
    assert SMALL.optimality(walk) == pytest.approx((10 - nodes) / (10 - best)), why


def test_where_no_way_is_short_enough_nothing_is_to_be_gained() -> None:
    assert SMALL.optimality("eee") == 0.0


def test_chance_by_hand() -> None:
    """From b the goal is half of what follows, else c, which leads back: it is reached after 2, 4, 6, 8, 10 nodes."""
    by_hand = sum(0.5**turn * (10 - 2 * turn) / 8 for turn in range(1, 6))
    assert uniform(SMALL)["b"] == pytest.approx(by_hand)
    assert uniform(SMALL)["c"] == pytest.approx(sum(0.5**turn * (9 - 2 * turn) / 7 for turn in range(1, 5)))
    assert uniform(SMALL)["e"] == 0.0
