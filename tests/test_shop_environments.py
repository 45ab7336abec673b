"""With pip, and with uv where there is no pip, in fresh environments and off the network: from a wheel over a private registry
into a run, and out again with nothing left."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from bench_ground import ground
from shelf import plugin_wheel, wheel_in

from alignzoo.shop.wheel import sha256_of

pytestmark = pytest.mark.slow
NOT_SHARED = ("pip", "zoo_", "__pycache__", "alignzoo-plugins")
RUN = """
name = "toy"
[model]
use = "playground"
[task]
use = "playground"
[feedback]
use = "playground"
[judge]
use = "playground-gold"
[optimizer]
use = "optimizer:thumbs/thumbs"
beta = 0.3
"""


@dataclass(frozen=True)
class Environment:
    """A fresh one, in which everything that runs this test can be imported, except for pip."""

    root: Path
    more: Mapping[str, str]

    @property
    def site(self) -> Path:
        return next(self.root.glob("lib/python*/site-packages"))

    def run(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV"))}
        command = [str(self.root / "bin" / "python"), "-m", *words]
        return subprocess.run(
            command, env={**env, **self.more}, capture_output=True, text=True, check=False, cwd=cwd or self.root
        )

    def alignzoo(self, *words: str, cwd: Path | None = None) -> str:
        done = self.run("alignzoo", *words, cwd=cwd)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def files(self) -> list[str]:
        found = (path.relative_to(self.root) for path in self.root.rglob("*") if "__pycache__" not in path.parts)
        return sorted(path.as_posix() for path in found if path.name != ".lock")  # uv's


def fresh(root: Path, shelf: Path) -> Environment:
    """An environment without pip, with links to all else that is installed here."""
    venv.create(root, with_pip=False, symlinks=True)
    site = next(root.glob("lib/python*/site-packages"))
    folders = [Path(path) for path in sys.path if path and Path(path).is_dir()]
    for folder in (folder for folder in folders if folder.name == "site-packages"):
        for item in folder.iterdir():
            if item.name.startswith(NOT_SHARED) or item.suffix == ".pth" or (site / item.name).exists():
                continue
            if item.suffix == ".dist-info":
                shutil.copytree(item, site / item.name)  # uv takes no link for an installed distribution
            else:
                (site / item.name).symlink_to(item)
    standard = sysconfig.get_path("stdlib")
    ours = [str(folder) for folder in folders if folder.name != "site-packages" and not str(folder).startswith(standard)]
    (site / "shared.pth").write_text("\n".join(ours))
    more = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(shelf),
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(shelf),
        "UV_OFFLINE": "1",
    }
    return Environment(root, {**more, "UV_CACHE_DIR": str(root.parent / "cache"), "PIP_NO_CACHE_DIR": "1"})


def with_tool(environment: Environment, tool: str) -> None:
    """Put pip into it, or uv's program on its PATH."""
    if find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed")
    module = importlib.import_module(tool)
    assert module.__file__ is not None
    if tool == "pip":
        (environment.site / "pip").symlink_to(Path(module.__file__).parent)
    else:
        (environment.root / "bin" / "uv").symlink_to(module.find_uv_bin())


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_from_a_wheel_to_a_run_and_back_to_nothing(tmp_path: Path, tool: str) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    requires = "Metadata-Version: 2.1\nName: zoo_thumbs\nVersion: 1.0\nRequires-Dist: zoo_small>=0.5\nRequires-Dist: numpy\n\n"
    wheel = plugin_wheel(shelf, METADATA=requires)
    wheel_in(shelf, "zoo_small", {"zoo_small.py": "x = 1\n"})
    registry = tmp_path / "registry.toml"
    registry.write_text(
        '[[plugin]]\nid = "thumbs"\ndist = "zoo-thumbs"\ntier = "verified"\nsummary = "Thumbs up and down"\n'
        'components = ["optimizer:thumbs"]\nlicense = "MIT"\nrepo = "https://example.org"\nmaintainers = ["X"]\n'
        f'[[plugin.release]]\nversion = "1.0"\napi = "1.0"\nsha256 = "{sha256_of(wheel)}"\n'
    )
    environment = fresh(tmp_path / tool, shelf)
    with_tool(environment, tool)
    before = environment.files()

    assert "zoo-small 1.0" in environment.alignzoo("install", "thumbs", "--registry", str(registry), "--dry-run")
    assert environment.files() == before
    assert "zoo-thumbs 1.0: verified" in environment.alignzoo("install", "thumbs", "--registry", str(registry))
    rows = json.loads(environment.alignzoo("list", "--json"))
    [mine] = [row for row in rows["components"] if row["plugin"] == "thumbs"]
    assert (mine["version"], mine["tier"], mine["health"]) == ("1.0", "verified", "ok")
    assert "How far it would go." in environment.alignzoo("info", "thumbs")
    if tool == "pip":  # once is enough: it imports torch
        (environment.root.parent / "run.toml").write_text(RUN)
        assert "beta = 0.3" in environment.alignzoo("run", "../run.toml", "--dry-run")
    assert environment.run("zoo_small").returncode == 0

    assert "zoo-small==1.0" in environment.alignzoo("uninstall", "thumbs")
    left = [name for name in environment.files() if name not in before and "zoo_small" not in name]
    assert left == []


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_from_a_scaffold_to_a_bench_and_back_to_nothing(tmp_path: Path, tool: str) -> None:
    """As its author and its user go: new, a wheel, a private registry, install by name, a bench, uninstall."""
    environment = fresh(tmp_path / tool, tmp_path)
    with_tool(environment, tool)
    state = tmp_path / "state.toml"
    environment = Environment(environment.root, {**environment.more, "ALIGNZOO_STATE": str(state)})
    environment.alignzoo("new", "optimizer", "thumbs", cwd=tmp_path)
    [project] = [path.parent for path in tmp_path.glob("*/pyproject.toml")]
    built = environment.run("hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=project)
    assert built.returncode == 0, built.stderr
    [wheel] = tmp_path.glob("*.whl")
    dist, version = wheel.name.split("-")[:2]
    registry = tmp_path / "registry.toml"
    registry.write_text(
        f'[[plugin]]\nid = "thumbs"\ndist = "{dist.replace("_", "-")}"\ntier = "community"\nsummary = "Thumbs up and down"\n'
        'components = ["optimizer:thumbs"]\nlicense = "Apache-2.0"\nrepo = "https://example.org"\nmaintainers = ["X"]\n'
        f'[[plugin.release]]\nversion = "{version}"\napi = "1.0"\nsha256 = "{sha256_of(wheel)}"\n'
    )
    before = environment.files()
    environment.alignzoo("install", "thumbs", "--registry", str(registry))
    assert state.exists()

    folder = tmp_path / "bench"
    folder.mkdir()
    entry = '[[entry]]\nname = "mine"\noptimizer = {use = "optimizer:thumbs/thumbs", batch_size = 8}\n'
    file = ground(folder, "zoo_bench_walk", entry, seeds="1")
    told = environment.alignzoo("bench", file.name, cwd=folder)
    assert "mine" in told
    [run] = [path for path in folder.rglob("run.toml") if "thumbs" in path.read_text()]
    assert f'"optimizer:thumbs/thumbs" = "{version} sha256:' in run.read_text()

    environment.alignzoo("uninstall", "thumbs")
    assert environment.files() == before
    assert not state.exists()


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_a_plugin_cannot_move_the_stack(tmp_path: Path, tool: str) -> None:
    """It wants another numpy, and the index has one: the installation fails, and nothing is changed."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheel_in(shelf, "numpy", {"numpy/__init__.py": ""}, version="99.0")
    wheel = plugin_wheel(shelf, METADATA="Metadata-Version: 2.1\nName: zoo_thumbs\nVersion: 1.0\nRequires-Dist: numpy>=99\n\n")
    environment = fresh(tmp_path / tool, shelf)
    with_tool(environment, tool)
    before = environment.files()
    done = environment.run("alignzoo", "install", str(wheel), "--unlisted")
    assert done.returncode == 2
    assert "numpy" in done.stderr
    assert environment.files() == before
