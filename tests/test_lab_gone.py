"""A trained run is opened from what its folder holds: what it was made from may have been moved, or be other data now."""

from __future__ import annotations

import io
import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from alignzoo.cli import main
from alignzoo.interfaces import Asking
from alignzoo.lab import store
from alignzoo.lab.export import export
from alignzoo.lab.gone import Gone
from alignzoo.lab.run import Run
from alignzoo.seam.settings import SettingsError
from alignzoo.testing import toy_folder

RUN = """
name = "moved"
model.path = "{model}"
model.lora.rank = 4
[task]
use = "prompts"
file = "{data}/prompts.jsonl"
[feedback]
use = "file"
data.path = "{data}/pairs.jsonl"
filter = [{{ use = "lengths", most = 50 }}]
[optimizer]
use = "dpo"
batch_size = 8
[answer]
prompts = 2
manner.max_tokens = 4
[judge]
use = "test-judge"
file = "{data}/prompts.jsonl"
"""
JUDGE = """
from dataclasses import dataclass
from pathlib import Path
from alignzoo.seam.hookspecs import Component, hookimpl

@dataclass(frozen=True)
class Judge:
    file: Path

    def __post_init__(self):
        if not self.file.is_file():
            raise ValueError(f"there is no file {self.file}")

    def __call__(self, prompts, completions):
        return [float(len(said.text)) for said in completions]

@hookimpl
def alignzoo_components():
    yield Component("reward", "test-judge", "test_judge:Judge", summary="the longer the better")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that is done; its data is in `data` beside it."""
    folder = tmp_path_factory.mktemp("gone")
    (data := folder / "data").mkdir()
    asked = [f"how is the {what}" for what in "cat dog sun sea hat cup fox owl bee ant".split()]
    (data / "prompts.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in asked))
    pairs = [{"prompt": text, "chosen": "it is small", "rejected": "why"} for text in asked]
    (data / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (folder / "test_judge.py").write_text(JUDGE)
    file = folder / "moved.toml"
    file.write_text(f'plugins = ["{folder}/test_judge.py"]\n' + RUN.format(model=toy_folder(folder / "model"), data=data))
    Run.open(file, folder / "done").report()
    return folder / "done"


def moved(data: Path) -> None:
    shutil.rmtree(data)


def overwritten(data: Path) -> None:
    """What is there now would be ratings, and one prompt is too few for a task."""
    (data / "pairs.jsonl").write_text('{"prompt": "why", "answer": "so", "score": 3}\n')
    (data / "prompts.jsonl").write_text('{"prompt": "why"}\n')


@pytest.fixture(params=[moved, overwritten])
def root(made: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Such a run, of which the data is gone."""
    change: Callable[[Path], None] = request.param
    shutil.copytree(made.parent, tmp_path / "gone")
    for settings in (tmp_path / "gone" / "done" / "run.toml", tmp_path / "gone" / "moved.toml"):
        settings.write_text(settings.read_text().replace(str(made.parent), str(tmp_path / "gone")))
    change(tmp_path / "gone" / "data")
    return tmp_path / "gone" / "done"


def test_it_is_talked_to_shown_and_exported(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("is the cat small\n"))
    assert main(["chat", str(root), "--start"]) == 0
    assert f"{root}: " in capsys.readouterr().out
    assert main(["run", str(root)]) == 0
    assert main(["run", str(root), "--dry-run"]) == 0
    assert main(["collect", str(root)]) == 0
    assert export(Run.at(root), tmp_path / "plain").is_dir()


def test_its_settings_are_those_that_it_was_made_with(root: Path, made: Path) -> None:
    written = tomllib.loads((root / "run.toml").read_text())
    del written["made_with"]
    plan = Run.at(root).plan
    assert plan.table() == written
    assert [part.found.component.id for part in plan.feedback.filters] == ["lengths"] if plan.feedback else False
    assert plan.made_with() == Run.at(made).plan.made_with()


def test_who_asks_for_what_is_gone_is_told_why(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The answers are to be given again: that takes the prompts, and the folder does not hold those."""
    store.Folder(root).answers.unlink()
    assert main(["answer", str(root)]) == 2
    assert f"{root}/run.toml: task: " in (told := capsys.readouterr().err)
    assert "prompts.jsonl" in told


def test_a_preview_reads_the_source_and_is_told_that_it_is_gone(made: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(made, tmp_path / "run"))
    (root / "run.toml").write_text((root / "run.toml").read_text().replace("pairs.jsonl", "elsewhere.jsonl"))
    with pytest.raises(SettingsError, match=r"run.toml: feedback.data: there is no file or folder .*elsewhere.jsonl"):
        Run.at(root).preview(1)


def test_a_run_that_is_not_trained_needs_what_it_is_made_from(root: Path) -> None:
    shutil.rmtree(root / "train")
    with pytest.raises(SettingsError, match="task: "):
        Run.at(root)


def test_what_answers_cannot_be_gone(root: Path) -> None:
    (root / "run.toml").write_text((root / "run.toml").read_text().replace("batch_size = 8", "batch_size = 0"))
    with pytest.raises(SettingsError, match=r"optimizer.batch_size: "):
        Run.at(root)


def test_everything_that_is_asked_of_what_is_gone_is_refused_in_its_words() -> None:
    gone = Gone({}, ("feedback.data: there is no file pairs.jsonl",))
    asked: list[Callable[[], object]] = [
        lambda: gone.gives,
        lambda: gone.asks,
        lambda: gone.collect(Asking()),
        lambda: gone.sift((), Asking()),
        lambda: gone.candidates,
        lambda: gone.prompts("test"),
        lambda: gone.closed,
        lambda: gone((), ()),
    ]
    for ask in asked:
        with pytest.raises(SettingsError, match=r"there is no file pairs\.jsonl"):
            ask()
