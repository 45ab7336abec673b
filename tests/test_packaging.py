"""What is shipped is what is here: the wheel equals the tree, and works where there is no checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from alignzoo.seam.discovery import discover
from alignzoo.seam.hookspecs import Kind
from alignzoo.seam.registry import Plugin, Registry, RegistryError, Release, Revoked, read
from alignzoo.seam.zoo import Zoo
from alignzoo.shop.catalogue import untruths

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = [Path(name) for name in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
POINTS: dict[str, str] = PROJECT["project"]["entry-points"]["alignzoo.plugins"]
PLUGINS = sorted(folder for folder in (ROOT / "plugins").iterdir() if folder.is_dir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, installed in a folder of its own: a pure wheel is installed by unpacking it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def tracked(package: Path) -> set[str]:
    """The files of a package that git knows or would add, as paths inside a wheel."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", str(package)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    there = (ROOT / line for line in done.stdout.splitlines())
    return {path.relative_to(ROOT / package.parent).as_posix() for path in there if path.exists()}


def test_the_wheel_is_the_tree(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = set().union(*(tracked(package) for package in PACKAGES)) | {"alignzoo/registry.toml"}
    assert sorted(expected - inside) == [], "in the tree, not in the wheel"
    assert sorted(inside - expected) == [], "in the wheel, not in the tree"


def test_the_wheel_names_every_plugin_and_the_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    points = next(name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
    lines = archive.read(points).decode().splitlines()
    assert "alignzoo = alignzoo.cli:main" in lines
    assert {f"{id} = {module}" for id, module in POINTS.items()} <= set(lines)


def run_elsewhere(elsewhere: Path, *words: str) -> Any:
    env = {**os.environ, "PYTHONPATH": str(elsewhere)}
    code = f"import sys; sys.path[:] = [p for p in sys.path if not p.startswith({str(ROOT)!r}) or 'site-packages' in p]\n"
    code += "import alignzoo; from alignzoo.cli import main\nprint(alignzoo.__file__, file=sys.stderr)\n"
    command = [sys.executable, "-c", f"{code}sys.exit(main({list(words)!r}))"]
    done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == str(elsewhere / "alignzoo" / "__init__.py")
    return json.loads(done.stdout)


def test_installed_elsewhere_it_lists_the_same_components(elsewhere: Path) -> None:
    seen = run_elsewhere(elsewhere, "list", "--json")
    ours = [row["name"] for row in seen["components"] if row["distribution"] == "alignzoo"]
    assert ours == [found.full_name for found in bundled().components]
    assert [fault for fault in seen["broken"] if fault["distribution"] == "alignzoo"] == []


def test_a_digest_is_the_same_in_the_checkout_and_in_the_wheel(elsewhere: Path) -> None:
    for found in bundled().components:
        assert run_elsewhere(elsewhere, "info", found.full_name, "--json")["digest"] == found.digest()


# Each plugin alone beside the core ----------------------------------------------------------------------------------------

ALONE = """
import json, os, sys
root, core, *folders = sys.argv[1:]
sys.path[:] = [core, *(path for path in sys.path if not path.startswith(root) or "site-packages" in path)]
from alignzoo.testing import optimizers
from alignzoo.testing.checks import CHECKS
from alignzoo.testing.conformance import subjects, verdicts
optimizers.LEARN = 2  # that it runs, not that it learns

first = {"optimizer.runs", "reward.scores", "feedback.collects", "filter.sifts", "task.asks", "policy.replies"}
for folder in folders:
    if os.fork():  # one process for each, so that none finds what another has imported
        os.wait()
        continue
    sys.path.insert(0, folder)
    for check in [one for one in CHECKS.values() if one.level != "static" and one.id not in first]:
        del CHECKS[check.id]
    told = [verdict.row() for verdict in verdicts(subjects(os.path.basename(folder)))]
    strangers = sorted({name.partition(".")[0] for name in sys.modules if name.startswith("alignzoo_")})
    print(json.dumps({"plugin": os.path.basename(folder), "packages": strangers, "verdicts": told}), flush=True)
    os._exit(0)
"""


def lifted_out(elsewhere: Path, folder: Path) -> tuple[Path, list[Path]]:
    """The wheel taken apart: the core as a distribution without plugins, and each plugin as one that owns its id."""
    info = next(elsewhere.glob("alignzoo-*.dist-info"))
    record = (info / "RECORD").read_text().splitlines(keepends=True)
    core = folder / "core"
    shutil.copytree(elsewhere / "alignzoo", core / "alignzoo")
    (core / info.name).mkdir()
    registry = core / "alignzoo" / "registry.toml"
    registry.write_text(re.sub(r'id = "(\w+)"\ndist = "alignzoo"', r'id = "\1"\ndist = "zoo-\1"', registry.read_text()))
    made = []
    for plugin, package in POINTS.items():
        alone = folder / plugin
        shutil.copytree(elsewhere / package, alone / package)
        own = alone / f"zoo_{plugin}-1.0.dist-info"
        own.mkdir()
        (own / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zoo-{plugin}\nVersion: 1.0\n")
        (own / "entry_points.txt").write_text(f"[alignzoo.plugins]\n{plugin} = {package}\n")
        (own / "RECORD").write_text("".join(line for line in record if line.startswith(f"{package}/")))
        made.append(alone)
    return core, made


def test_each_plugin_conforms_alone_beside_the_core(elsewhere: Path, tmp_path: Path) -> None:
    """Lifted out into a distribution of its own. All that is static, and that it runs; the rest is in test_contract.py."""
    core, folders = lifted_out(elsewhere, tmp_path)
    command = [sys.executable, "-c", ALONE, str(ROOT), str(core), *map(str, folders)]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [row["plugin"] for row in told] == list(POINTS), done.stderr
    for row in told:
        plugin, verdicts = row["plugin"], row["verdicts"]
        assert row["packages"] == [POINTS[plugin]]
        assert [verdict for verdict in verdicts if verdict["status"] == "failed"] == []
        passed = {verdict["check"] for verdict in verdicts if verdict["status"] == "passed"}
        assert {"plugin.light", "plugin.offered", "plugin.complete"} <= passed
        offered = {found.full_name for found in bundled().components if found.plugin == plugin}
        assert {verdict["subject"] for verdict in verdicts} == offered | {f"plugin:{plugin}"}


# Every list of plugins agrees -------------------------------------------------------------------------------------------


def bundled() -> Zoo:
    zoo = discover()
    ours = tuple(found for found in zoo.components if found.distribution == "alignzoo")
    return Zoo(ours, tuple(fault for fault in zoo.broken if fault.distribution == "alignzoo"), zoo.registry)


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugin_folder_is_in_every_list(folder: Path) -> None:
    package = f"alignzoo_{folder.name}"
    tool = PROJECT["tool"]
    assert (folder / package / "__init__.py").is_file()
    assert Path("plugins", folder.name, package) in PACKAGES
    assert POINTS.get(folder.name) == package
    assert package in tool["mypy"]["packages"]
    assert f"plugins/{folder.name}" in tool["mypy"]["mypy_path"]
    assert package in tool["importlinter"]["root_packages"]
    contracts = {contract["name"]: contract for contract in tool["importlinter"]["contracts"]}
    assert package in contracts["The core names no plugin"]["forbidden_modules"]
    assert package in contracts["No plugin knows another"]["modules"]


def test_every_package_that_is_listed_exists() -> None:
    assert [str(package) for package in PACKAGES if not (ROOT / package / "__init__.py").is_file()] == []
    assert sorted(POINTS) == [folder.name for folder in PLUGINS]


def test_every_bundled_plugin_works() -> None:
    assert bundled().broken == ()


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_the_registry_says_what_a_bundled_plugin_offers(folder: Path) -> None:
    (entry,) = [entry for entry in read().plugin if entry.id == folder.name]
    offered = [found.component for found in bundled().components if found.plugin == folder.name]
    assert (entry.tier, entry.dist, entry.license) == ("bundled", "alignzoo", PROJECT["project"]["license"])
    assert sorted(entry.components) == sorted(f"{component.kind}:{component.id}" for component in offered)
    optimizers = [component for component in offered if component.kind == "optimizer"]
    assert set(entry.needs) == {need for component in optimizers for need in component.needs}


def test_the_registry_and_the_bundled_plugins_agree_both_ways() -> None:
    assert sorted(entry.id for entry in read().plugin if entry.tier == "bundled") == [p.name for p in PLUGINS]
    assert untruths(read(), bundled()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"components": ("optimizer:ddo",)}, "dpo offers optimizer:dpo, optimizer:ipo"),
        ({"components": ("optimizer:ddo",)}, "the registry says optimizer:ddo"),
        ({"needs": ("prompts",)}, "dpo needs comparisons; the registry says prompts"),
        ({"summary": "does things."}, "dpo: its summary is to be one line"),
        ({"id": "ddo"}, "dpo is bundled, and the registry does not list it"),
        ({"id": "ddo"}, "ddo offers nothing; the registry says optimizer:dpo"),
        ({"tier": "community"}, "dpo is bundled, and the registry does not list it"),
    ],
)
def test_what_the_registry_says_wrongly_is_told(change: dict[str, Any], told: str) -> None:
    rows = [entry for entry in read().plugin if entry.id == "dpo"]
    about = {"repo": "https://example.org", "maintainers": ("X",)}
    zoo = bundled()
    ours = Zoo(tuple(found for found in zoo.components if found.plugin == "dpo"), (), zoo.registry)
    assert untruths(Registry(tuple(rows)), ours) == []
    assert any(told in line for line in untruths(Registry((replace(rows[0], **about, **change),)), ours))


