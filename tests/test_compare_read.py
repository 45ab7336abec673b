"""What is read of finished runs, and how figures are written: by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from finished import finished, in_hand

from alignzoo.lab.compare.comparison import compare
from alignzoo.lab.compare.duels import Entrant
from alignzoo.lab.compare.pictures import Axis, ladder
from alignzoo.lab.compare.played import REFUSES, _distinct, played
from alignzoo.lab.compare.significance import SHARE
from alignzoo.lab.compare.together import entrants_of
from alignzoo.lab.compare.words import chance, leaderboard, markdown, told, verdicts
from alignzoo.lab.statistics import Estimate
from alignzoo.lab.store import StoreError


def flat(who: str, prompt: int, number: int) -> float:
    return 0.5


def test_what_figures_lie_between_is_known_by_their_nature_and_the_judges_word(tmp_path: Path) -> None:
    run = played(finished(tmp_path / "a", flat, bounds={"score": (0, 1), "kind": (-1, 0)}))
    assert dict(run.bounds) == {
        "words": (0.0, math.inf),
        "kl": (0.0, math.inf),
        "refuses": SHARE,
        "ended": SHARE,
        "score": (0, 1),
        "value: kind": (-1, 0),
    }


def test_the_same_prompts_in_another_order_are_put_in_order(tmp_path: Path) -> None:
    run = played(finished(tmp_path / "a", lambda who, prompt, number: float(prompt), prompts=3, n=1))
    assert run.on(run.prompts[::-1]).policy["score"].tolist() == [[2.0], [1.0], [0.0]]


def test_answers_that_were_cut_and_texts_without_pairs(tmp_path: Path) -> None:
    root = finished(tmp_path / "a", flat, prompts=2, n=1, text=lambda who, prompt, number: "one")
    rows = [json.loads(line) for line in (root / "answers.jsonl").open()]
    rows[-1]["completion"]["finished"] = False
    (root / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = played(root)
    assert (run.policy["ended"].tolist(), run.start["ended"].tolist()) == ([[1.0], [0.0]], [[1.0], [1.0]])
    assert run.distinct == (1.0, 1.0)


@pytest.mark.parametrize("gone", ["one answer", "all to a prompt"])
def test_who_did_not_answer_all_equally_often_is_named(gone: str, tmp_path: Path) -> None:
    root = finished(tmp_path / "a", flat, prompts=3, n=2)
    for name in ("answers.jsonl", "scores.jsonl"):
        lines = (root / name).read_text().splitlines(keepends=True)
        (root / name).write_text("".join(lines[: -1 if gone == "one answer" else -2]))
    with pytest.raises(StoreError, match="did not answer the same prompts equally often"):
        played(root)


@pytest.mark.parametrize(
    ("text", "declines"),
    [
        ("I'm unable to", True),
        ("  Sorry, no", True),
        ("“I can’t", False),
        ("You said sorry", False),
        ("I cannot", True),
        ("", False),
    ],
)
def test_what_counts_as_declining(text: str, declines: bool) -> None:
    assert bool(REFUSES.match(text)) is declines


def test_runs_of_other_names_versions_and_nested_seeds_are_one_contestant(tmp_path: Path) -> None:
    def run(seed: int) -> Path:
        nested = {"combine": {"parts": [{"use": "x", "seed": seed}]}, "made_with": {"alignzoo": f"0.{seed}", "plugins": {}}}
        return finished(tmp_path / str(seed), flat, seed=seed, name=f"run-{seed}", changes=nested)

    [one] = entrants_of([played(run(seed)) for seed in (1, 0)])
    assert (one.name, one.seeds) == ("dpo", [0, 1])


def test_figures_for_a_reader() -> None:
    assert told(Estimate(0.5, math.nan, math.nan)) == "0.500"
    assert told(Estimate(math.nan, math.nan, math.nan)) == "–"
    assert told(None) == "not known"
    assert [chance(p) for p in (0.0004, 0.0012, 0.05)] == ["< 0.001", "0.001", "0.050"]


def test_tables_tell_adjusted_chances_failures_and_what_an_answer_costs() -> None:
    dice = np.random.default_rng(0)
    entrants = [
        Entrant(name, tuple(in_hand(seed, dice.normal(0.1 * place, 1, (9, 1))) for seed in range(5)),
                failures=("seed 5: gone",) * place, served={"flops": Estimate(1e6 * (1 + place), 1e6, 3e6)},
                spent={"flops": Estimate(1e6, 1e6, 1e6 + place), "peak_bytes": Estimate(3 * 2**20, 2**20, 5 * 2**20)})
        for place, name in enumerate("abc")
    ]  # fmt: skip
    found = compare("three", entrants)
    for duel, row in zip(found.duels, verdicts(found)[1], strict=True):
        assert row[2] == chance(duel.adjusted)
    assert any(chance(duel.adjusted) != chance(duel.chance) for duel in found.duels)
    head, rows = leaderboard(found)
    seen = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert [seen[name]["seeds"] for name in "abc"] == ["5", "5 (1 failed)", "5 (2 failed)"]
    assert [seen[name]["FLOPs an answer"] for name in "abc"] == [f"{n}e+06 [1e+06, 3e+06]" for n in (1, 2, 3)]
    assert [seen[name]["FLOPs"] for name in "abc"] == ["1e+06"] * 3, "where the ends read as the mean they add nothing"
    assert (seen["a"]["peak MiB"], seen["a"]["labels"]) == ("3 [1, 5]", "–")
    text = markdown(found)
    assert "* Caution: 9 test prompts are few" in text
    assert "## Going too far" not in text


def test_the_starts_interval_is_behind_the_ladder() -> None:
    """From 0 to 1 on 258 units that begin at 166; the start from 1/4 to 3/4."""
    rows = [("a", Estimate(0.5, 0.0, 1.0))]
    drawn = ladder(rows, Estimate(0.5, 0.25, 0.75))
    assert '<rect class="start" x="230.5" y="16" width="129.0"' in drawn
    assert "start 0.500" in drawn
    assert "<rect" not in ladder(rows, Estimate(0.5, math.nan, math.nan)), "of one seed nothing is known"
    assert '<rect class="start" x="166.0"' in ladder(rows, Estimate(0.5, -3.0, 0.75)), "and it has room"


def test_pairs_of_words_are_of_one_answer_and_counted_once() -> None:
    def share(*said: str) -> float:
        return _distinct([text.split() for text in said])

    assert share("a b", "a b") == 1 / 2, "and no pair goes from one answer to the next"
    assert share("a b c", "", "b c", "d", "c b") == 3 / 4
    assert share("a b", "b a") == 1.0
    assert share("a", "", "b") == share() == 1.0


def test_pairs_of_words_are_those_of_first_answers(tmp_path: Path) -> None:
    def text(who: str, prompt: int, number: int) -> str:
        return f"said {prompt}" if number else "a b"

    assert played(finished(tmp_path / "a", flat, prompts=2, n=2, text=text)).distinct == (1 / 2, 1 / 2)


def test_an_axis_just_short_of_a_power_of_ten_has_ticks() -> None:
    """The logarithm of a fifth of it is rounded up to the next whole number."""
    for power in range(-8, 9):
        most = math.nextafter(5 * 10.0**power, 0)
        assert 4 <= len(Axis(0.0, most, 0.0, 1.0).ticks()) <= 11
