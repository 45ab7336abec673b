"""The doctor finds what ails an environment, and a lock what has changed in it."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from shelf import Shelf, offering, optimizer, shelf_in

from alignzoo.cli import main
from alignzoo.seam.installed import entries
from alignzoo.seam.kept import Kept, Receipt, keep
from alignzoo.seam.registry import Plugin, Registry, Revoked
from alignzoo.shop import ShopError, doctor
from alignzoo.shop.doctor import Finding, Visit, examination
from alignzoo.shop.locking import Lock, Locked, LockError, changes, lock, verify, write

LOOP = "import time\nwhile True:\n    time.sleep(0.01)\n"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setenv("ALIGNZOO_STATE", str(tmp_path / "state.toml"))
    monkeypatch.setenv("PYTHONPATH", str(site))
    return shelf_in(site, monkeypatch)


def looked_at(shelf: Shelf, plugin: str, seconds: float = 60.0, deep: bool = False) -> list[Finding]:
    return list(examination(Visit(plugin, deep, seconds, shelf.folder / "no.lock")))


def faults(shelf: Shelf, plugin: str, **more: float) -> list[str]:
    return [finding.words for finding in looked_at(shelf, plugin, **more) if finding.level == "fault"]


def test_a_healthy_plugin_is_well(shelf: Shelf) -> None:
    shelf.healthy("good")
    assert looked_at(shelf, "good") == [Finding("ok", "good (zoo-good 1.0)", "optimizer:good/good")]
    with pytest.raises(ShopError, match="no plugin 'godo' is installed"):
        looked_at(shelf, "godo")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "its import crashes Python (signal 11)"),
        ("import os\nos._exit(7)", "its import ends Python: exit code 7"),
        ("import os\nos.write(1, b'{}')\n1 / 0", "importing it fails: ZeroDivisionError: division by zero"),
        ("print('x')", "it offers nothing"),
    ],
)
def test_what_an_import_does_to_python_is_a_finding(shelf: Shelf, source: str, words: str) -> None:
    shelf.put("bad", source)
    [told] = faults(shelf, "bad")
    assert words in told


def test_an_endless_import_is_stopped_with_all_that_it_started(shelf: Shelf, tmp_path: Path) -> None:
    note = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
    shelf.put("bad", f"import subprocess\nchild = subprocess.Popen(['sleep', '100'])\n{note}{LOOP}")
    [finding] = looked_at(shelf, "bad", seconds=3.0)
    assert finding.words == "its import does not come back; stopped after 3 seconds"
    assert finding.fix == "alignzoo disable bad, or alignzoo uninstall zoo-bad"
    running = Path("/proc", (tmp_path / "pid").read_text(), "cmdline")
    assert not running.exists() or not running.read_bytes()  # a zombie has no command line


def test_deep_imports_what_components_name(shelf: Shelf) -> None:
    shelf.put("deep", offering(optimizer("deep", "zoo_deep")), work="import not_there\nWork = 1\n")
    assert faults(shelf, "deep") == []
    [told] = faults(shelf, "deep", deep=True)
    assert "No module named 'not_there'" in told


SAYS = """
from alignzoo.seam.hookspecs import Finding, hookimpl

@hookimpl
def alignzoo_findings():
    {}
