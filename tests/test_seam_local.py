"""A plugin in one file: found when it is named, marked `local`, known by its bytes, and fatal when it does not work."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignzoo.cli import _for_users, main
from alignzoo.seam import local
from alignzoo.seam.discovery import discover
from alignzoo.seam.local import LocalError
from alignzoo.seam.zoo import ZooError

FILE = '''
from dataclasses import dataclass

from alignzoo.seam.hookspecs import Component


class {name}Error(ValueError):
    pass


@dataclass(frozen=True)
class Work:
    size: int = {size}
    """How large."""

    def __post_init__(self) -> None:
        if self.size == 13:
            raise {name}Error("not thirteen")


def alignzoo_components():
    yield Component("reward", "{id}", f"{{__name__}}:Work", "does {id}")
'''


@pytest.fixture(autouse=True)
def forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    for name in local.modules():
        sys.modules.pop(name, None)
    local._READ.clear()


def put(name: str, id: str = "mine", size: int = 1) -> str:
    Path(name).parent.mkdir(exist_ok=True, parents=True)
    Path(name).write_text(FILE.format(name="Mine", id=id, size=size))
    return name


def test_a_file_that_is_named_is_a_plugin_and_marked_local() -> None:
    found = discover(files=[put("./own_work.py")]).find("reward", "mine")
    assert found.full_name == "reward:own_work/mine"
    assert (found.distribution, found.version, found.origin) == ("own_work.py", "local", "own_work.py local")
    assert found.load()().size == 1
    with pytest.raises(ZooError, match="no reward named 'mine'"):
        discover().find("reward", "mine")  # only for those who name the file


def test_its_digest_is_that_of_its_name_and_its_bytes_wherever_it_lies() -> None:
    here = discover(files=[put("own_work.py")]).find("reward", "mine").digest()
    there = discover(files=[put("deeper/own_work.py")]).find("reward", "mine").digest()
    other = discover(files=[put("deeper/own_work.py", size=2)]).find("reward", "mine")
    assert here == there != other.digest()
    assert other.load()().size == 2  # the bytes as they are now, though a module of this name was there before
    renamed = discover(files=[put("other_work.py")]).find("reward", "mine").digest()
    assert renamed != here


def test_a_copy_is_no_other_module_than_the_file_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m alignzoo` looks for modules in the current folder, too: there lies what a run's copy was made from."""
    monkeypatch.syspath_prepend(str(tmp_path))
    put("own_work.py")
    assert discover(files=[put("runs/plugins/own_work.py")]).find("reward", "mine").load()


def test_the_same_bytes_are_read_once() -> None:
    first = discover(files=[put("own_work.py")]).find("reward", "mine").load()
    assert discover(files=["./own_work.py", "own_work.py"]).find("reward", "mine").load() is first


def test_a_file_can_carry_the_mark_of_a_hook_too() -> None:
    marked = FILE.replace("def alignzoo", "@hookimpl\ndef alignzoo").replace("import Component", "import Component, hookimpl")
    Path("own_work.py").write_text(marked.format(name="Mine", id="mine", size=1))
    assert discover(files=["own_work.py"]).find("reward", "mine").load()


def test_it_cannot_change_what_an_installed_name_means() -> None:
    zoo = discover(files=[put("own_work.py", id="length")])
    assert zoo.find("reward", "length").distribution == "alignzoo"
    assert zoo.find("reward", "own_work/length").version == "local"


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("gone.py", None, "there is no file gone.py to take as a plugin"),
        ("My-Loss.py", "", "the name of a plugin's file is|is called by lower-case letters, digits and underscores"),
        ("own.txt", "", "lower-case letters, digits and underscores, as in my_loss.py"),
        ("own_broken.py", "x = (", r"own_broken.py: importing it fails: SyntaxError: .*line 1\). Mend own_broken.py"),
        ("own_broken.py", "1 / 0", r"ZeroDivisionError: division by zero \(.*own_broken.py:1\)\. Mend"),
        (
            "own_broken.py",
            "import no_such_thing",
            "it needs 'no_such_thing', which is not installed. pip install no_such_thing$",
        ),
        ("own_broken.py", "import sys; sys.exit(3)", r"it calls sys.exit\(3\)"),
        ("own_broken.py", "x = 1", "it offers nothing: own_broken has no hook"),
        ("own_broken.py", "def alignzoo_componets(): yield 1", "did you mean|lacks @hookimpl"),
        ("own_broken.py", "def alignzoo_components(): yield 1", "gives a int, not a Component. Mend own_broken.py"),
        ("own_broken.py", FILE.replace(":Work", ":Wrok").format(name="M", id="mine", size=1), "own_broken has no 'Wrok'"),
        ("own_broken.py", "def alignzoo_commands(): yield 1", "it adds a command, which only an installed plugin can"),
        ("tomllib.py", "", "its name, 'tomllib', is that of another module, .*tomllib.*Rename the file"),
        ("dpo.py", FILE.format(name="M", id="mine", size=1), "the id 'dpo' belongs to alignzoo .*Rename the file"),
    ],
)
def test_a_file_that_does_not_work_is_an_error_for_somebody_named_it(name: str, source: str | None, message: str) -> None:
    if source is not None:
        Path(name).write_text(source)
    with pytest.raises(LocalError, match=message):
        discover(files=[name])


def test_two_files_of_one_name_mean_neither() -> None:
    with pytest.raises(LocalError, match="another plugin is called 'own_work', too"):
        discover(files=[put("own_work.py"), put("deeper/own_work.py")])


def test_what_it_prints_goes_where_it_disturbs_no_list(capsys: pytest.CaptureFixture[str]) -> None:
    put("own_work.py")
    Path("own_work.py").write_text("print('here I am')\n" + Path("own_work.py").read_text())
    assert main(["list", "--json", "--kind", "reward", "--plugin", "own_work.py"]) == 0
    seen = capsys.readouterr()
    rows = [row for row in json.loads(seen.out)["components"] if row["plugin"] == "own_work"]
    assert [(row["name"], row["distribution"], row["version"]) for row in rows] == [
        ("reward:own_work/mine", "own_work.py", "local")
    ]
    assert seen.err == "here I am\n"


def test_list_and_info_show_it(capsys: pytest.CaptureFixture[str]) -> None:
    put("own_work.py", size=7)
    assert main(["list", "--plugin", "own_work.py"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["reward", "mine", "own_work.py", "local"] in [row[:4] for row in rows]
    assert main(["info", "mine", "--plugin", "own_work.py"]) == 0
    told = capsys.readouterr().out
    assert "version:      local" in told
    assert "How large." in told
    assert main(["info", "mine"]) == 2


def test_an_error_that_it_worded_is_for_users() -> None:
    """Like one of an installed plugin's: it is told in one line, and is no bug."""
    work = discover(files=[put("own_work.py")]).find("reward", "mine").load()
    with pytest.raises(ValueError, match="not thirteen") as error:
        work(size=13)
    assert _for_users(error.value)
    assert not _for_users(ValueError("a bug"))


def test_its_own_errors_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """They are worded for users, like those of an installed plugin."""
    put("own_work.py")
    source = "def alignzoo_components():\n    raise SystemExit(1)\n"
    Path("own_rude.py").write_text(source)
    assert main(["list", "--plugin", "own_rude.py"]) == 2
    assert (
        capsys.readouterr().err
        == "alignzoo: own_rude.py: alignzoo_components raises SystemExit: 1 ("
        + str(Path("own_rude.py").resolve())
        + ":2). Mend own_rude.py\n"
    )
