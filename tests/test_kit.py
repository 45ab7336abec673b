"""The conformance kit is tried itself: what is right passes, and each deliberately wrong plugin fails exactly its own check."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from shelf import HEAD, Shelf, offering, shelf_in

from alignzoo.cli.check import CheckError, _laid_out
from alignzoo.seam.hookspecs import Component, Kind
from alignzoo.seam.zoo import Found
from alignzoo.shop.wheel import WheelError
from alignzoo.testing import Trial, conformance, optimizers
from alignzoo.testing.checks import CHECKS, Subject, Verdict
from alignzoo.testing.conformance import alone, subjects, verdicts
from alignzoo.testing.lessons import lesson


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the updates tell right from wrong here."""
    monkeypatch.setattr(optimizers, "LEARN", 6)


NEEDS = {"optimizer": ("comparisons",), "feedback": ("prompts", "policy")}
LESSON = Trial(lesson=lesson())


def subject(kind: Kind, name: str, trial: Trial | None = None, **more: Any) -> Subject:
    gives = ("comparison",) if kind == "feedback" else ()
    component = Component(kind, "tried", f"wrong:{name}", "", **{"needs": NEEDS.get(kind, ()), "gives": gives, **more})
    return alone(Found(component, "", "wrong", "", ""), trial)


def failing(one: Subject) -> dict[str, Verdict]:
    return {verdict.check: verdict for verdict in verdicts([one]) if verdict.status == "failed"}


RIGHT: list[tuple[Kind, str]] = [
    ("optimizer", "Right"),
    ("reward", "right_reward"),
    ("reward", "Lent"),
    ("reward", "Shows"),
    ("feedback", "Source"),
    ("feedback", "Judge"),
    ("feedback", "Reader"),
    ("filter", "Sieve"),
    ("task", "RightTask"),
    ("policy", "Answers"),
    ("acquisition", "Firsts"),
]


@pytest.mark.parametrize(("kind", "name"), RIGHT)
def test_what_is_right_passes(kind: Kind, name: str) -> None:
    assert failing(subject(kind, name)) == {}