"""


def test_what_plugins_say_themselves_is_told(shelf: Shelf) -> None:
    shelf.put("wise", SAYS.format('yield Finding("the ink is dry", "buy ink")'))
    shelf.put("mad", SAYS.format("1 / 0"))
    [finding] = looked_at(shelf, "wise")
    assert (finding.level, finding.words, finding.fix) == ("fault", "the ink is dry", "buy ink")
    [told] = faults(shelf, "mad")
    assert "alignzoo_findings raises ZeroDivisionError" in told


def test_a_disabled_plugin_is_left_alone_unless_it_is_asked_for(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.put("bad", "1 / 0")
    keep(Kept(("bad", "gone")))
    monkeypatch.setattr(doctor, "CHECKS", (doctor._plugins, doctor._state))
    monkeypatch.setattr(Visit, "entries", lambda visit: [e for e in entries() if e.plugin == "bad"])
    told = [(finding.about, finding.words) for finding in examination(Visit())]
    assert told == [("bad", "disabled; not looked at"), ("gone", "disabled, and not installed")]
    assert "ZeroDivisionError" in faults(shelf, "bad")[0]


def recorded(shelf: Shelf, module: str) -> Path:
    """Give a distribution the RECORD that an installer would have written."""
    info = next(shelf.folder.glob(f"{module}-*.dist-info"))
    rows = []
    for path in sorted((shelf.folder / module).glob("*.py")):
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
        rows.append(f"{path.relative_to(shelf.folder)},sha256={digest},1")
    (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,"]))
    return info


def test_files_that_changed_after_their_installation_are_named(shelf: Shelf) -> None:
    recorded(shelf, shelf.healthy("good"))
    assert faults(shelf, "good") == []
    with (shelf.folder / "zoo_good" / "work.py").open("a") as file:
        file.write("# more\n")
    assert faults(shelf, "good") == ["zoo_good/work.py was changed after it was installed"]
    (shelf.folder / "zoo_good" / "work.py").unlink()
    assert "zoo_good/work.py is gone" in faults(shelf, "good")


def test_an_editable_installation_whose_folder_moved_or_changed(shelf: Shelf, tmp_path: Path) -> None:
    module = shelf.healthy("good")
    source = tmp_path / "source"
    source.mkdir()
    info = next(shelf.folder.glob(f"{module}-*.dist-info"))
    (info / "direct_url.json").write_text(json.dumps({"url": source.as_uri(), "dir_info": {"editable": True}}))
    assert faults(shelf, "good") == [f"{source} has no pyproject.toml that can be read"]
    project = '[project]\nname = "zoo-good"\n[project.entry-points."alignzoo.plugins"]\n{} = "zoo_good"\n'
    (source / "pyproject.toml").write_text(project.format("good"))
    assert faults(shelf, "good") == []
    (source / "pyproject.toml").write_text(project.format("better"))
    assert faults(shelf, "good") == ["its pyproject.toml names other plugins now than when it was installed: better"]
    (source / "pyproject.toml").unlink()
    source.rmdir()
    assert faults(shelf, "good") == [f"its folder {source} is gone"]


def test_names_and_files_that_two_claim(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (doctor._names, doctor._files))
    shelf.healthy("same", dist="one")
    shelf.healthy("same", dist="two")
    shelf.healthy("dpo", dist="evil")
    assert faults(shelf, "same") == ["two claims this id too; it means neither", "one claims this id too; it means neither"]
    assert faults(shelf, "dpo") == ["the id belongs to alignzoo"]
    for module in ("one", "two"):
        info = recorded(shelf, module)
        with (info / "RECORD").open("a") as file:
            file.write("\nshared.py,,\n")
    assert "brought by one and two; one overwrites the other" in faults(shelf, "same")


def test_what_nobody_is_to_run_is_not_imported_here_either(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.put("bad", f"open({str(tmp_path / 'ran')!r}, 'w')")
    shelf.put("dpo", f"open({str(tmp_path / 'ran')!r}, 'w')", dist="evil")
    listed = Registry((Plugin("dpo", "zoo-house", "bundled", "", (), "MIT"),), (Revoked("steals keys", dist="zoo-bad"),))
    monkeypatch.setattr(doctor, "read", lambda: listed)
    assert [(found.words, found.fix) for found in looked_at(shelf, "bad")] == [
        ("revoked: steals keys", "alignzoo uninstall zoo-bad")
    ]
    assert "the id belongs to zoo-house" in faults(shelf, "dpo")
    assert not (tmp_path / "ran").exists()


def test_what_was_removed_by_other_means_is_noted(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (doctor._state,))
    keep(Kept((), (Receipt(("x",), "zoo-x", "1.0", "a", "b", "verified"),)))
    assert [finding.about for finding in examination(Visit())] == ["zoo-x"]


def test_the_verb_ends_with_2_where_there_is_a_fault(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.healthy("good")
    shelf.put("bad", "1 / 0")
    assert main(["doctor", "good"]) == 0
    assert capsys.readouterr().out == "ok     good (zoo-good 1.0): optimizer:good/good\n0 faults\n"
    assert main(["doctor", "bad", "--json"]) == 2
    [row] = json.loads(capsys.readouterr().out)
    assert (row["level"], row["about"]) == ("fault", "bad (zoo-bad 1.0)")


# The stack ---------------------------------------------------------------------------------------------------------------


def test_four_bits_are_compared_with_what_they_stand_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from alignzoo.model import stack

    works, words = stack.four_bits("cpu", 0.0)
    assert works
    assert "1 product in NF4" in words
    assert float(words.rpartition(" by ")[2].partition("%")[0]) == pytest.approx(9, abs=1)  # what rounding a bell curve costs
    monkeypatch.setattr(stack, "dequantized", lambda layer: torch.zeros(stack.SIDE, stack.SIDE))
    assert not stack.four_bits("cpu", 0.0)[0]


@pytest.mark.parametrize(
    "spoilt", [lambda weight: weight * 1.3, lambda weight: weight.flip(0), lambda weight: weight * float("nan")]
)
def test_four_bits_that_stand_for_something_else_are_found(monkeypatch: pytest.MonkeyPatch, spoilt: Any) -> None:
    import bitsandbytes

    from alignzoo.model import stack

    real = bitsandbytes.nn.Params4bit
    monkeypatch.setattr(bitsandbytes.nn, "Params4bit", lambda weight, **how: real(spoilt(weight), **how))
    assert not stack.four_bits("cpu", 0.0)[0]


def test_what_of_cuda_is_absent_is_said() -> None:
    from alignzoo.model.stack import absent

    assert absent("", False) == (
        None,
        "torch is built without CUDA; there is no NVIDIA driver; no GPU is seen: everything runs on the CPU",
    )
    assert absent("12.6", False)[1].startswith("torch is built for CUDA 12.6; there is no NVIDIA driver; no GPU is seen")
    assert absent("", True)[0] is None
    assert absent("", True)[1].endswith("a torch built for CUDA would use the GPU")
    assert absent("12.6", True) == (False, "an NVIDIA driver is here and torch is built for CUDA 12.6, but torch sees no GPU")


def test_the_stack_is_really_at_work_and_what_is_absent_is_no_fault() -> None:
    import torch

    from alignzoo.shop.doctor import Visit, _stack

    found = {one.about: one for one in _stack(Visit())}
    assert [one.level for one in found.values() if one.level == "fault"] == []
    product = found["4 bits on the CPU"].words
    assert "in NF4" in product
    if not torch.cuda.is_available():
        assert (found["cuda"].level, found["cuda"].fix) == ("note", "")
        assert int(product.partition(" product")[0].rpartition(" ")[2]) > 1  # for a second, as on a GPU


def test_a_broken_stack_is_a_finding(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from alignzoo.model import stack

    def broken() -> tuple[bool, str]:
        raise RuntimeError("no kernel image\nmore")

    monkeypatch.setattr(stack, "checks", lambda: [("cuda", broken)])
    assert stack.main() == 0
    assert json.loads(capsys.readouterr().out) == {"what": "cuda", "works": False, "words": "RuntimeError: no kernel image"}


# The lock ----------------------------------------------------------------------------------------------------------------


def test_a_lock_holds_until_something_changes(shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.healthy("good")
    path = tmp_path / "alignzoo.lock"
    keep(Kept((), (Receipt(("good",), "zoo-good", "1.0", "c" * 64, "b", "verified"),)))
    assert main(["lock", str(path)]) == 0
    assert main(["verify", str(path)]) == 0
    [mine] = [row for row in verify(path).plugin if row.id == "good"]
    assert (mine.dist, mine.version, mine.sha256) == ("zoo-good", "1.0", "c" * 64)
    with (shelf.folder / "zoo_good" / "work.py").open("a") as file:
        file.write("# more\n")
    shelf.healthy("new")
    capsys.readouterr()
    assert main(["verify", str(path)]) == 2
    told = capsys.readouterr().err
    assert f"{path}: good: zoo-good 1.0 has other bytes than in the lock: {mine.digest[:12]}… there" in told
    assert f"{path}: new (zoo-new 1.0) is here and not in the lock" in told
    assert len(told.splitlines()) == 2


def test_every_difference_from_a_lock_is_named() -> None:
    then = Lock("0.1", (Locked("a", "zoo-a", "1", "x"), Locked("b", "zoo-b", "1", "x"), Locked("c", "zoo-c", "1", "x")))
    now = Lock("0.2", (Locked("b", "zoo-b", "2", "x"), Locked("c", "zoo-c", "1", "x")))
    assert list(changes(then, now)) == [
        "alignzoo: 0.1 in the lock, 0.2 here",
        "a (zoo-a 1) is in the lock and not here",
        "b: zoo-b 1 in the lock, 2 here",
    ]


def test_a_plugin_without_files_is_locked_all_the_same(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put("gone", None)
    write(tmp_path / "x.lock")
    assert [row.digest for row in lock().plugin if row.id == "gone"] == [""]


@pytest.mark.parametrize(
    ("text", "words"), [("[plugin", "not TOML"), ("alignzoo = 1", "must be text"), (None, "there is no lock")]
)
def test_a_lock_that_cannot_be_read_is_told(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "x.lock"
    if text:
        path.write_text(text)
    with pytest.raises(LockError, match=words):
        verify(path)
