"""The worked examples on the pages are what the sources give."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from alignzoo.interfaces import Asking
from alignzoo.lab.runfile import plan_of
from alignzoo.records import Feedback, from_json, to_json
from alignzoo.seam.discovery import discover

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "benchmarks" / "feedback"
VOTES = ROOT / "docs" / "feedback" / "votes.md"
"""Its run files give more records than the page shows."""
PAGES = sorted(page for page in VOTES.parent.glob("*.md") if page != VOTES)
DEMO: dict[str, Any] = tomllib.loads((ROOT / "benchmarks" / "demo.toml").read_text())


def fences(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def worked(*pages: Path) -> list[Any]:
    """Every run file that is followed by records."""
    found = []
    for page in pages:
        blocks = fences(page)
        pairs = [(one[1], other[1]) for one, other in pairwise(blocks) if (one[0], other[0]) == ("toml", "json")]
        found += [pytest.param(toml, records, id=f"{page.stem}-{i}") for i, (toml, records) in enumerate(pairs)]
    return found


@pytest.mark.parametrize(("toml", "told"), worked(*PAGES))
def test_a_worked_example(toml: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [to_json(record) for record in collected(toml, monkeypatch)] == told.splitlines()


@pytest.mark.parametrize(("toml", "told"), worked(VOTES))
def test_a_worked_example_of_votes(toml: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(map(from_json, told.splitlines())) <= set(collected(toml, monkeypatch))


def collected(toml: str, monkeypatch: pytest.MonkeyPatch) -> list[Feedback]:
    """What a run file's source gives."""
    monkeypatch.chdir(ROOT)
    table = tomllib.loads(toml)
    plan = plan_of({**DEMO, **table}, discover())
    source = plan.rewards[0].feedback if "reward" in table else plan.feedback
    assert source is not None
    if source.made.asks:
        pytest.skip("it asks the run's own policy, which is not here")
    asking = Asking()
    records = list(source.collect(asking))
    assert asking.tally.unexplained == 0
    return records


def test_the_pages_work_through_every_source() -> None:
    used = {name for page in PAGES for name in re.findall(r'^use = "([\w-]+)"', page.read_text(), re.MULTILINE)}
    ours = {found.component for found in discover().components if found.plugin == "preference_sets"}
    assert {component.id for component in ours if component.kind == "feedback"} <= used
    filters = (ROOT / "docs" / "feedback" / "filters.md").read_text()
    assert all(f"`{component.id}`" in filters for component in ours if component.kind == "filter")


def test_the_rows_on_the_pages_are_in_the_example_files() -> None:
    shown = {text for page in PAGES for language, text in fences(page) if language == "text"}
    assert shown == {path.read_text() for path in EXAMPLES.iterdir() if path.suffix != ".toml"}