WRONG: list[tuple[str, Kind, str, Mapping[str, Any]]] = [
    ("component.loads", "reward", "NOT_CALLABLE", {}),
    ("component.made", "reward", "NeedsAFile", {}),
    ("component.frozen", "reward", "Loose", {}),
    ("component.settings", "reward", "Doubles", {}),
    ("component.refuses-unknown", "optimizer", "AcceptsAnything", {}),
    ("component.protocol", "optimizer", "Right", {"needs": ("ratings",)}),
    ("component.protocol", "feedback", "Source", {"gives": ("rating",)}),
    ("component.protocol", "reward", "Sieve", {}),
    ("optimizer.runs", "optimizer", "DeploysNothing", {}),
    ("optimizer.refuses", "optimizer", "TakesAnything", {"trial": LESSON, "needs": ()}),
    ("optimizer.refuses", "optimizer", "RefusesLate", {"trial": LESSON, "needs": ()}),
    ("optimizer.learns", "optimizer", "FlippedSign", {}),
    ("optimizer.learns", "optimizer", "KnowsBetter", {}),
    ("optimizer.learns", "optimizer", "Spoils", {}),
    ("optimizer.base-unchanged", "optimizer", "TrainsBase", {}),
    ("optimizer.moves", "optimizer", "Idle", {}),
    ("optimizer.finite", "optimizer", "NotANumber", {}),
    ("optimizer.reference-fixed", "optimizer", "DriftingReference", {}),
    ("optimizer.ledger", "optimizer", "UnderReports", {}),
    ("optimizer.ledger", "optimizer", "NoLabels", {}),
    ("optimizer.reply-only", "optimizer", "PromptInLoss", {}),
    ("optimizer.learns-ends", "optimizer", "EndsMasked", {}),
    ("optimizer.heeds-rows", "optimizer", "FirstRowsOnly", {}),
    ("optimizer.heeds-rows", "optimizer", "EveryOtherRow", {}),
    ("optimizer.micro-batches", "optimizer", "MeansOfMeans", {}),
    ("optimizer.same-seed", "optimizer", "HiddenState", {}),
    ("optimizer.same-seed", "optimizer", "Unseeded", {}),
    ("optimizer.resumes", "optimizer", "Restarts", {}),
    ("optimizer.stops", "optimizer", "NeverStops", {}),
    ("optimizer.stops", "optimizer", "OneMore", {}),
    ("optimizer.globals-kept", "optimizer", "Reseeds", {}),
    ("optimizer.saved", "optimizer", "NotSaved", {"needs": ("demonstrations",)}),
    ("reward.scores", "reward", "too_few", {}),
    ("reward.hard-inputs", "reward", "shy_of_emoji", {}),
    ("reward.same-again", "reward", "moody", {}),
    ("reward.neighbours", "reward", "padding_leaks", {}),
    ("reward.order", "reward", "order_matters", {}),
    ("reward.keeps-no-graph", "reward", "keeps_a_graph", {}),
    ("reward.compares", "reward", "Shouts", {}),
    ("reward.compares", "reward", "Forgetful", {}),
    ("reward.compares", "reward", "Batched", {}),
    ("feedback.collects", "feedback", "Empty", {}),
    ("feedback.stays-offline", "feedback", "PhonesHome", {}),
    ("feedback.typed", "feedback", "OtherKind", {}),
    ("feedback.provenance", "feedback", "FromNowhere", {}),
    ("feedback.same-again", "feedback", "Random", {}),
    ("feedback.no-self-pairs", "feedback", "SelfPairs", {}),
    ("feedback.groups-apart", "feedback", "SplitsByRow", {}),
    ("feedback.groups-apart", "feedback", "Strays", {}),
    ("feedback.tally", "feedback", "Loses", {}),
    ("feedback.cost", "feedback", "BehindTheMeter", {}),
    ("feedback.position", "feedback", "FirstWins", {}),
    ("feedback.position", "feedback", "OneOrder", {}),
    ("filter.sifts", "filter", "LetsNothingPass", {}),
    ("filter.invents-nothing", "filter", "Invents", {}),
    ("filter.tells", "filter", "Hushes", {}),
    ("filter.same-again", "filter", "Whims", {}),
    ("filter.streams", "filter", "Hoards", {}),
    ("task.asks", "task", "NoTest", {}),
    ("task.splits-apart", "task", "Overlaps", {}),
    ("task.steady", "task", "Shuffles", {}),
    ("task.refuses", "task", "AnySplit", {}),
    ("model.answers", "model", "NoModel", {}),
    ("policy.replies", "policy", "OneAnswer", {}),
    ("policy.seeded", "policy", "MindsNeighbours", {}),
    ("acquisition.chooses", "acquisition", "OneTwice", {}),
    ("acquisition.same-choice", "acquisition", "Fickle", {}),
]


@pytest.mark.parametrize(("check", "kind", "name", "more"), WRONG, ids=[f"{check}-{name}" for check, _, name, _ in WRONG])
def test_what_is_wrong_fails_its_own_check_and_no_other(check: str, kind: Kind, name: str, more: Mapping[str, Any]) -> None:
    found = failing(subject(kind, name, **more))
    assert list(found) == [check], found


# Plugins that are wrong before anything is tried ------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    return shelf_in(tmp_path, monkeypatch)


def offered(id: str, module: str) -> str:
    return offering(f'"reward", "{id}", "{module}.work:right_reward", "does {id}"')


REWARD = "def right_reward(prompts, completions):\n    return [float(len(said.text)) for said in completions]\n"
PLUGINS = {
    "plugin.imports": "import nothing_of_this_name\n",
    "plugin.light": f"import numpy\n{offered('bad', 'zoo_bad')}",
    "plugin.silent": f"print('hello')\n{offered('bad', 'zoo_bad')}",
    "plugin.offered": f"{HEAD}@hookimpl\ndef alignzoo_componets():\n    return ()\n",
    "plugin.complete": offered("bad", "zoo_bad"),
}


