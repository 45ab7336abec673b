"""pip, or uv where an environment has no pip: called in a process of its own, with its own configuration.

Where packages come from is the user's business: both tools read their own files and variables (PIP_INDEX_URL,
UV_FIND_LINKS, …), and nothing here names an index.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from alignzoo.seam.installed import normal
from alignzoo.shop import ShopError
from alignzoo.shop.wheel import sha256_of

_PINNED = re.compile(r"^ \+ (\S+?)(?:==| @ )(\S+)", re.MULTILINE)


class ToolError(ShopError):
    """The installer could not do what was asked; its own words."""


@dataclass(frozen=True)
class Step:
    """A distribution that would be installed. `sha256` is that of its wheel, where the tool says so beforehand."""

    dist: str
    version: str
    sha256: str = ""


class Tool(Protocol):
    """What installs packages."""

    @property
    def name(self) -> str: ...

    def fetch(self, dist: str, version: str, folder: Path) -> Path:
        """Download one wheel, and nothing that it depends on."""
        ...

    def resolve(self, wheel: Path, constraints: Path) -> list[Step]:
        """What installing this wheel would install, from wheels only."""
        ...

    def install(self, wheel: Path, steps: Sequence[Step], constraints: Path) -> None: ...

    def install_folder(self, folder: Path, constraints: Path) -> None:
        """An editable installation: runs the folder's own build."""
        ...

    def uninstall(self, dist: str) -> None: ...


def tool() -> Tool:
    """pip, if this environment has it, or else uv."""
    if importlib.util.find_spec("pip"):
        return Pip()
    if importlib.util.find_spec("uv"):
        return Uv((sys.executable, "-m", "uv"))
    if found := shutil.which("uv"):
        return Uv((found,))
    raise ShopError("this environment has neither pip nor uv, so nothing can be installed; see python -m ensurepip --help")


@dataclass(frozen=True)
class Pip:
    """pip of this environment."""

    name: str = "pip"

    def fetch(self, dist: str, version: str, folder: Path) -> Path:
        self._run("download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), f"{dist}=={version}")
        return _only_wheel(folder, dist)

    def resolve(self, wheel: Path, constraints: Path) -> list[Step]:
        report = wheel.with_name("report.json")
        options = ("--dry-run", "--report", str(report), "--only-binary", ":all:", "-c", str(constraints))
        self._run("install", *options, str(wheel))
        rows = json.loads(report.read_text(encoding="utf-8"))["install"]
        steps = [_pip_step(row) for row in rows]
        if unknown := [step.dist for step in steps if not step.sha256]:
            raise ToolError(f"the index tells no hash of {', '.join(unknown)}; install it first, by hand")
        return steps

    def install(self, wheel: Path, steps: Sequence[Step], constraints: Path) -> None:
        """Exactly what was resolved: each by its hash, and nothing besides."""
        wanted = wheel.with_name("wanted.txt")
        lines = [f"{wheel} --hash=sha256:{sha256_of(wheel)}"]
        lines += [f"{step.dist}=={step.version} --hash=sha256:{step.sha256}" for step in steps if step.dist != _dist_of(wheel)]
        wanted.write_text("\n".join(lines))
        self._run("install", "--no-deps", "--force-reinstall", "--only-binary", ":all:", "--require-hashes", "-r", str(wanted))

    def install_folder(self, folder: Path, constraints: Path) -> None:
        self._run("install", "-c", str(constraints), "-e", str(folder))

    def uninstall(self, dist: str) -> None:
        self._run("uninstall", "--yes", dist)

    def _run(self, *words: str) -> str:
        return _run((sys.executable, "-m", "pip", "--no-input", *words, "--disable-pip-version-check"))


@dataclass(frozen=True)
class Uv:
    """uv, working on this environment from outside."""

    command: tuple[str, ...]
    name: str = "uv"

    def fetch(self, dist: str, version: str, folder: Path) -> Path:
        """uv downloads no file by itself; it says where the wheel is."""
        wanted, lock = folder / "wanted.in", folder / "pylock.toml"
        wanted.write_text(f"{dist}=={version}\n")
        options = ("--no-deps", "--only-binary", ":all:", "--format", "pylock.toml", "--output-file", str(lock))
        try:
            self._run("compile", *options, "--python", sys.executable, str(wanted))
        except ToolError as error:
            if "--format" in str(error):
                raise ToolError("this uv is too old to say where a wheel is; get 0.6.15 or newer, or use pip") from None
            raise
        [package] = tomllib.loads(lock.read_text(encoding="utf-8"))["packages"]
        for row in package.get("wheels", ()):
            url = row.get("url") or Path(folder, row["path"]).resolve().as_uri()
            wheel = folder / str(row.get("name") or url.rpartition("/")[2])
            with urllib.request.urlopen(url) as source, wheel.open("wb") as file:
                shutil.copyfileobj(source, file)
            if len(package["wheels"]) == 1 or wheel.name.endswith("-none-any.whl"):
                return wheel
        raise ToolError(f"uv finds no wheel of {dist} {version} that fits every system; get the file, and install that")

    def resolve(self, wheel: Path, constraints: Path) -> list[Step]:
        options = ("--dry-run", "--only-binary", ":all:", "-c", str(constraints))
        told = self._run("install", *options, "--python", sys.executable, str(wheel))
        steps = [Step(dist, version) for dist, version in _PINNED.findall(told)]
        version = wheel.name.split("-")[1]
        return [Step(s.dist, version) if s.dist == _dist_of(wheel) else s for s in steps]

    def install(self, wheel: Path, steps: Sequence[Step], constraints: Path) -> None:
        pins = constraints.with_name("pins.txt")
        others = [f"{step.dist}=={step.version}" for step in steps if step.dist != _dist_of(wheel)]
        pins.write_text(constraints.read_text() + "".join(f"{line}\n" for line in others))
        options = ("--only-binary", ":all:", "-c", str(pins), "--python", sys.executable)
        self._run("install", *options, "--reinstall-package", _dist_of(wheel), str(wheel))

    def install_folder(self, folder: Path, constraints: Path) -> None:
        self._run("install", "-c", str(constraints), "--python", sys.executable, "-e", str(folder))

    def uninstall(self, dist: str) -> None:
        self._run("uninstall", "--python", sys.executable, dist)

    def _run(self, *words: str) -> str:
        return _run((*self.command, "pip", *words, "--no-progress", "--color", "never"))


def _run(command: Sequence[str]) -> str:
    """What a tool said, both streams together; its complaint, where it failed."""
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode != 0:
        words = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        raise ToolError("\n".join(words[-12:]) or f"{' '.join(command)} ended with code {done.returncode}")
    return done.stdout + done.stderr


def _only_wheel(folder: Path, dist: str) -> Path:
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ToolError(f"there is no wheel of {dist}, and only wheels are installed")
    return wheels[0]


def _pip_step(row: dict[str, dict[str, dict[str, dict[str, str]]]]) -> Step:
    about, source = row["metadata"], row["download_info"].get("archive_info", {})
    return Step(normal(str(about["name"])), str(about["version"]), source.get("hashes", {}).get("sha256", ""))


def _dist_of(wheel: Path) -> str:
    return normal(wheel.name.partition("-")[0])
