"""The figures of an evaluation, by hand."""

from __future__ import annotations

import json
import math

import pytest

from alignzoo.lab.statistics import Estimate, wilson
from alignzoo.records import Comparison, Completion, Prompt
from alignzoo_evaluations.accuracy import (
    EvaluationError,
    Scored,
    correlation,
    evaluated,
    mean_of,
    rightness,
    share_of,
)


def pair(asked: str, chosen: str = "yes", rejected: str = "no", strength: float = 1.0) -> Comparison:
    return Comparison(Prompt.ask(asked), Completion(chosen), Completion(rejected), strength)


def scored(asked: str, high: float, low: float, subset: str = "all", *, chosen: str = "yes", rejected: str = "no") -> Scored:
    return Scored(pair(asked, chosen, rejected), subset, high, low)


def test_a_level_pair_is_half_right_and_a_likely_label_counts_by_its_strength() -> None:
    assert [rightness(lead, 1.0) for lead in (2.0, -2.0, 0.0)] == [1.0, 0.0, 0.5]
    assert [rightness(lead, 0.8) for lead in (2.0, -2.0, 0.0)] == [0.8, pytest.approx(0.2), 0.5]


def test_wilson_by_hand() -> None:
    """8 of 10: (0.8 + z²/20 ± z √(0.016 + z²/400)) / (1 + z²/10)."""
    found, z = wilson(8, 10), 1.959964
    middle, half = 0.8 + z**2 / 20, z * math.sqrt(0.8 * 0.2 / 10 + z**2 / 400)
    assert (found.low, found.high) == pytest.approx(((middle - half) / (1 + z**2 / 10), (middle + half) / (1 + z**2 / 10)))
    assert (round(found.low, 3), round(found.high, 3)) == (0.490, 0.943)


def test_all_right_is_no_certainty() -> None:
    assert wilson(5, 5).low == pytest.approx(5 / (5 + 1.959964**2))
    assert wilson(5, 5).high == 1.0
    assert share_of({"a": [1.0, 1.0], "b": [1.0]}).low == pytest.approx(wilson(2, 2).low)


def test_one_pair_to_a_prompt_is_wilson_and_several_are_resampled_together() -> None:
    alone = {str(i): [float(i < 8)] for i in range(10)}
    assert share_of(alone) == wilson(8, 10)
    together = {str(i): [float(i < 8)] * 50 for i in range(10)}
    found = share_of(together)
    assert found.mean == pytest.approx(0.8)
    assert found.high - found.low > 0.3  # 500 pairs, and as unsure as ten prompts: not 0.07 wide
    alike = {str(i): [1.0, 0.0] for i in range(18)} | {"up": [1.0, 1.0], "down": [0.0, 0.0]}
    found = share_of(alike)  # prompts that hardly differ are nearly as good as their pairs: Wilson over 20 is 0.4 wide
    assert found.mean == 0.5
    assert 0.05 < found.high - found.low < 0.2


def test_a_share_is_over_pairs_and_not_over_prompts() -> None:
    assert share_of({"a": [1.0, 1.0, 1.0], "b": [0.0]}).mean == 0.75
    found = share_of({f"{i}": [1.0] if i % 2 else [0.0] * 9 for i in range(40)})  # and so is its interval
    assert found.low < found.mean == 0.1 < found.high < 0.25


def test_the_interval_holds_95_of_100() -> None:
    """400 prompts, each right or wrong as a whole: a standard error of 0.5 / 20, and 1.96 of it each way."""
    found = share_of({f"{i}": [float(i % 2)] * 2 for i in range(400)})
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.025, abs=0.006)


def test_the_mean_of_subsets_adds_distances_in_squares() -> None:
    found = mean_of([Estimate(0.8, 0.5, 0.9), Estimate(0.6, 0.2, 0.7)])
    assert found.mean == pytest.approx(0.7)
    assert found.low == pytest.approx(0.7 - math.hypot(0.3, 0.4) / 2)
    assert found.high == pytest.approx(0.7 + math.hypot(0.1, 0.1) / 2)


