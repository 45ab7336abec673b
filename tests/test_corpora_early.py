"""A corpus is looked at before a model is loaded, whoever learns from it: the policy, its start, a reward or a juror."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignzoo.cli import main
from alignzoo.model.base import Base
from alignzoo.testing import toy_folder

RUN = """
[task]
use = "playground"
[model]
path = "{model}"
[judge]
use = "playground-gold"
{tables}
"""
OFFLINE = '[optimizer]\nuse = "dpo"\n'
ONLINE = '[optimizer]\nuse = "best-of-n"\nn = 2\n'
PAIRS = '[feedback]\nuse = "playground"\ncount = 8\n'
SEATS = {
    "feedback": OFFLINE + "[feedback]\n{source}",
    "start.feedback": OFFLINE + PAIRS + '[start]\nuse = "sft"\n[start.feedback]\n{source}',
    "reward.feedback": ONLINE + '[reward]\nuse = "reward-model"\n[reward.feedback]\n{source}',
    "jury.feedback": OFFLINE + PAIRS + '[jury]\nuse = "reward-model"\n[jury.feedback]\n{source}',
}
"""Where a run may have a source of feedback."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_folder(tmp_path_factory.mktemp("model"))


def told(
    folder: Path, model: Path, tables: str, rows: list[dict[str, object]], capsys: pytest.CaptureFixture[str], *more: str
) -> str:
    """The last line of how a run is refused."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "early.toml").write_text(RUN.format(model=model, tables=tables))
    assert main(["run", str(folder / "early.toml"), "--out", str(folder / "out"), *more]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("place", SEATS)
def test_a_dry_run_looks_for_the_columns_of_a_named_form(
    place: str, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    form, needed = (
        ("demonstrations", "messages or prompt + completion") if "start" in place else ("comparisons", "chosen + rejected")
    )
    source = f'use = "file"\ndata.path = "{tmp_path}/rows.jsonl"\nform = "{form}"'
    said = told(tmp_path, model, SEATS[place].format(source=source), [{"a": "x", "b": "y"}], capsys, "--dry-run")
    assert f"early.toml: {place}: {tmp_path}/rows.jsonl: no telling what the columns a, b mean; say which are {needed}" in said


@pytest.mark.parametrize("place", SEATS)
def test_rows_that_cannot_be_used_are_told_before_a_model_is_loaded(
    place: str, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their columns are there, and nothing is in them."""
    monkeypatch.setattr(Base, "load", lambda *given, **named: pytest.fail("a model was loaded"))
    row = {"prompt": "why", "completion": ""} if "start" in place else {"prompt": "why", "chosen": "so", "rejected": ""}
    source = f'use = "file"\ndata.path = "{tmp_path}/rows.jsonl"'
    said = told(tmp_path, model, SEATS[place].format(source=source), [row] * 4, capsys)
    assert "rows.jsonl: none of its rows can be used" in said


def test_records_that_do_not_say_their_kind_are_none(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = f'use = "file"\ndata.path = "{tmp_path}/rows.jsonl"\nform = "records"'
    said = told(tmp_path, model, SEATS["feedback"].format(source=source), [{"a": "x", "b": "y"}], capsys, "--dry-run")
    assert "rows.jsonl: records as alignzoo writes them say their kind in a column 'kind'; there are a, b" in said


def test_no_form_is_advised_whose_columns_are_not_there(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f'use = "file"\ndata.path = "{tmp_path}/rows.jsonl"'
    tables = SEATS["feedback"].format(source=source)
    rated = {"prompt": "why", "completion": "so", "score": 1.0}
    assert "feedback.form" not in told(tmp_path, model, tables, [rated], capsys)
    both = {**rated, "chosen": "so", "rejected": "no"}
    said = told(tmp_path, model, f'{tables}\nform = "ratings"', [both], capsys)
    assert 'gives rating; set feedback.form = "guess" or feedback.form = "comparisons", where' in said
