"""Means, intervals and wins, by hand and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from alignzoo.lab.statistics import bootstrap, gains, wins


def test_the_mean_is_over_prompts_not_over_answers() -> None:
    assert bootstrap({"a": [1.0, 1.0, 1.0], "b": [0.0]}).mean == 0.5


def test_wins_count_ties_as_half() -> None:
    ours, theirs = {"a": [2.0, 1.0, 0.0], "b": [3.0]}, {"a": [1.0, 1.0, 1.0], "b": [4.0]}
    assert wins(ours, theirs) == {"a": [1.0, 0.5, 0.0], "b": [0.0]}
    assert gains(ours, theirs) == {"a": [1.0, 0.0, -1.0], "b": [-1.0]}


def test_no_spread_no_width() -> None:
    estimate = bootstrap({str(i): [0.25] for i in range(10)})
    assert (estimate.low, estimate.mean, estimate.high) == (0.25, 0.25, 0.25)


def test_the_interval_covers_at_about_its_level() -> None:
    dice = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        sample = {str(i): [value] for i, value in enumerate(dice.normal(3.0, 1.0, size=60))}
        estimate = bootstrap(sample, seed=trial)
        covered += estimate.low <= 3.0 <= estimate.high
    assert 0.89 <= covered / 200 <= 0.99


def test_nothing_has_no_mean() -> None:
    with pytest.raises(ValueError, match="at least one prompt"):
        bootstrap({})