def test_correlation_by_hand() -> None:
    assert correlation([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) == pytest.approx(1.0)
    assert correlation([1.0, 2.0, 3.0], [3.0, 1.0, 2.0]) == pytest.approx(-0.5)
    assert correlation([1e-3, 2e-3, 3e-3], [3e-3, 1e-3, 2e-3]) == pytest.approx(-0.5)
    assert correlation([1.0, 1.0], [2.0, 4.0]) == 0.0


SCORES = [
    scored("a", 2.0, 1.0, "easy", chosen="a long answer", rejected="short"),
    scored("b", 2.0, 1.0, "easy", chosen="a long answer", rejected="short"),
    scored("c", 1.0, 2.0, "hard", chosen="a long answer", rejected="short"),
    scored("d", 1.0, 1.0, "hard", chosen="short", rejected="a long answer"),
    scored("d", 1.0, 2.0, "hard", chosen="short", rejected="a long answer"),
    scored("d", 1.0, 2.0, "hard", chosen="a long answer", rejected="another answer"),
]


def test_micro_is_over_pairs_and_macro_over_subsets() -> None:
    found = evaluated("mine", SCORES)
    assert [(line.name, line.pairs, line.prompts, line.level) for line in found.subsets] == [
        ("easy", 2, 2, 0),
        ("hard", 4, 2, 1),
    ]
    assert found.micro.accuracy.mean == pytest.approx(2.5 / 6)
    assert found.macro.mean == pytest.approx((1.0 + 0.5 / 4) / 2)
    assert found.macro_length.mean == pytest.approx((1.0 + 1 / 4) / 2)
    assert found.micro.level == 1
    assert found.micro.prompts == 4


def test_lengths_alone_take_the_side_that_is_right_more_often() -> None:
    found = evaluated("mine", SCORES)
    assert (found.rule, found.micro.length.mean) == ("the longer", 0.5)
    turned = evaluated("mine", [scored(str(i), 1.0, 0.0, chosen="x", rejected="longer") for i in range(3)])
    assert (turned.rule, turned.micro.length.mean) == ("the shorter", 1.0)
    assert turned.ahead.mean == 0.0
    assert turned.length_correlation == pytest.approx(-1.0)
    assert evaluated("mine", SCORES[:3]).ahead.mean == pytest.approx(-1 / 3)


def test_the_reward_is_set_against_the_lengths_prompt_by_prompt() -> None:
    """It is right where the longer one is, and wrong where it is not: it knows nothing else, without any doubt."""
    sides = {True: {"chosen": "a long answer", "rejected": "short"}, False: {"chosen": "short", "rejected": "a long answer"}}
    found = evaluated("mine", [scored(str(i), float(i % 3), 1.0 * (i % 3 == 0), **sides[i % 3 > 0]) for i in range(30)])
    assert found.micro.accuracy.mean == pytest.approx(2 / 3)
    assert (found.ahead.low, found.ahead.mean, found.ahead.high) == (0.0, 0.0, 0.0)


def test_ties_of_the_label_are_left_out_and_said() -> None:
    tie = Scored(pair("t", strength=0.5), "all", 1.0, 0.0)
    found = evaluated("mine", [*SCORES, tie])
    assert (found.micro.pairs, found.ties) == (6, 1)
    assert "1 pairs whose label is a tie" in found.markdown()
    with pytest.raises(EvaluationError, match="all 2 pairs are ties"):
        evaluated("mine", [tie, tie])


def test_neither_order_nor_a_shift_of_the_scores_matters() -> None:
    found = evaluated("mine", SCORES)
    moved = [Scored(one.pair, one.subset, one.chosen + 7, one.rejected + 7) for one in reversed(SCORES)]
    other = evaluated("mine", moved)
    assert other.macro == found.macro
    assert other.micro.accuracy.mean == found.micro.accuracy.mean


def test_the_table_and_the_plain_data_say_the_same() -> None:
    found = evaluated("mine", SCORES)
    row = json.loads(json.dumps(found.row()))
    assert row["micro"]["accuracy"]["mean"] == found.micro.accuracy.mean
    assert row["subsets"][1]["name"] == "hard"
    text = found.markdown()
    assert f"| mean of the 2 subsets | | {found.macro} | {found.macro_length} | |" in text
    assert "| all pairs | 6 | 0.417" in text
    assert "mean of the" not in evaluated("mine", SCORES[:2]).markdown()
