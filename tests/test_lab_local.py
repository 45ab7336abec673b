"""Runs with a plugin in one file: it is kept with the run, its bytes are written down, and other bytes are refused."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignzoo.cli import main
from alignzoo.lab.folders import RunError, plan_in
from alignzoo.lab.plan import PlanError
from alignzoo.lab.run import Run
from alignzoo.lab.runfile import read_plan
from alignzoo.seam import local
from alignzoo.testing import toy_folder

RUN = """
{top}
[task]
use = "playground"
[model]
path = "{model}"
[model.lora]
rank = 2
[feedback]
use = "playground"
candidates = "world"
count = 16
[optimizer]
use = "dpo"
batch_size = 8
[answer]
prompts = 2
[answer.manner]
max_tokens = 4
[judge]
use = "shout"
"""
SHOUT = '''
from dataclasses import dataclass

from alignzoo.seam.hookspecs import Component


@dataclass(frozen=True)
class Shout:
    """How loud an answer is."""

    loudness: float = 1.0

    def __call__(self, prompts, completions):
        return [self.loudness * len(reply.text) for reply in completions]


def alignzoo_components():
    yield Component("reward", "shout", f"{__name__}:Shout", "how loud an answer is")
'''


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_folder(tmp_path_factory.mktemp("toy") / "model")


@pytest.fixture
def here(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    Path("own_shout.py").write_bytes(SHOUT.encode().replace(b"\n", b"\r\n"))  # bytes are bytes, whoever's line ends they have
    Path("named.toml").write_text(RUN.format(top='plugins = ["./own_shout.py"]', model=model))
    Path("plain.toml").write_text(RUN.format(top="", model=model))
    yield tmp_path
    for name in local.modules():
        sys.modules.pop(name, None)
    local._READ.clear()


def test_a_run_file_or_the_command_names_the_file(here: Path) -> None:
    named = read_plan(Path("named.toml"))
    given = read_plan(Path("plain.toml"), plugins=["own_shout.py"])
    assert named.plugins == given.plugins == ("own_shout.py",)
    assert {**named.table(), "name": ""} == {**given.table(), "name": ""}
    assert named.made_with()["plugins"]["reward:own_shout/shout"].startswith("local sha256:")
    with pytest.raises(ValueError, match="no reward named 'shout'"):
        read_plan(Path("plain.toml"))


@pytest.mark.parametrize("top", ['plugins = "own_shout.py"', "plugins = [3]"])
def test_plugins_are_a_list_of_files(here: Path, model: Path, top: str) -> None:
    Path("odd.toml").write_text(RUN.format(top=top, model=model))
    with pytest.raises(PlanError, match=r'odd.toml: plugins: must be a list of files, as in plugins = \["./my_loss.py"\]'):
        read_plan(Path("odd.toml"))


def test_a_run_tells_the_bytes_and_stays_whole_without_the_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "plain.toml", "--plugin", "./own_shout.py", "--out", "out"]) == 0
    digest = tomllib.loads(Path("out/run.toml").read_text())["made_with"]["plugins"]["reward:own_shout/shout"]
    assert digest.startswith("local sha256:")
    assert f"| reward:own_shout/shout | {digest[:27]}…, a file of one's own |" in Path("out/report.md").read_text()
    assert json.loads(Path("out/report.json").read_text())["plugins"]["reward:own_shout/shout"] == digest
    assert Path("out/plugins/own_shout.py").read_bytes() == Path("own_shout.py").read_bytes()
    Path("own_shout.py").unlink()
    shutil.move("out", "elsewhere")
    Path("elsewhere/scores.jsonl").unlink()
    assert main(["judge", "elsewhere"]) == 0  # with the copy that it kept
    assert Path("elsewhere/scores.jsonl").exists()
    assert plan_in(Path("elsewhere")).made_with()["plugins"]["reward:own_shout/shout"] == digest


def test_other_bytes_are_refused_and_the_same_ones_elsewhere_are_not(here: Path) -> None:
    Run.open("named.toml", "out")
    Path("deeper").mkdir()
    shutil.copy("own_shout.py", "deeper/own_shout.py")
    moved = Path("named.toml").read_text().replace("./own_shout.py", "deeper/own_shout.py")
    Path("named.toml").write_text(moved)
    assert Run.open("named.toml", "out").plan.plugins == ("deeper/own_shout.py",)
    Path("deeper/own_shout.py").write_text(SHOUT + "\n# one more line\n")
    with pytest.raises(RunError, match=r"made with other bytes of its plugins(.|\n)*reward:own_shout/shout: local sha256:"):
        Run.open("named.toml", "out")
    Path("out/plugins/own_shout.py").write_text(SHOUT + "\n# in the run's own copy\n")
    with pytest.raises(RunError, match="made with other bytes of its plugins"):
        Run.open("out")


def test_a_run_folder_has_its_own_plugins(here: Path) -> None:
    Run.open("named.toml", "out")
    with pytest.raises(RunError, match="--plugin and --out go with a run file"):
        Run.open("out", plugins=["own_shout.py"])
    assert Run.open("out").plan.table() == read_plan(Path("named.toml")).table()


def test_a_dry_run_takes_the_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "plain.toml", "--plugin", "own_shout.py", "--dry-run"]) == 0
    assert 'use = "reward:own_shout/shout"' in capsys.readouterr().out
    assert not Path("runs").exists()