@pytest.mark.parametrize("check", PLUGINS)
def test_a_plugin_that_is_wrong_fails_its_own_check_and_no_other(shelf: Shelf, check: str) -> None:
    module = shelf.put("bad", PLUGINS[check], work=REWARD)
    record = "zoo_bad/__init__.py,,\nzoo_bad/work.py,,\n" + ("zoo_bad/data.json,,\n" if check == "plugin.complete" else "")
    (shelf.folder / f"{module}-1.0.dist-info" / "RECORD").write_text(record)
    plugin, *components = subjects("bad")
    assert list(failing(plugin)) == [check]
    assert [found for one in components for found in failing(one)] == []


def test_every_check_has_its_wrong_plugin() -> None:
    tried = {check for check, *_ in WRONG} | set(PLUGINS)
    assert set(CHECKS) - tried == {"optimizer.on-gpu"}
    assert len(WRONG) + len(PLUGINS) >= 20


def test_every_check_says_what_must_hold() -> None:
    for check in CHECKS.values():
        assert check.says.endswith("."), check.id
        assert check.level in ("static", "cpu", "gpu")
        assert set(check.after) <= set(CHECKS)


# What is expected to fail, what is not run --------------------------------------------------------------------------------


def status(one: Subject, check: str) -> tuple[str, str]:
    [found] = [verdict for verdict in verdicts([one]) if verdict.check == check]
    return found.status, found.said


def test_an_expected_failure_has_a_reason_and_is_strict() -> None:
    reason = Trial(expected={"reward.order": "it scores a dialogue"})
    assert status(subject("reward", "order_matters", reason), "reward.order") == ("expected", "it scores a dialogue")
    passes, said = status(subject("reward", "right_reward", reason), "reward.order")
    assert passes == "failed"
    assert "it passes, although the trial says that it must fail: it scores a dialogue" in said


def test_what_builds_on_a_failure_is_not_run() -> None:
    assert status(subject("reward", "moody"), "reward.order") == ("not run", "it builds on reward.same-again, which fails")


def test_what_takes_long_is_not_run_unless_all_is_asked_for() -> None:
    slow = subject("reward", "too_few", Trial(slow="a book is read"))
    assert status(slow, "reward.scores") == ("not run", "it takes long: a book is read (--all)")
    slow = subject("reward", "too_few", Trial(slow="a book is read"))
    slow.thorough = True
    assert status(slow, "reward.scores")[0] == "failed"


def test_a_check_leaves_the_process_as_it_was() -> None:
    import torch

    before = torch.get_rng_state()
    failing(subject("optimizer", "Reseeds"))
    assert torch.equal(before, torch.get_rng_state())


def test_as_a_test_of_pytest(shelf: Shelf) -> None:
    """One line in an author's repository; a failure, a skip and a pass are told apart."""
    shelf.put("fine", offered("fine", "zoo_fine"), work=REWARD.replace("len(said.text)", "len(said.text) + len(completions)"))
    test: Any = conformance("fine")
    outcomes: dict[str, str] = {}
    for case in test.pytestmark[0].args[1]:
        try:
            test(*case.values)
        except (pytest.fail.Exception, pytest.skip.Exception) as outcome:
            outcomes[case.id] = str(outcome)
    failed, skipped = "reward:fine/fine-reward.neighbours", "plugin:fine-plugin.complete"
    without = {f"reward:fine/fine-{check}" for check in ("component.frozen", "component.settings", "component.refuses-unknown")}
    assert set(outcomes) == {failed, skipped, "reward:fine/fine-reward.order", *without}
    assert outcomes[failed].startswith("reward.neighbours: ")
    assert outcomes[skipped] == "it is installed from a folder, not from a wheel"


# The command ------------------------------------------------------------------------------------------------------------


