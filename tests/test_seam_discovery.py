"""Plugins are found, loaded alone, and never fatal: each broken neighbour is shown with a reason and a fix."""

from __future__ import annotations

import sys
from pathlib import Path

import pluggy
import pytest
from shelf import HEAD, Shelf, offering, optimizer, shelf_in

from alignzoo.seam.discovery import discover
from alignzoo.seam.installed import entries, search_path
from alignzoo.seam.registry import Plugin, Registry
from alignzoo.seam.source import source_of
from alignzoo.seam.zoo import Zoo

OWNED = Registry((Plugin("dpo", "zoo-house", "bundled", "", ("optimizer:dpo",), "Apache-2.0"),))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    return shelf_in(tmp_path, monkeypatch)


def look(shelf: Shelf) -> Zoo:
    return discover([str(shelf.folder)], OWNED)


def names(zoo: Zoo) -> list[str]:
    return [found.full_name for found in zoo.components]


def test_a_healthy_plugin_is_found_and_loads_only_when_asked(shelf: Shelf) -> None:
    shelf.healthy("good")
    zoo = look(shelf)
    assert names(zoo) == ["optimizer:good/good"]
    assert zoo.broken == ()
    found = zoo.components[0]
    assert (found.distribution, found.version, found.package) == ("zoo-good", "1.0", "zoo_good")
    assert "zoo_good.work" not in sys.modules
    assert found.load().__name__ == "Work"


