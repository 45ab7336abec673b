"""`alignzoo new`: what it writes works as it is, and a name that cannot be is refused before anything is written."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignzoo.cli import main
from alignzoo.seam import local
from alignzoo.seam.discovery import discover
from alignzoo.seam.hookspecs import API
from alignzoo.seam.scaffold import SUMMARIES, ScaffoldError, Seed, check

KINDS = sorted(SUMMARIES)
IN_ONE_FILE = [kind for kind in KINDS if kind != "feedback"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    for name in local.modules():
        sys.modules.pop(name, None)
    local._READ.clear()


@pytest.mark.parametrize("kind", KINDS)
def test_a_project_is_written_whole(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", kind, "fine-thing"]) == 0
    told = capsys.readouterr().out.splitlines()
    written = sorted(str(path) for path in Path("fine-thing").rglob("*") if path.is_file())
    assert sorted(line for line in told if line.startswith("fine-thing")) == written
    package = Path("fine-thing/alignzoo_fine_thing")
    expected = {"pyproject.toml", "README.md", "WHAT-TO-EDIT.md", ".gitignore", ".github/workflows/check.yml"}
    expected |= {f"{package.name}/__init__.py", f"{package.name}/fine_thing.py", "tests/test_fine_thing.py"}
    expected |= {f"{package.name}/examples.jsonl"} if kind == "feedback" else set()
    assert {str(Path(path).relative_to("fine-thing")) for path in written} == expected
    for path in map(Path, written):
        text = path.read_text(encoding="utf-8")
        assert "$" not in text, path
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
        if path.suffix == ".py":
            ast.parse(text)
        elif path.suffix == ".md":
            assert "\n\n\n" not in text
    project = tomllib.loads(Path("fine-thing/pyproject.toml").read_text())
    assert project["project"]["entry-points"]["alignzoo.plugins"] == {"fine_thing": "alignzoo_fine_thing"}
    assert project["project"]["name"] == "alignzoo-fine-thing"
    test = Path("fine-thing/tests/test_fine_thing.py").read_text()
    assert 'test_conformance = conformance("fine-thing")' in test
    assert f'api="{API}"' in (package / "__init__.py").read_text()


@pytest.mark.parametrize("kind", IN_ONE_FILE)
def test_a_plugin_in_one_file_is_found_as_it_is(kind: str) -> None:
    assert main(["new", kind, "fine-thing", "--file"]) == 0
    assert os.listdir() == ["fine_thing.py"]
    found = discover(files=["fine_thing.py"]).lookup("fine-thing")
    assert (found.component.kind, found.component.summary) == (kind, SUMMARIES[kind])
    assert found.load()().__class__.__name__ == "FineThing"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer", "dpo"], "'dpo' is taken: it means the plugin 'dpo'"),
        (["optimizer", "grpo"], "'grpo' is taken: it means optimizer:policy_gradient/grpo"),
        (["reward", "grpo"], "'grpo' is taken"),  # one word, one meaning, whatever the kind
        (["optimizer", "best-of-n"], "'best-of-n' is taken"),
        (["optimizer", "self-rated"], "'self-rated' is taken"),
        (
            ["optimizer", "MyLoss"],
            "'MyLoss' cannot be a name: lower-case letters and digits, with hyphens between them, such as",
        ),
        (["optimizer", "my_loss"], "such as my-loss"),
        (["optimizer", "9"], "with hyphens between them; choose|with hyphens between them$"),
        (["optimizer", "descent"], "'descent' would be called Descent, which is taken in its code"),
        (["optimizer", "policy-gradient"], "'policy-gradient' is taken: it means the plugin 'policy_gradient'"),
        (["reward", "component"], "would be called Component"),
        (["optimizer", "class"], "'class' would be called class"),
        (["optimiser", "my-loss"], "nothing to begin a plugin of kind 'optimiser' with; did you mean 'optimizer'"),
        (["task", "my-loss"], "nothing to begin a plugin of kind 'task' with; there is acquisition, feedback, filter"),
        (["feedback", "my-choices", "--file"], "brings files with it, so it is a package; leave --file out"),
        (["reward", "tomllib", "--file"], "a file tomllib.py would hide a module of that name"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *words]) == 2
    said = capsys.readouterr().err
    assert any(part in said or part.removesuffix("$") in said for part in message.split("|")), said
    assert os.listdir() == []


def test_a_package_of_that_name_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "alignzoo_somewhere").mkdir()
    (tmp_path / "alignzoo_somewhere" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ScaffoldError, match="there is a package alignzoo_somewhere already"):
        check(Seed("reward", "somewhere"), discover())


def test_nothing_is_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    Path("fine-thing").mkdir()
    assert main(["new", "reward", "fine-thing"]) == 2
    assert "fine-thing is there already; choose another place with --out" in capsys.readouterr().err
    assert main(["new", "reward", "fine-thing", "--out", "elsewhere/deep"]) == 0
    assert Path("elsewhere/deep/pyproject.toml").is_file()
    Path("fine_thing.py").write_text("mine")
    assert main(["new", "reward", "fine-thing", "--file"]) == 2
    assert "fine_thing.py is there already; nothing was written" in capsys.readouterr().err
    assert Path("fine_thing.py").read_text() == "mine"


# Green at the first try --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects")
    for kind in KINDS:
        assert main(["new", kind, f"first-{kind}", "--out", str(folder / kind)]) == 0
    return folder


def command(*words: str, path: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, "-m", *words], env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_kit_finds_nothing_at_the_first_check(projects: Path, tmp_path: Path) -> None:
    """All of them in one go, and one that is a single file."""
    assert main(["new", "optimizer", "first-file", "--file"]) == 0
    done = command("alignzoo", "check", *(str(projects / kind) for kind in KINDS), "first_file.py", "--json")
    verdicts = json.loads(done.stdout)["verdicts"]
    assert [row for row in verdicts if row["status"] == "failed"] == []
    assert done.returncode == 0, done.stderr
    passed = {row["check"] for row in verdicts if row["status"] == "passed"}
    assert {"optimizer.learns", "optimizer.resumes", "reward.order", "feedback.tally", "filter.tells"} <= passed
    assert {"policy.seeded", "acquisition.chooses", "plugin.light"} <= passed
    assert [row for row in verdicts if "first-file" in row["subject"] and row["check"] == "optimizer.learns"]


@pytest.mark.slow
def test_their_tests_pass_at_the_first_try(projects: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"  # a folder of its own: what lies in the current one does not count as installed
    paths = [str(site)]
    for kind in KINDS:
        info = site / f"alignzoo_first_{kind}-0.1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: alignzoo-first-{kind}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(f"[alignzoo.plugins]\nfirst_{kind} = alignzoo_first_{kind}\n")
        paths.append(str(projects / kind))
    options = ("-q", "-p", "no:cacheprovider", "--import-mode=importlib")
    done = command("pytest", *options, *(str(projects / kind / "tests") for kind in KINDS), path=os.pathsep.join(paths))
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "failed" not in done.stdout
