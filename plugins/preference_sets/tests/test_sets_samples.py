"""On real samples, where they are: every row is accounted for, and few are lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison, Ranking
from alignzoo_preference_sets.choices import PandaLM
from alignzoo_preference_sets.columns import Columns
from alignzoo_preference_sets.data import Data
from alignzoo_preference_sets.file import File
from alignzoo_preference_sets.hh import HH
from alignzoo_preference_sets.oasst import Oasst

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def sample(name: str) -> Data:
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not here")
    return Data(str(DATA / name))


def gathered(source: Any) -> tuple[list[Any], Asking]:
    asking = Asking()
    records = list(source.collect(asking))
    assert asking.tally.unexplained == 0
    return records, asking


def test_harmless_pairs() -> None:
    """In the whole set 5 of 2,312 rows part early and 4 have an empty answer."""
    records, asking = gathered(HH(sample("hh_harmless_pairs.jsonl")))
    assert len(records) == asking.tally.kept > 0.98 * asking.tally.read
    assert set(asking.tally.dropped) <= {"diverges before the last turn", "an empty answer"}
    assert all(isinstance(record, Comparison) and record.prompt.turns[-1].speaker == "user" for record in records)


def test_trees() -> None:
    records, asking = gathered(Oasst(sample("oasst_ranked_trees.jsonl")))
    assert asking.tally.left_out == 0
    assert len(records) > asking.tally.read
    assert all(isinstance(record, Ranking) and record.prompt.turns[-1].speaker == "user" for record in records)


def test_three_annotators() -> None:
    """Models that said nothing are a tenth of the rows; some answers are bare values."""
    records, asking = gathered(PandaLM(sample("pandalm_human_pairs.jsonl")))
    assert len(records) == 3 * asking.tally.kept
    assert set(asking.tally.dropped) <= {"'response1' is empty", "'response2' is empty", "both answers are the same"}
    asking.tally.check(0.2)


def test_files_by_their_columns() -> None:
    records, asking = gathered(File(sample("llmbar_pairs_judged.jsonl")))
    assert asking.tally.kept >= 0.98 * asking.tally.read
    columns = Columns(prompt="question", completion="prompt", label="completion")
    records, asking = gathered(File(sample("truthfulqa_truth_labels.jsonl"), columns=columns))
    assert asking.tally.left_out == 0
    assert {record.score for record in records} == {0.0, 1.0}
