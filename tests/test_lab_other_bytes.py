"""A run belongs to the bytes of its plugins; going on with others has to be asked for, and is on record."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from shelf import plugin_wheel, shelf_in

from alignzoo.lab.folders import RunError, plan_in
from alignzoo.lab.run import Run

RUN = """
[model]
path = "nowhere"
[task]
use = "playground"
[feedback]
use = "playground"
[optimizer]
use = "thumbs"
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that was opened, and not trained."""
    shelf_in(tmp_path, monkeypatch)
    zipfile.ZipFile(plugin_wheel(tmp_path)).extractall(tmp_path)
    (tmp_path / "toy.toml").write_text(RUN)
    Run.open(tmp_path / "toy.toml", tmp_path / "run")
    return tmp_path / "run"


def made_with(run: Path) -> Any:
    return tomllib.loads((run / "run.toml").read_text())["made_with"]


def change(run: Path, words: str) -> None:
    with (run.parent / "zoo_thumbs" / "work.py").open("a") as file:
        file.write(f"# {words}\n")


def test_other_bytes_are_refused_and_the_way_on_is_said(run: Path) -> None:
    change(run, "more")
    for path, out in ((run, None), (run.parent / "toy.toml", run)):
        with pytest.raises(
            RunError, match=r"was made with other bytes of its plugins.*--other-bytes.*\n  optimizer:thumbs/thumbs"
        ):
            Run.open(path, out)
    assert "before" not in made_with(run)


def test_going_on_with_other_bytes_is_on_record(run: Path) -> None:
    first = made_with(run)["plugins"]
    change(run, "more")
    Run.open(run.parent / "toy.toml", run, other_bytes=True)
    second = made_with(run)["plugins"]
    assert second != first
    assert made_with(run)["before"] == [{"until_update": 0, "plugins": first}]
    assert Run.open(run).plan == plan_in(run)  # no need to say it again
    change(run, "and more")
    Run.open(run, other_bytes=True)
    assert [row["plugins"] for row in made_with(run)["before"]] == [first, second]


def test_other_bytes_say_nothing_where_nothing_changed_and_allow_no_other_settings(run: Path) -> None:
    Run.open(run, other_bytes=True)
    assert "before" not in made_with(run)
    with pytest.raises(RunError, match=r"other settings.*\n  optimizer\.beta: 0\.1 there, 0\.2 now"):
        Run.open(run.parent / "toy.toml", run, ["optimizer.beta=0.2"], other_bytes=True)
