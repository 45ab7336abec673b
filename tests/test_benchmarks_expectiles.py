"""benchmarks/expectiles.py: exact values of random walks, by hand numbers on a graph of three nodes."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest

from alignzoo_random_walks.walks import Game, game, shortest_ways


def played(edges: dict[str, str]) -> Game:
    return Game(edges, shortest_ways(edges), ("ba", "bca"))


SMALL, LOOP = (played({"a": "a", "b": "ac", "c": onwards}) for onwards in ("a", "ab"))
UNIT = math.sqrt(0.5)
"""The walks are worth 1 and 7/8: less their mean, over their deviation, ±√½."""


@pytest.fixture(scope="module")
def exact() -> ModuleType:
    spec = importlib.util.spec_from_file_location("expectiles", Path(__file__).parent.parent / "benchmarks" / "expectiles.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_expectile_by_hand(exact: ModuleType) -> None:
    assert exact.expectile([0.0, 10.0], 0.9) == pytest.approx(9)
    assert exact.expectile([0.0, 0.0, 9.0], 0.5) == pytest.approx(3)
    assert exact.expectile([2.0], 0.7) == pytest.approx(2)


def test_values_by_hand(exact: ModuleType) -> None:
    """Each step to a place costs a factor γ; the reward itself, behind the goal, none."""
    q = exact.values(SMALL, "b", 0.8, 0.5)["b", 1]
    assert q["a"] == pytest.approx(0.5 * UNIT)
    assert q["c"] == pytest.approx(0.25 * -UNIT)
    assert exact.margins(SMALL, 0.8, 0.5)["b", 1] == pytest.approx(0.75 * UNIT)


def test_a_walk_that_is_lost_has_its_reward_at_the_tenth_letter(exact: ModuleType) -> None:
    lost = -15 / 16 / math.sqrt(1 / 128)
    q = exact.values(LOOP, "b", 0.8, 0.5)
    assert q["c", 9]["b"] == pytest.approx(lost)
    assert q["c", 9]["a"] == pytest.approx(0.5 * lost)  # ten nodes are worth nothing, either
    assert ("b", 10) not in q


def test_which_expectile_finds_the_shortest_ways(exact: ModuleType) -> None:
    """The figures of the committed table."""
    assert exact.optimality(game(1000), 0.9, 0.99) == 1.0
    assert exact.optimality(game(1000), 0.7, 0.99) == pytest.approx(0.9595, abs=1e-4)
    margins = {tau: exact.margins(game(1000), tau, 0.99) for tau in (0.7, 0.8, 0.9)}
    assert [min(of, key=of.__getitem__)[0] for of in margins.values()] == ["b"] * 3
    assert [min(of.values()) for of in margins.values()] == [pytest.approx(m, abs=5e-4) for m in (-0.020, 0.087, 0.217)]