CALL = "def alignzoo_components():\n    yield Component('optimizer', 'bad', 'zoo_bad.work:Work', '')\n"
BAD = {
    "package gone": (None, "its package 'zoo_bad' is gone", "--force-reinstall zoo-bad"),
    "needs something": ("import not_there", "it needs 'not_there'", "pip install not_there"),
    "import error": ("from os import nothing_such", "importing it fails: ImportError", "tell its author"),
    "raises": ("1 / 0", "ZeroDivisionError: division by zero", "tell its author"),
    "sys.exit": ("import sys; sys.exit(3)", "it calls sys.exit(3)", "tell its author"),
    "generator exit": ("raise GeneratorExit", "GeneratorExit", "tell its author"),
    "syntax error": ("def f(:", "SyntaxError", "tell its author"),
    "no hook": ("x = 1", "it offers nothing: zoo_bad has no hook", "@hookimpl def alignzoo_components()"),
    "misspelled": (
        f"{HEAD}@hookimpl\n{CALL.replace('components', 'componets')}",
        "'alignzoo_componets' is no hook; did you mean 'alignzoo_components'?",
        "Rename it in zoo_bad",
    ),
    "no decorator": (f"{HEAD}{CALL}", "'alignzoo_components' lacks @hookimpl", "Write @hookimpl"),
    "signature": (
        f"{HEAD}@hookimpl\n{CALL.replace('()', '(config)', 1)}",
        "alignzoo_components has the wrong signature",
        "takes no arguments",
    ),
    "raising hook": (f"{HEAD}@hookimpl\n{CALL}    raise KeyError('x')\n", "raises KeyError: 'x'", "tell its author"),
    "not a component": (offering() + "    return [{}]\n", "gives a dict, not a Component", "tell its author"),
    "bad arguments": (offering("'optimizer'"), "raises TypeError", "tell its author"),
    "future API": (
        offering(optimizer("bad", "zoo_bad", ", api='2.0'")),
        "built for plugin API 2.0; this alignzoo has 1.0",
        "pip install --upgrade alignzoo",
    ),
    "newer minor": (offering(optimizer("bad", "zoo_bad", ", api='1.1'")), "plugin API 1.1", "--upgrade alignzoo"),
    "past API": (offering(optimizer("bad", "zoo_bad", ", api='0.9'")), "plugin API 0.9", "--upgrade zoo-bad"),
    "no API": (offering(optimizer("bad", "zoo_bad", ", api='new'")), "'new' is no API version", "tell its author"),
    "unknown kind": (offering("'optimiser', 'bad', 'zoo_bad.work:Work', ''"), "did you mean 'optimizer'?", "author"),
    "bad id": (offering(optimizer("Bad One", "zoo_bad")), "'Bad One' cannot be the id", "lower-case letters"),
    "bare needs": (offering(optimizer("bad", "zoo_bad", ", needs='prompts'")), "needs is 'prompts'", "Write a tuple"),
    "no module": (offering("'optimizer', 'bad', 'zoo_bad.play:Work', ''"), "no module 'zoo_bad.play'", "author"),
    "dangling": (offering("'optimizer', 'bad', 'zoo_bad.work:Play', ''"), "zoo_bad.work has no 'Play'", "author"),
    "part of a word": (offering("'optimizer', 'bad', 'zoo_bad.work:Wor', ''"), "zoo_bad.work has no 'Wor'", "author"),
    "no colon": (offering("'optimizer', 'bad', 'zoo_bad.work', ''"), "not of the form module:attribute", "author"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_broken_plugin_is_kept_with_its_reason_and_fix_and_loses_no_other(shelf: Shelf, case: str) -> None:
    source, reason, fix = BAD[case]
    shelf.put("bad", source)
    shelf.healthy("a-good")
    shelf.healthy("z-good")
    zoo = look(shelf)
    assert names(zoo) == ["optimizer:a-good/a-good", "optimizer:z-good/z-good"]
    (broken,) = zoo.broken
    assert (broken.plugin, broken.distribution, broken.version) == ("bad", "zoo-bad", "1.0")
    assert reason in broken.reason
    assert fix in broken.fix


def test_ctrl_c_during_an_import_is_no_fault_of_the_plugin(shelf: Shelf) -> None:
    shelf.put("bad", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        look(shelf)


def test_the_place_of_an_exception_is_told(shelf: Shelf) -> None:
    shelf.put("bad", "\n\n1 / 0\n")
    assert look(shelf).broken[0].reason.endswith("zoo_bad/__init__.py:3)")


def test_a_plugin_that_prints_works_and_is_told_of(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.put("loud", "print('hello')\n" + offering(optimizer("loud", "zoo_loud")))
    zoo = look(shelf)
    assert names(zoo) == ["optimizer:loud/loud"]
    assert "it prints when it is loaded: 'hello'" in zoo.broken[0].reason
    assert capsys.readouterr().out == ""


def test_one_bad_component_leaves_the_rest_of_its_plugin(shelf: Shelf) -> None:
    good, future = optimizer("good", "zoo_two"), optimizer("new", "zoo_two", ", api='2.0'")
    shelf.put("two", offering(good, future))
    zoo = look(shelf)
    assert names(zoo) == ["optimizer:two/good"]
    assert zoo.broken[0].holds == ("new",)


def test_a_component_that_is_offered_twice_counts_once(shelf: Shelf) -> None:
    shelf.put("two", offering(optimizer("same", "zoo_two"), optimizer("same", "zoo_two")))
    zoo = look(shelf)
    assert names(zoo) == ["optimizer:two/same"]
    assert "more than once" in zoo.broken[0].reason


def test_an_owned_id_is_refused_to_others_and_its_owner_keeps_working(shelf: Shelf) -> None:
    shelf.healthy("dpo", dist="evil")
    shelf.healthy("dpo", dist="zoo-house")
    zoo = look(shelf)
    assert [(found.full_name, found.distribution) for found in zoo.components] == [("optimizer:dpo/dpo", "zoo-house")]
    assert "belongs to zoo-house" in zoo.broken[0].reason
    assert "pip uninstall evil" in zoo.broken[0].fix
    assert "evil" not in sys.modules


def test_a_free_id_that_two_distributions_claim_means_neither(shelf: Shelf) -> None:
    shelf.healthy("same", dist="one")
    shelf.healthy("same", dist="two")
    zoo = look(shelf)
    assert names(zoo) == []
    assert [broken.distribution for broken in zoo.broken] == ["one", "two"]
    assert "one and two both call a plugin 'same'" in zoo.broken[0].reason


def test_an_entry_point_must_name_a_module(shelf: Shelf) -> None:
    shelf.healthy("odd")
    points = next(shelf.folder.glob("zoo_odd*.dist-info")) / "entry_points.txt"
    points.write_text("[alignzoo.plugins]\nodd = zoo_odd:hooks\n")
    assert "its entry point is 'zoo_odd:hooks'" in look(shelf).broken[0].reason


def test_a_stale_egg_info_does_not_double_a_distribution(shelf: Shelf) -> None:
    shelf.healthy("good")
    egg = shelf.folder / "Zoo.Good.egg-info"
    egg.mkdir()
    (egg / "entry_points.txt").write_text("[alignzoo.plugins]\ngood = zoo_gone\n")
    zoo = look(shelf)
    assert names(zoo) == ["optimizer:good/good"]
    assert zoo.broken == ()


def test_metadata_that_lies_in_the_current_directory_is_not_installed(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.healthy("good")
    assert "optimizer:good/good" in names(discover())
    monkeypatch.chdir(shelf.folder)
    assert "optimizer:good/good" not in names(discover())


def test_a_folder_is_one_by_whatever_way_it_is_reached(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.healthy("good")
    last, way = tmp_path / "last", tmp_path / "way"
    last.mkdir()
    way.symlink_to(shelf.folder)
    monkeypatch.setattr(sys, "path", [str(way), str(tmp_path / "none"), str(last), str(shelf.folder)])
    assert search_path() == [str(way), str(last)]
    monkeypatch.chdir(shelf.folder)
    assert search_path() == [str(last)]


def test_an_object_is_found_at_the_end_of_a_long_module(shelf: Shelf) -> None:
    module = shelf.put("good", offering(optimizer("good", "zoo_good")), work="# long\n" * 20_000 + "class Work:\n    pass\n")
    assert look(shelf).broken == ()
    assert len(source_of(f"{module}.work") or b"") > 140_000


def test_standing_in_site_packages_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(pluggy.__file__).parent.parent)
    assert "alignzoo" in {entry.distribution for entry in entries()}


def commanding(*commands: str) -> str:
    lines = "".join(f"    yield {command}\n" for command in commands)
    return f"{HEAD}from alignzoo.seam.hookspecs import Command\n@hookimpl\ndef alignzoo_commands():\n{lines}"


def verb(word: str, module: str, more: str = "") -> str:
    return f'Command("{word}", "{module}.work", "does {word}"{more})'


def test_the_commands_of_plugins_are_found(shelf: Shelf) -> None:
    module = shelf.put("good", commanding(verb("weigh", "zoo_good"), verb("sum-up", "zoo_good")))
    zoo = look(shelf)
    assert zoo.broken == ()
    assert [(added.command.verb, added.plugin, added.command.module) for added in zoo.commands] == [
        ("weigh", "good", f"{module}.work"),
        ("sum-up", "good", f"{module}.work"),
    ]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (verb("train", "zoo_bad"), "the command 'train' is alignzoo's own"),
        (verb("Weigh it", "zoo_bad"), "'Weigh it' cannot be a command"),
        (verb("weigh", "zoo_bad", ", api='1.9'"), "command 'weigh' is built for plugin API 1.9"),
        (verb("weigh", "zoo_none"), "there is no such module"),
        ("'weigh'", "alignzoo_commands gives a str, not a Command"),
        ("1 / 0", "alignzoo_commands raises ZeroDivisionError"),
    ],
)
def test_a_bad_command_is_told_and_hides_no_good_one(shelf: Shelf, command: str, reason: str) -> None:
    shelf.put("bad", commanding(command))
    shelf.put("good", commanding(verb("look-at", "zoo_good")))
    zoo = look(shelf)
    assert [added.command.verb for added in zoo.commands] == ["look-at"]
    assert [reason in fault.reason for fault in zoo.broken] == [True]


def test_a_verb_that_two_claim_is_nobodys_but_for_the_one_in_the_registry(shelf: Shelf) -> None:
    shelf.put("one", commanding(verb("weigh", "zoo_one")))
    shelf.put("two", commanding(verb("weigh", "zoo_two")))
    zoo = look(shelf)
    assert zoo.commands == ()
    assert {fault.reason for fault in zoo.broken} == {"the command 'weigh' is claimed by one and two"}
    owned = Registry((Plugin("two", "zoo-two", "bundled", "", (), "Apache-2.0"),))
    assert [added.plugin for added in discover([str(shelf.folder)], owned).commands] == ["two"]
