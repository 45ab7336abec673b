"""Hostile wheels: each is refused with its reason by what can be read of it, before anything of it runs."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from shelf import WORK, offering, optimizer, pack, plugin_wheel, wheel_in

from alignzoo.seam.registry import Plugin, Registry, Revoked
from alignzoo.seam.source import digest
from alignzoo.shop import ShopError
from alignzoo.shop.lint import examine
from alignzoo.shop.wheel import WheelError, read_wheel, sha256_of

OWNED = Registry((Plugin("dpo", "zoo-house", "bundled", "", ("optimizer:dpo",), "Apache-2.0"),))
POINTS = "[alignzoo.plugins]\nthumbs = zoo_thumbs\n"
WELL: dict[str, str | bytes] = {
    "zoo_thumbs/__init__.py": offering(optimizer("thumbs", "zoo_thumbs")),
    "zoo_thumbs/work.py": WORK,
}


def refused(path: Path, reason: str, registry: Registry = OWNED, there: Path | None = None) -> None:
    with pytest.raises(WheelError) as error:
        examine(path, registry, [str(there)] if there else [])
    assert reason in str(error.value)
    assert all(line.startswith(path.name) for line in str(error.value).splitlines())


def test_a_plugin_as_it_should_be_passes(tmp_path: Path) -> None:
    wheel = examine(plugin_wheel(tmp_path), OWNED, [])
    assert (wheel.name, wheel.version, wheel.tops, wheel.plugins) == (
        "zoo-thumbs",
        "1.0",
        ("zoo_thumbs",),
        {"thumbs": "zoo_thumbs"},
    )
    assert wheel.sha256 == sha256_of(wheel.path)
    assert wheel.readme == "# zoo_thumbs\n\nIts page."


CONTENTS: dict[str, tuple[dict[str, str | bytes], str]] = {
    "pth": ({"zoo_thumbs.pth": "import os"}, "zoo_thumbs.pth would run at every start of Python"),
    "pth within": ({"zoo_thumbs/x.pth": "import os"}, "would run at every start"),
    "sitecustomize": ({"sitecustomize.py": ""}, "sitecustomize.py would run at every start of Python"),
    "usercustomize": ({"usercustomize/__init__.py": ""}, "usercustomize would run at every start of Python"),
    "torch": ({"torch/__init__.py": ""}, "it brings its own torch"),
    "numpy": ({"numpy/core.py": ""}, "it brings its own numpy"),
    "alignzoo": ({"alignzoo/seam/discovery.py": ""}, "it brings its own alignzoo"),
    "stdlib": ({"json.py": ""}, "json.py would stand in for the json that others import"),
    "pip": ({"pip/__init__.py": ""}, "pip would stand in for the pip"),
    "second package": ({"other/__init__.py": ""}, "it must bring one package; it brings zoo_thumbs, other"),
    "scripts": ({"zoo_thumbs-1.0.data/scripts/pip": "#!python"}, "would be put outside its package"),
    "data": ({"zoo_thumbs-1.0.data/data/etc/x": ""}, "would be put outside its package"),
    "foreign metadata": ({"torch-9.9.dist-info/METADATA": ""}, "it must have one .dist-info folder"),
    "up": ({"zoo_thumbs/../../x.py": ""}, "leads out of the folder"),
    "backslash": ({"zoo_thumbs\\..\\..\\x.py": ""}, "leads out of the folder"),
    "absolute": ({"/etc/profile.d/x.sh": ""}, "'/etc/profile.d/x.sh' is an absolute path"),
    "drive": ({"C:/x.py": ""}, "'C:/x.py' is an absolute path"),
    "PTH": ({"zoo_thumbs.PTH": "import os"}, "zoo_thumbs.PTH would run at every start of Python"),
    "SiteCustomize": ({"SiteCustomize.py": ""}, "SiteCustomize.py would run at every start of Python"),
    "Torch": ({"Torch/__init__.py": ""}, "it brings its own torch"),
    "compiled torch": ({"torch.cpython-312-x86_64-linux-gnu.so": ""}, "it brings its own torch"),
    "compiled at the top": ({"fast.so": ""}, "it must bring one package; it brings zoo_thumbs, fast.so"),
    "compiled stdlib": ({"_ctypes.so": ""}, "_ctypes.so would stand in for the _ctypes"),
    "purelib": ({"zoo_thumbs-1.0.data/purelib/sitecustomize.py": ""}, "sitecustomize.py would be put outside its package"),
    "platlib": ({"zoo_thumbs-1.0.data/platlib/torch/__init__.py": ""}, "would be put outside its package"),
    "data of another": ({"torch-9.9.data/purelib/x.py": ""}, "would be put outside its package"),
    "data in capitals": ({"zoo_thumbs-1.0.DATA/scripts/pip": ""}, "it must bring one package"),
    "link of names": ({"zoo_thumbs/./work.py": ""}, "leads out of the folder"),
    "a line break": ({"zoo_thumbs/x\ny.py": ""}, "'zoo_thumbs/x\\ny.py' is no name for a file"),
    "same but for case": ({"zoo_thumbs/WORK.py": ""}, "are one file on some systems"),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_what_a_wheel_must_not_contain(tmp_path: Path, case: str) -> None:
    more, reason = CONTENTS[case]
    refused(wheel_in(tmp_path, "zoo_thumbs", {**WELL, **more}, entry_points=POINTS), reason)


REACH = {
    "console script named pip": ("[console_scripts]\npip = zoo_thumbs:main\n", "it installs a command 'pip'"),
    "console script named python": ("[console_scripts]\npython = zoo_thumbs:main\n", "it installs a command 'python'"),
    "gui script": ("[gui_scripts]\npip = zoo_thumbs:main\n", "it installs a command 'pip'"),
    "a group that is indented": (" [console_scripts]\n pip = zoo_thumbs:main\n", "it installs a command 'pip'"),
    "a group with spaces": ("[ console_scripts ]\npip = zoo_thumbs:main\n", "it installs a command 'pip'"),
    "a default for all groups": ("[DEFAULT]\npip = zoo_thumbs:main\n", "group DEFAULT reaches into other programs"),
    "two words for one": ("thumbs = os\n", "entry_points.txt cannot be read: it says two things of 'thumbs'"),
    "any console script": ("[console_scripts]\nthumbs = zoo_thumbs:main\n", "adds verbs to alignzoo instead"),
    "torch's own hook": ("[torch.backends]\nx = zoo_thumbs:start\n", "group torch.backends reaches into other programs"),
    "pytest's": ("[pytest11]\nx = zoo_thumbs\n", "group pytest11 reaches into other programs"),
    "no plugin": ("", "it brings no plugin"),
    "stolen id": ("[alignzoo.plugins]\ndpo = zoo_thumbs\n", "it claims the plugin id 'dpo', which belongs to zoo-house"),
    "foreign module": ("[alignzoo.plugins]\nx = os\n", "plugin 'x' is in module 'os', which is not in it"),
    "not entry points": ("[alignzoo.plugins\n", "entry_points.txt cannot be read: '[alignzoo.plugins'"),
}


@pytest.mark.parametrize("case", REACH)
def test_where_a_wheel_must_not_reach(tmp_path: Path, case: str) -> None:
    points, reason = REACH[case]
    whole = points if case in ("no plugin", "not entry points") else POINTS + points.replace("[alignzoo.plugins]\n", "")
    refused(wheel_in(tmp_path, "zoo_thumbs", WELL, entry_points=whole), reason)


IDENTITY: dict[str, tuple[Callable[[Path], Path], str]] = {
    "other name inside": (
        lambda folder: wheel_in(folder, "zoo_thumbs", WELL, entry_points=POINTS, METADATA="Name: torch\nVersion: 1.0\n\n"),
        "its METADATA says torch 1.0",
    ),
    "other version inside": (
        lambda folder: wheel_in(folder, "zoo_thumbs", WELL, entry_points=POINTS, METADATA="Name: zoo_thumbs\nVersion: 2.0\n\n"),
        "its METADATA says zoo_thumbs 2.0",
    ),
    "metadata of another": (
        lambda folder: wheel_in(folder, "zoo_other", WELL, entry_points=POINTS).rename(
            folder / "zoo_thumbs-1.0-py3-none-any.whl"
        ),
        "zoo_other-1.0.dist-info is the metadata of another distribution",
    ),
    "calls itself torch": (
        lambda folder: wheel_in(folder, "torch", WELL, entry_points=POINTS),
        "it calls itself torch, which is no plugin's name",
    ),
    "an address": (
        lambda folder: wheel_in(
            folder,
            "zoo_thumbs",
            WELL,
            entry_points=POINTS,
            METADATA="Name: zoo_thumbs\nVersion: 1.0\nRequires-Dist: x @ https://x.org/x.whl\n\n",
        ),
        "an address instead of a released version",
    ),
}


@pytest.mark.parametrize("case", IDENTITY)
def test_a_wheel_is_what_it_says(tmp_path: Path, case: str) -> None:
    made, reason = IDENTITY[case]
    refused(made(tmp_path), reason)


def test_a_file_of_another_distribution_is_not_overwritten(tmp_path: Path) -> None:
    there = tmp_path / "site"
    (there / "zoo_thumbs").mkdir(parents=True)
    path = plugin_wheel(tmp_path)
    refused(path, "zoo_thumbs is there already, a file of another distribution", there=there)
    info = there / "zoo_thumbs-0.9.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("zoo_thumbs_else/__init__.py,,\n")
    refused(path, "of another distribution", there=there)
    (info / "RECORD").write_text("zoo_thumbs/__init__.py,,\n")
    assert examine(path, OWNED, [str(there)]).name == "zoo-thumbs"  # an older version of itself
    (there / "zoo_thumbs").rmdir()
    (there / "zoo_thumbs.py").write_text("")
    refused(path, "zoo_thumbs.py", there=there)


def test_a_symlink_is_refused(tmp_path: Path) -> None:
    path = plugin_wheel(tmp_path)
    link = zipfile.ZipInfo("zoo_thumbs/link.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(path, "zoo_thumbs/link.py is a symlink")


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = plugin_wheel(tmp_path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("zoo_thumbs/work.py", "import os")
    refused(path, "zoo_thumbs/work.py is there twice")


def test_a_record_must_be_true_and_whole(tmp_path: Path) -> None:
    path = plugin_wheel(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("zoo_thumbs/more.py", "import os")
    refused(path, "zoo_thumbs/more.py is not in its RECORD")

    record = "zoo_thumbs-1.0.dist-info/RECORD"
    with zipfile.ZipFile(plugin_wheel(tmp_path)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["zoo_thumbs/work.py"] = b"import os"
    repacked(path, files)
    refused(path, "zoo_thumbs/work.py is not what its RECORD says")

    repacked(path, {name: data for name, data in files.items() if name != "zoo_thumbs/work.py"})
    refused(path, "its RECORD names zoo_thumbs/work.py, which is not there")

    repacked(path, {**files, record: files[record].replace(b"sha256=", b"md5=")})
    refused(path, "has no sha256 in its RECORD")

    repacked(path, {name: data for name, data in files.items() if name != record})
    refused(path, "with a RECORD in it")


def repacked(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    refused(plugin_wheel(tmp_path, more={"zoo_thumbs/zeros.bin": bytes(3_000_000)}), "a zip bomb")
    refused(
        plugin_wheel(tmp_path, more={f"zoo_thumbs/{i}.py": "" for i in range(10_001)}),
        "10007 files; more than 10000 is no plugin",
    )


def test_sizes_are_bounded_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignzoo.shop.wheel.MOST_BYTES", 1000)
    refused(plugin_wheel(tmp_path, more={"zoo_thumbs/x.bin": bytes(range(250)) * 4}), "more than 1,000 is no plugin")


def test_what_is_no_wheel_is_told(tmp_path: Path) -> None:
    path = tmp_path / "zoo_thumbs-1.0-py3-none-any.whl"
    path.write_bytes(b"not a zip")
    refused(path, "cannot be read as a zip file")
    pack(path, {"zoo_thumbs/__init__.py": ""}, "zoo_thumbs-1.0.dist-info/RECORD")
    refused(path, "it must have one .dist-info folder with METADATA in it")
    for name, reason in (("gone-1.0-py3-none-any.whl", "there is no wheel"), ("x.whl", "is no wheel")):
        (tmp_path / "x.whl").touch()
        with pytest.raises(ShopError, match=reason):
            read_wheel(tmp_path / name)


def test_an_encrypted_file_is_refused(tmp_path: Path) -> None:
    path = plugin_wheel(tmp_path)
    data = bytearray(path.read_bytes())
    central = data.find(b"PK\x01\x02")
    data[central + 8] |= 1
    path.write_bytes(data)
    refused(path, "is encrypted")


def test_what_is_revoked_is_refused_by_name_version_or_bytes(tmp_path: Path) -> None:
    path = plugin_wheel(tmp_path)
    for row in (
        Revoked("steals keys", dist="Zoo.Thumbs"),
        Revoked("steals keys", dist="zoo-thumbs", version="1.0"),
        Revoked("steals keys", sha256=sha256_of(path)),
    ):
        refused(path, "it is revoked: steals keys", Registry((), (row,)))
    for row in (Revoked("x", dist="zoo-thumbs", version="1.1"), Revoked("x", dist="zoo-thumb"), Revoked("x", sha256="0" * 64)):
        assert examine(path, Registry((), (row,)), []).version == "1.0"


def test_a_command_cannot_be_hidden_behind_the_name_of_a_module(tmp_path: Path) -> None:
    """To a reader that joins indented lines this is one plugin, whose module is there; pip and uv write a command `pip`."""
    hidden = "zoo_thumbs.x\n [console_scripts]\n pip = zoo_thumbs:main"
    files = {**WELL, f"{hidden.replace('.', '/').replace(chr(10) + ' ', chr(10))}.py": ""}
    path = wheel_in(tmp_path, "zoo_thumbs", files, entry_points=f"[alignzoo.plugins]\nthumbs = {hidden}\n")
    assert read_wheel(path).points == {
        "alignzoo.plugins": {"thumbs": "zoo_thumbs.x"},
        "console_scripts": {"pip": "zoo_thumbs:main"},
    }
    refused(path, "is no name for a file")


def test_every_reason_is_told_at_once(tmp_path: Path) -> None:
    more = {"zoo_thumbs.pth": "", "torch/__init__.py": ""}
    with pytest.raises(WheelError) as error:
        examine(wheel_in(tmp_path, "zoo_thumbs", {**WELL, **more}, entry_points=POINTS), OWNED, [])
    assert len(str(error.value).splitlines()) == 3


def test_the_digest_of_a_wheel_is_that_of_what_is_installed_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plugin_wheel(tmp_path, "digested", more={"zoo_digested/.hidden": "x", "zoo_digested/data/a.txt": "a"})
    site = tmp_path / "site"
    zipfile.ZipFile(path).extractall(site)
    (site / "zoo_digested" / "__pycache__").mkdir()
    (site / "zoo_digested" / "__pycache__" / "work.pyc").write_text("compiled")
    monkeypatch.syspath_prepend(str(site))
    assert read_wheel(path).digest("zoo_digested") == digest("zoo_digested")
