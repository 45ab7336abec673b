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
from alignzoo.lab.bench.benchfile import BenchError
from alignzoo.lab.bench.head_to_head import HeadToHead
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


# In a bench, and by another plugin ---------------------------------------------------------------------------------------

BENCH = """
seeds = [0]
threads = 1
[task]
use = "playground"
[model]
path = "{model}"
[model.lora]
rank = 2
[reward]
use = "shout"
[judge]
use = "shout"
[watch]
every = 0
prompts = 2
tokens = 4
[answer]
prompts = 2
[answer.manner]
max_tokens = 4
[[entry]]
name = "best"
optimizer = {{use = "best-of-n", n = 2}}
"""


def test_a_bench_takes_a_plugin_in_a_file_and_keeps_a_copy(here: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bench.toml").write_text(BENCH.format(model=model))
    with pytest.raises(ValueError, match="no reward named 'shout'"):
        HeadToHead.open("bench.toml", "out")
    assert main(["bench", "bench.toml", "--plugin", "./own_shout.py", "--out", "out", "--dry-run"]) == 0
    assert "could not be calibrated" not in capsys.readouterr().out
    assert not Path("out").exists()
    assert main(["bench", "bench.toml", "--plugin", "./own_shout.py", "--out", "out"]) == 0  # in a process of its own
    made_with = tomllib.loads(Path("out/runs/best/0/run.toml").read_text())["made_with"]["plugins"]
    assert made_with["reward:own_shout/shout"].startswith("local sha256:")
    assert Path("out/plugins/own_shout.py").read_bytes() == Path("own_shout.py").read_bytes()
    Path("own_shout.py").unlink()  # the folder is whole without it
    assert [cell.state for cell in HeadToHead.open("out").standings()[0].cells] == ["done"]
    with pytest.raises(BenchError, match="--plugin and --out go with a bench file"):
        HeadToHead.open("out", plugins=["own_shout.py"])


def test_a_bench_is_not_taken_up_with_other_bytes_of_its_plugin(here: Path, model: Path) -> None:
    Path("bench.toml").write_text('plugins = ["./own_shout.py"]\n' + BENCH.format(model=model))
    HeadToHead.open("bench.toml", "out")
    Path("deeper").mkdir()
    shutil.move("own_shout.py", "deeper/own_shout.py")
    Path("bench.toml").write_text('plugins = ["deeper/own_shout.py"]\n' + BENCH.format(model=model))
    assert HeadToHead.open("bench.toml", "out").bench.plugins == ("out/plugins/own_shout.py",)
    with Path("deeper/own_shout.py").open("a") as file:
        file.write("# louder\n")
    with pytest.raises(BenchError, match=r"begun with other bytes of deeper/own_shout\.py"):
        HeadToHead.open("bench.toml", "out")


def test_a_component_that_names_another_finds_the_one_in_the_file(here: Path, model: Path) -> None:
    text = RUN.format(top='plugins = ["./own_shout.py"]', model=model)
    whole = 'use = "self-rated"\nreward = "shout"\nkind = "comparisons"\n'
    rated = text.replace('use = "playground"\ncandidates = "world"\n', whole)
    Path("rated.toml").write_text(rated)
    plan = read_plan(Path("rated.toml"))
    assert plan.feedback
    assert plan.feedback.made.judge([], []) == []
    Path("rated.toml").write_text(rated.replace('plugins = ["./own_shout.py"]', ""))
    with pytest.raises(ValueError, match="no reward named 'shout'"):
        read_plan(Path("rated.toml"))
