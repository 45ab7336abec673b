"""On real samples, where they are."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from statistics import fmean

import pytest

from alignzoo.interfaces import Asking
from alignzoo.records import Comparison
from alignzoo.seam.discovery import discover
from alignzoo.seam.settings import build
from alignzoo_annotators.merged import Merged
from alignzoo_annotators.survey import survey

PANDALM = Path(__file__).resolve().parents[4] / "shared" / "data" / "pandalm_human_pairs.jsonl"


@pytest.fixture(scope="module")
def choices() -> list[Comparison]:
    if not PANDALM.exists():
        pytest.skip(f"{PANDALM.name} is not here")
    source = build(discover().find("feedback", "pandalm").load(), {"data": {"path": str(PANDALM)}})
    return list(source.collect(Asking()))


def test_three_people_on_pandalms_pairs(choices: list[Comparison]) -> None:
    """The whole set has 92.0 %; this is the half of it that is here, with the rows that have no answer left out."""
    rows = [json.loads(line) for line in PANDALM.read_text(encoding="utf-8").splitlines()]
    plain = fmean(a == b for row in rows for a, b in combinations([row[f"annotator{n}"] for n in (1, 2, 3)], 2))
    assert plain == pytest.approx(0.92, abs=0.015)
    [told] = survey(choices, resamples=100)
    assert told.agreement is not None
    assert told.fleiss_kappa is not None
    assert told.shared == told.items
    assert told.agreement.mean == pytest.approx(plain, abs=0.02)
    assert 0.75 < told.fleiss_kappa.mean < told.agreement.mean
    assert told.ties > 0
    assert told.longer is not None
    assert told.longer.low > 0.5  # people take the longer answer here
    assert all(0.85 < (person.dawid_skene or 0) <= 1 for person in told.people)


def test_merged_they_are_as_many_as_there_are_pairs(choices: list[Comparison]) -> None:
    asking = Asking()
    kept = list(Merged("dawid-skene").sift(choices, asking))
    voted = list(Merged("votes").sift(choices, asking))
    assert len(kept) == len(voted) < len(choices) / 2.9
    same = [a.chosen.text == b.chosen.text for a, b in zip(kept, voted, strict=True) if not b.tie]  # type: ignore[union-attr]
    assert fmean(same) > 0.97