def alignzoo(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "alignzoo", *words], capture_output=True, text=True, check=False, cwd=cwd)


PROJECT = '[project]\nname = "zoo-mine"\nversion = "1.0"\n[project.entry-points."alignzoo.plugins"]\nmine = "zoo_mine"\n'


def project(folder: Path, work: str = REWARD) -> Path:
    (folder / "zoo_mine").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "zoo_mine" / "__init__.py").write_text(offered("mine", "zoo_mine"))
    (folder / "zoo_mine" / "work.py").write_text(work)
    return folder


def test_a_folder_is_checked_as_it_stands(tmp_path: Path) -> None:
    done = alignzoo("check", ".", "--json", cwd=project(tmp_path))
    told = json.loads(done.stdout)
    assert (done.returncode, told["conforms"]) == (0, True), done.stdout + done.stderr
    assert {row["subject"] for row in told["verdicts"]} == {"plugin:mine", "reward:mine/mine"}
    assert "not run" in told["counts"]


def test_a_wheel_is_laid_out_as_an_installer_would(tmp_path: Path) -> None:
    wheel = tmp_path / "zoo_mine-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("zoo_mine/__init__.py", offered("mine", "zoo_mine"))
        archive.writestr("zoo_mine-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: zoo-mine\nVersion: 1.0\n")
        archive.writestr("zoo_mine-1.0.dist-info/entry_points.txt", "[alignzoo.plugins]\nmine = zoo_mine\n")
    names, [folder] = _laid_out([str(wheel)], tmp_path / "room")
    assert names == ["mine"]
    assert (Path(folder) / "zoo_mine" / "__init__.py").is_file()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("zoo_mine/__init__.py", "")
    with pytest.raises(CheckError, match="offers no plugin"):
        _laid_out([str(wheel)], tmp_path / "other")


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (f"import os\nos._exit(3)\n{REWARD}", "the process ended"),
        (f"import time\ntime.sleep(60)\n{REWARD}", "it has not ended after 8 seconds"),
    ],
)
def test_a_crash_and_a_hang_are_findings(tmp_path: Path, work: str, said: str) -> None:
    done = alignzoo("check", str(project(tmp_path, work)), "--timeout", "8", cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stdout


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("nobody", "no component named 'nobody'"),
        (".", "has no pyproject.toml; name a plugin's project folder"),
        ("gone.whl", "there is no wheel gone.whl"),
    ],
)
def test_what_cannot_be_checked_is_a_mistake_in_the_command(tmp_path: Path, what: str, said: str) -> None:
    done = alignzoo("check", what, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("written", [b"[proj", b"name = '\xff'", b"project = 3", b"[project]\nentry-points = 3"])
def test_a_pyproject_that_cannot_be_read_is_told_in_a_line(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "pyproject.toml").write_bytes(written)
    with pytest.raises(CheckError, match="cannot be read as the pyproject"):
        _laid_out([str(tmp_path)], tmp_path / "room")


def test_a_wheel_that_is_no_zip_or_a_bomb_is_not_laid_out(tmp_path: Path) -> None:
    wheel = tmp_path / "zoo_mine-1.0-py3-none-any.whl"
    wheel.write_bytes(b"no zip")
    with pytest.raises(WheelError, match="cannot be read as a zip file"):
        _laid_out([str(wheel)], tmp_path / "room")
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zoo_mine/__init__.py", b"0" * 4_000_000)
    with pytest.raises(WheelError, match="a zip bomb"):
        _laid_out([str(wheel)], tmp_path / "room")


def test_a_check_has_one_thread_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project(tmp_path)
    (folder / "zoo_mine" / "__init__.py").write_text(
        "import os\nraise RuntimeError(os.environ['OMP_NUM_THREADS'] + ' threads')\n"
    )
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert "RuntimeError: 1 threads" in alignzoo("check", ".", cwd=folder).stdout
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "RuntimeError: 3 threads" in alignzoo("check", ".", cwd=folder).stdout
