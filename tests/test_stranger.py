"""A plugin that was built for plugin API 1.0, and is never edited, is installed and does all that it did.

Where this fails after a change of the core, the change breaks somebody's plugin: docs/reference/plugin-api.md says what to do.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from alignzoo.cli import main
from alignzoo.lab.run import Run
from alignzoo.seam.discovery import discover
from alignzoo.testing import toy_folder

STRANGER = Path(__file__).resolve().parent / "stranger"
RUN = """
[task]
use = "stranger-task"
[model]
path = "{model}"
[model.lora]
rank = 2
[start]
use = "stranger-pairs"
[start.feedback]
use = "stranger-feedback"
count = 4
[feedback]
use = "stranger-feedback"
tie = 0.1
[feedback.acquisition]
use = "stranger-acquisition"
[[feedback.filter]]
use = "stranger-filter"
[reward]
use = "stranger-reward"
[optimizer]
use = "{optimizer}"
[policy]
use = "stranger-policy"
[judge]
use = "stranger-reward"
free = 1
[answer]
prompts = 2
[answer.manner]
max_tokens = 6
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "site" / "alignzoo_stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: alignzoo-stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[alignzoo.plugins]\nstranger = alignzoo_stranger\n")
    for folder in (tmp_path / "site", STRANGER):
        monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.startswith("alignzoo_stranger")]:
        monkeypatch.delitem(sys.modules, name)


def test_it_is_found_whole(installed: None, capsys: pytest.CaptureFixture[str]) -> None:
    zoo = discover()
    assert [fault for fault in zoo.broken if fault.plugin == "stranger"] == []
    assert len([found for found in zoo.components if found.plugin == "stranger"]) == 8
    assert main(["stranger", "hello"]) == 0
    assert capsys.readouterr().out == "hello\n"


@pytest.mark.parametrize("optimizer", ["stranger-pairs", "stranger-climb"])
def test_its_parts_do_a_whole_run(installed: None, tmp_path: Path, optimizer: str) -> None:
    Path("run.toml").write_text(RUN.format(model=toy_folder(tmp_path / "model"), optimizer=optimizer))
    run = Run.open("run.toml", "out")
    report = run.report()
    assert set(report.values) == {"short"}
    assert report.policy.mean > report.start.mean  # two words at most, where one is free
    told = [json.loads(line) for line in (run.files.train.updates).read_text().splitlines()]
    assert told
    assert {"mood"} <= set(told[0]) if optimizer == "stranger-pairs" else {"kl_now"} <= set(told[0])
