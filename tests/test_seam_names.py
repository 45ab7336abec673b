"""What a name means, what it says when it means nothing, and the bytes behind it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from shelf import Shelf, offering, optimizer, shelf_in

from alignzoo.seam.discovery import discover
from alignzoo.seam.nearest import near
from alignzoo.seam.registry import Plugin, Registry
from alignzoo.seam.zoo import Zoo, ZooError

OWNED = Registry((Plugin("dpo", "zoo-dpo", "bundled", "", ("optimizer:dpo",), "Apache-2.0"),))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = shelf_in(tmp_path, monkeypatch)
    shelf.healthy("dpo")
    reward = '"reward", "judge", "zoo_many.work:Work", ""'
    shelf.put("many", offering(optimizer("ppo", "zoo_many"), reward))
    return shelf


def look(shelf: Shelf) -> Zoo:
    return discover([str(shelf.folder)], OWNED)


@pytest.mark.parametrize("name", ["ppo", "many/ppo", "optimizer:ppo", "optimizer:many/ppo"])
def test_every_form_of_a_name(shelf: Shelf, name: str) -> None:
    assert look(shelf).find("optimizer", name).full_name == "optimizer:many/ppo"
    assert look(shelf).lookup(name).full_name == "optimizer:many/ppo"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dpp", "no optimizer named 'dpp'; did you mean 'dpo'?"),
        ("zzz", "no optimizer named 'zzz'; there is dpo, ppo"),
        ("judge", "no optimizer named 'judge'; there is reward:many/judge"),
        ("reward:judge", "'reward:judge' names a reward, but an optimizer is needed here"),
        ("optimiser:dpo", "no kind of component is named 'optimiser'; did you mean 'optimizer'?"),
        ("other/dpo", "no optimizer named 'other/dpo'"),
    ],
)
def test_a_name_that_means_nothing_says_what_was_meant(shelf: Shelf, name: str, message: str) -> None:
    with pytest.raises(ZooError) as error:
        look(shelf).find("optimizer", name)
    assert message in str(error.value)


def test_of_two_names_that_are_as_close_the_one_with_the_same_start_is_meant() -> None:
    assert near("dpp", ["ppo", "dpo"]) == near("dpp", ["dpo", "ppo"]) == "dpo"
    assert near("dpo", ["sft"]) == ""


def test_an_ambiguous_name_lists_the_full_ones(shelf: Shelf) -> None:
    shelf.healthy("other", "ppo")
    with pytest.raises(ZooError, match="'ppo' can mean optimizer:many/ppo, optimizer:other/ppo; write the full name"):
        look(shelf).find("optimizer", "ppo")
    assert look(shelf).find("optimizer", "other/ppo").plugin == "other"


def test_installing_something_does_not_change_what_a_registered_name_means(shelf: Shelf) -> None:
    shelf.healthy("other", "dpo")
    assert look(shelf).find("optimizer", "dpo").full_name == "optimizer:dpo/dpo"
    assert look(shelf).lookup("dpo").full_name == "optimizer:dpo/dpo"


def test_a_name_of_two_kinds_needs_its_kind_where_any_kind_will_do(shelf: Shelf) -> None:
    shelf.put("twice", offering('"reward", "dpo", "zoo_twice.work:Work", ""'))
    with pytest.raises(ZooError, match="'dpo' can mean optimizer:dpo/dpo, reward:twice/dpo"):
        look(shelf).lookup("dpo")
    assert look(shelf).lookup("reward:dpo").plugin == "twice"


def test_a_named_plugin_that_is_broken_is_fatal_and_says_why(shelf: Shelf) -> None:
    shelf.put("grpo", "1 / 0")
    with pytest.raises(ZooError, match=r"plugin 'grpo' \(zoo-grpo 1.0\) is installed but broken: .*ZeroDivision"):
        look(shelf).find("optimizer", "grpo")
    with pytest.raises(ZooError, match="installed but broken"):
        look(shelf).find("optimizer", "grpo/anything")


def test_a_broken_component_is_named_where_the_rest_of_its_plugin_works(shelf: Shelf) -> None:
    shelf.put("some", offering(optimizer("good", "zoo_some"), optimizer("new", "zoo_some", ", api='2.0'")))
    assert look(shelf).find("optimizer", "good")
    with pytest.raises(ZooError, match=r"installed but broken: component 'new' is built for plugin API 2\.0"):
        look(shelf).find("optimizer", "new")


def test_an_object_that_does_not_import_names_its_plugin_and_what_to_do(shelf: Shelf) -> None:
    shelf.put("bad", offering(optimizer("bad", "zoo_bad")), work="import sys\nclass Work: pass\nsys.exit(1)\n")
    with pytest.raises(ZooError, match=r"optimizer:bad/bad, of plugin 'bad' \(zoo-bad 1.0\), cannot be imported") as e:
        look(shelf).find("optimizer", "bad").load()
    assert "SystemExit: 1" in str(e.value)
    assert "Install zoo-bad again" in str(e.value)


def test_an_object_that_only_seemed_to_be_there(shelf: Shelf) -> None:
    shelf.put("bad", offering(optimizer("bad", "zoo_bad")), work="# Work is to come\nclass Worker: pass\n")
    with pytest.raises(ZooError, match=r"zoo_bad.work has no 'Work' \(it has 'Worker'\)"):
        look(shelf).find("optimizer", "bad").load()


def test_a_digest_follows_the_bytes_and_nothing_else(shelf: Shelf, tmp_path: Path) -> None:
    found = look(shelf).find("optimizer", "dpo")
    package = shelf.folder / "zoo_dpo"
    before = found.digest()
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "work.cpython-311.pyc").write_bytes(b"compiled")
    (package / ".hidden").write_text("x")
    (package / ".cache").mkdir()
    (package / ".cache" / "seen").write_text("x")
    assert found.digest() == before
    (package / "work.py").write_text("class Work: beta = 1\n")
    changed = found.digest()
    assert changed != before
    shutil.move(package / "work.py", package / "play.py")
    assert found.digest() not in (before, changed)


def test_a_digest_of_something_uninstalled_says_so(shelf: Shelf) -> None:
    found = look(shelf).find("optimizer", "dpo")
    shutil.rmtree(shelf.folder / "zoo_dpo")
    with pytest.raises(FileNotFoundError, match="zoo_dpo"):
        found.digest()
