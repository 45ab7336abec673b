"""benchmarks/seeds.py: what is said over the seeds of one run file, made as a comparison makes it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from finished import finished

from alignzoo.lab import store
from alignzoo.lab.compare.together import together
from alignzoo.lab.report import report_in


@pytest.fixture(scope="module")
def seeds() -> ModuleType:
    spec = importlib.util.spec_from_file_location("seeds", Path(__file__).parent.parent / "benchmarks" / "seeds.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def near_one(who: str, prompt: int, number: int) -> float:
    return 0.5 if who == "start" else 1.0 - 0.02 * (prompt % 3 == 0)


@pytest.mark.parametrize("closed", ["", "these are all"])
def test_its_intervals_are_those_of_a_comparison(closed: str, seeds: ModuleType, tmp_path: Path) -> None:
    roots = [
        finished(
            tmp_path / str(seed),
            lambda who, prompt, number, seed=seed: near_one(who, prompt, number) - 0.01 * seed * (who == "policy"),
            seed=seed,
            bounds={"score": (0.0, 1.0)},
            closed=closed,
        )
        for seed in range(5)
    ]
    for root in roots:
        report = report_in(root)
        assert report is not None
        store.write_json(root / "report.json", report.row())
    [line], told = together(roots).lines, seeds.summed_up(roots)["reward"]
    assert told["policy"] == pytest.approx(line.reward.row())
    assert told["gain"] == pytest.approx(line.gain.row())
    assert told["policy"]["high"] <= 1


def test_one_seed_has_the_interval_of_its_own_report(seeds: ModuleType) -> None:
    told = seeds.over_seeds([{f"p{place}": float(place % 2) for place in range(40)}])
    assert told["mean"] == 0.5
    assert 0.3 < told["low"] < 0.5 < told["high"] < 0.7


def test_other_prompts_in_one_of_the_runs_are_refused(seeds: ModuleType) -> None:
    with pytest.raises(ValueError, match="did not answer the same prompts"):
        seeds.over_seeds([{"a": 1.0, "b": 0.0}, {"a": 1.0, "c": 0.0}])
    assert np.isnan(seeds.over_seeds([{"a": 1.0}, {"a": 0.0}])["low"])
