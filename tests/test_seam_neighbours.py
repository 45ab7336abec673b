"""Fifteen bad distributions at once: a list shows each with reason and fix, and what is healthy works among them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from shelf import HEAD, Shelf, offering, optimizer, shelf_in

from alignzoo.seam.discovery import discover
from alignzoo.seam.kept import Kept, Receipt, place
from alignzoo.seam.patience import TookTooLong, limit, patience
from alignzoo.seam.registry import Plugin, Registry, Revoked
from alignzoo.seam.zoo import ZooError

LOOP = "import time\nwhile True:\n    time.sleep(0.01)\n"
HOOK = "def alignzoo_components():\n    yield Component('optimizer', 'x', 'zoo_x.work:Work', '')\n"


def neighbourhood(shelf: Shelf) -> Shelf:
    def mine(name: str, more: str = "") -> str:
        return offering(optimizer(name, f"zoo_{name}", more))

    shelf.healthy("good")
    shelf.put("gone", None)
    shelf.put("unable", "from os import nothing_such\n" + mine("unable"))
    shelf.put("quits", "import sys\nsys.exit(0)\n")
    shelf.put("endless", LOOP)
    shelf.put("loud", "print('[]')\n" + mine("loud"))
    shelf.put("signs", f"{HEAD}@hookimpl\n{HOOK.replace('()', '(config)', 1)}")
    shelf.put("spells", f"{HEAD}@hookimpl\n{HOOK.replace('components', 'compnents')}")
    shelf.put("bare", f"{HEAD}{HOOK}")
    shelf.put("future", mine("future", ", api='2.0'"))
    shelf.put("dpo", mine("dpo"), dist="zoo-thief")
    shelf.put("twins", offering(optimizer("twins", "zoo_twins"), optimizer("twins", "zoo_twins")))
    shelf.put("dangles", offering('"optimizer", "dangles", "zoo_dangles.work:Play", ""'))
    shelf.put("heavy", "import numpy\n" + mine("heavy"))  # as torch, and quicker
    shelf.put("raises", f"{HEAD}@hookimpl\n{HOOK}    raise KeyError('x')\n")
    shelf.put("double", mine("double"))
    (shelf.folder / "zoo_double-0.9.dist-info").mkdir()
    return shelf


REASONS = {
    "gone": "its package 'zoo_gone' is gone",
    "unable": "importing it fails: ImportError",
    "quits": "it calls sys.exit(0)",
    "endless": "it does not come back",
    "loud": "it prints when it is loaded",
    "signs": "wrong signature",
    "spells": "'alignzoo_compnents' is no hook; did you mean 'alignzoo_components'?",
    "bare": "'alignzoo_components' lacks @hookimpl",
    "future": "built for plugin API 2.0",
    "dpo": "belongs to alignzoo",
    "twins": "more than once",
    "dangles": "zoo_dangles.work has no 'Play'",
    "heavy": "it imports numpy when it is loaded",
    "raises": "raises KeyError",
    "double": "zoo-double is installed in versions 0.9 and 1.0 at once",
}


def alignzoo(folder: Path, *words: str, patience: str = "4") -> subprocess.CompletedProcess[str]:
    state = {"ALIGNZOO_STATE": str(folder / "state.toml"), "ALIGNZOO_PATIENCE": patience}
    env = {**os.environ, "PYTHONPATH": str(folder), **state, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "alignzoo", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=folder.parent)


def test_a_list_among_fifteen_bad_ones_comes_back_with_a_reason_and_a_fix_for_each(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    neighbourhood(Shelf(site))
    done = alignzoo(site, "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads(done.stdout)
    faults = {row["plugin"]: row for row in seen["broken"]}
    assert set(faults) == set(REASONS)
    assert [name for name, reason in REASONS.items() if reason not in faults[name]["reason"]] == []
    assert all(row["fix"] for row in faults.values())
    assert faults["endless"]["fix"].startswith("alignzoo disable endless")
    health = {row["name"]: row["health"] for row in seen["components"] if row["distribution"] != "alignzoo"}
    assert health.pop("optimizer:good/good") == "ok"
    assert set(health.values()) == {"fault"}
    assert set(health) == {f"optimizer:{name}/{name}" for name in ("loud", "twins", "heavy", "double")}

    assert alignzoo(site, "disable", "endless").returncode == 0
    again = json.loads(alignzoo(site, "list", "--json", patience="0").stdout)  # it would wait for ever
    assert [row["plugin"] for row in again["disabled"]] == ["endless"]
    assert "endless" not in {row["plugin"] for row in again["broken"]}


RUN = """
[model]
path = "{model}"
[model.lora]
rank = 2
[task]
use = "playground"
[feedback]
use = "playground"
count = 8
answers = 2
[optimizer]
use = "dpo"
batch_size = 4
[budget]
updates = 1
[watch]
prompts = 2
tokens = 4
[answer.manner]
max_tokens = 4
"""


@pytest.mark.slow
def test_healthy_plugins_train_among_fifteen_bad_ones(tmp_path: Path) -> None:
    from alignzoo.testing import toy_folder

    site = tmp_path / "site"
    site.mkdir()
    neighbourhood(Shelf(site))
    (tmp_path / "toy.toml").write_text(RUN.format(model=toy_folder(tmp_path / "model")))
    done = alignzoo(site, "train", "toy.toml")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "toy" / "train" / "adapter" / "adapter_model.safetensors").exists()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("ALIGNZOO_STATE", str(tmp_path / "state.toml"))
    return shelf_in(tmp_path, monkeypatch)


# Time --------------------------------------------------------------------------------------------------------------------


def test_what_swallows_its_interruption_is_interrupted_again() -> None:
    interrupted = []

    def stubborn() -> None:
        while True:
            try:
                while True:
                    pass
            except TookTooLong:
                interrupted.append(1)
                if len(interrupted) == 2:
                    raise

    with pytest.raises(TookTooLong), patience(0.05):
        stubborn()
    assert len(interrupted) == 2


def test_an_alarm_of_somebody_else_is_put_back() -> None:
    import signal

    def handler(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 1000)
    with patience(500):
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= 500
    assert signal.getitimer(signal.ITIMER_REAL)[0] > 500
    assert signal.signal(signal.SIGALRM, before) is handler
    signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.parametrize(("said", "seconds"), [("3", 3.0), ("0", 0.0), ("-1", 0.0), ("soon", 20.0)])
def test_how_long_one_waits_can_be_said(monkeypatch: pytest.MonkeyPatch, said: str, seconds: float) -> None:
    monkeypatch.setenv("ALIGNZOO_PATIENCE", said)
    assert limit() == seconds


# Disabled, revoked, not installed ----------------------------------------------------------------------------------------


def test_a_disabled_plugin_is_not_imported_and_says_so_when_it_is_named(shelf: Shelf) -> None:
    shelf.healthy("good", "better")
    zoo = discover([str(shelf.folder)], Registry(), state=Kept(("good",)))
    assert (zoo.components, zoo.broken) == ((), ())
    assert [entry.plugin for entry in zoo.disabled] == ["good"]
    assert "zoo_good" not in sys.modules
    for name in ("good/better", "good"):
        with pytest.raises(ZooError, match="plugin 'good' is disabled; alignzoo enable good"):
            zoo.find("optimizer", name)
    listed = Registry((Plugin("good", "zoo-good", "bundled", "", ("optimizer:better",), "MIT"),))
    with pytest.raises(ZooError, match="plugin 'good' is disabled"):
        discover([str(shelf.folder)], listed, state=Kept(("good",))).find("optimizer", "better")


def test_disable_and_enable_are_remembered_by_environment(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    from alignzoo.cli import main

    shelf.healthy("good", "better")
    assert main(["disable", "better"]) == 0  # by a component of it
    assert [entry.plugin for entry in discover().disabled] == ["good"]
    assert main(["disable", "godo"]) == 2
    assert main(["enable", "dpo"]) == 2
    assert main(["enable", "good"]) == 0
    assert discover().disabled == ()
    assert not Path(place()).exists()
    assert "plugin 'dpo' is not disabled" in capsys.readouterr().err


def test_what_was_revoked_after_it_was_installed_is_not_imported(shelf: Shelf) -> None:
    shelf.healthy("good")
    shelf.healthy("bad")
    zoo = discover([str(shelf.folder)], Registry((), (Revoked("steals keys", dist="zoo-bad", version="1.0"),)))
    assert [found.plugin for found in zoo.components] == ["good"]
    assert [(fault.reason, fault.fix) for fault in zoo.broken] == [
        ("zoo-bad 1.0 is revoked: steals keys", "alignzoo uninstall zoo-bad")
    ]
    assert "zoo_bad" not in sys.modules
    bytes_ = Registry((), (Revoked("steals keys", sha256="d" * 64),))
    state = Kept((), (Receipt(("bad",), "zoo-bad", "1.0", "d" * 64, "", "unlisted"),))
    assert [found.plugin for found in discover([str(shelf.folder)], bytes_, state).components] == ["good"]
    assert [found.plugin for found in discover([str(shelf.folder)], bytes_, Kept()).components] == ["bad", "good"]


def test_a_name_that_only_the_registry_knows_says_how_to_get_it(shelf: Shelf) -> None:
    about = {"repo": "https://example.org", "maintainers": ("X",)}
    listed = Registry((Plugin("new", "zoo-new", "community", "", ("optimizer:newest",), "MIT", **about),))  # type: ignore[arg-type]
    for name in ("newest", "new/newest"):
        with pytest.raises(ZooError, match="the registry has it: alignzoo install new"):
            discover([str(shelf.folder)], listed).find("optimizer", name)