# Reading the registry ---------------------------------------------------------------------------------------------------

ENTRY = """
[[plugin]]
id = "x"
dist = "zoo-x"
tier = "community"
summary = "does x"
components = ["optimizer:x"]
license = "MIT"
repo = "https://example.org/x"
maintainers = ["X"]
"""
RELEASE = f"""
[[plugin.release]]
version = "1.2"
api = "1.0"
requires-python = ">=3.11"
sha256 = "{"a" * 64}"
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "registry.toml"
    path.write_text(text)
    return str(path)


def test_a_registry_is_read_into_records(tmp_path: Path) -> None:
    registry = read(written(tmp_path, ENTRY))
    about: dict[str, Any] = {"repo": "https://example.org/x", "maintainers": ("X",)}
    assert registry == Registry((Plugin("x", "zoo-x", "community", "does x", ("optimizer:x",), "MIT", **about),))
    more = read(written(tmp_path, f'{ENTRY}{RELEASE}yanked = "bad"\n[[revoked]]\ndist = "y"\nreason = "bad"\n'))
    assert more.plugin[0].release == (Release("1.2", "1.0", "a" * 64, ">=3.11", yanked="bad"),)
    assert more.revoked == (Revoked("bad", dist="y"),)
    assert (registry.owner("x"), registry.owner("y")) == ("zoo-x", "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[plugin]]", "[[plugin]", "registry.toml: not TOML"),
        ("dist =", "dits =", "plugin[0].dits: no such setting; did you mean 'dist'?"),
        ('license = "MIT"', "", "plugin[0].license: missing"),
        ('"community"', '"comunity"', "did you mean 'community'?"),
        ('["optimizer:x"]', '"optimizer:x"', "plugin[0].components: must be a list"),
        ('["optimizer:x"]', '["optimiser:x"]', f"'optimiser:x' must be written kind:id, as in {get_args(Kind)[0]}:dpo"),
        ("[[plugin]]", f"{ENTRY}\n[[plugin]]", "the id 'x' is listed twice; an id has one owner"),
        ('repo = "https://example.org/x"', "", "plugin 'x': say where it comes from: repo and maintainers"),
        (ENTRY, f"{ENTRY}{RELEASE}{RELEASE}", "plugin 'x': release 1.2 is listed twice"),
        (ENTRY, f"{ENTRY}{RELEASE}".replace('"aaa', '"AAA'), "release 1.2: sha256 must be 64 hexadecimal digits in lower case"),
        (ENTRY, f"{ENTRY}{RELEASE}".replace('"1.0"', '"one"'), "release 1.2: api is a version such as 1.0"),
        (ENTRY, f"{ENTRY}{RELEASE}".replace("community", "bundled"), "plugin 'x' is bundled: it has no releases of its own"),
        (ENTRY, f'{ENTRY}\n[[revoked]]\nreason = "bad"\n', "a [[revoked]] names a dist"),
    ],
)
def test_a_bad_registry_says_what_and_where(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(RegistryError) as error:
        read(written(tmp_path, ENTRY.replace(old, new)))
    assert message in str(error.value)
    assert "registry.toml: " in str(error.value)
