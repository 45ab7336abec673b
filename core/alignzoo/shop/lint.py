"""What a plugin's wheel must not contain, looked for before anything of it runs.

A wheel is unpacked into the folder that every Python program of the environment imports from, so the rule is narrow: one
package of its own, its metadata, and one thing that reaches outside: the entry points of `alignzoo.plugins`.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import stat
import sys
import zipfile
from collections.abc import Iterable, Iterator
from email.parser import Parser
from pathlib import Path

from alignzoo.seam.installed import GROUP, normal, search_path
from alignzoo.seam.registry import Registry
from alignzoo.shop.wheel import Wheel, WheelError, opened, read_wheel

STACK = (
    "alignzoo",
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "accelerate",
    "datasets",
    "safetensors",
    "numpy",
)
"""What a plugin may use and never bring, replace or move to another version."""
AT_START = ("sitecustomize", "usercustomize")


def examine(path: Path, registry: Registry, paths: Iterable[str] | None = None) -> Wheel:
    """A wheel that may be installed, or a `WheelError` with every reason why not."""
    with opened(path) as archive:
        reasons = [*_places(archive)] or [*_recorded(archive)]
    if reasons:  # before its own words are believed
        raise _refusal(path, reasons)
    wheel = read_wheel(path)
    reasons = [*_identity(wheel), *_contents(wheel), *_reach(wheel), *_claims(wheel, registry), *_revoked(wheel, registry)]
    reasons += _taken(wheel, search_path() if paths is None else paths)
    if reasons:
        raise _refusal(path, reasons)
    return wheel


def _refusal(path: Path, reasons: list[str]) -> WheelError:
    return WheelError("\n".join(f"{path.name}: {reason}" for reason in dict.fromkeys(reasons)))


# The archive --------------------------------------------------------------------------------------------------------


def _places(archive: zipfile.ZipFile) -> Iterator[str]:
    """Files that would land outside, that are no files, or that hide one another."""
    seen: dict[str, str] = {}
    for file in archive.infolist():
        name = file.orig_filename
        if not name.isprintable():
            yield f"{name!r} is no name for a file"
            continue
        if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
            yield f"{name!r} is an absolute path"
        elif {".", ".."} & set(name.split("/")) or "\\" in name or "//" in name:
            yield f"{name!r} leads out of the folder that it is unpacked into"
        kind = stat.S_IFMT(file.external_attr >> 16)
        if kind and kind not in (stat.S_IFREG, stat.S_IFDIR):
            yield f"{name} is a {'symlink' if kind == stat.S_IFLNK else 'special file'}"
        if (twin := seen.setdefault(name.casefold(), name)) is not name:
            yield f"{name} is there twice" if twin == name else f"{name} and {twin} are one file on some systems"


def _recorded(archive: zipfile.ZipFile) -> Iterator[str]:
    """Its RECORD names every file with its hash, and nothing else."""
    names = {file.filename for file in archive.infolist() if not file.is_dir()}
    records = [name for name in names if re.fullmatch(r"[^/]+\.dist-info/RECORD", name)]
    if len(records) != 1:
        yield "it must have one .dist-info folder with a RECORD in it"
        return
    rows = list(csv.reader(io.StringIO(archive.read(records[0]).decode("utf-8", errors="replace"))))
    listed = {row[0]: row[1] for row in rows if len(row) == 3}
    unsigned = {records[0], f"{records[0]}.jws", f"{records[0]}.p7s"}
    for name in sorted(names - unsigned):
        if name not in listed:
            yield f"{name} is not in its RECORD"
            continue
        algorithm, _, told = listed[name].partition("=")
        if algorithm != "sha256":
            yield f"{name} has no sha256 in its RECORD"
        elif told != base64.urlsafe_b64encode(hashlib.sha256(archive.read(name)).digest()).rstrip(b"=").decode():
            yield f"{name} is not what its RECORD says"
    yield from (f"its RECORD names {name}, which is not there" for name in sorted(set(listed) - names))


# What it says of itself ---------------------------------------------------------------------------------------------


def _identity(wheel: Wheel) -> Iterator[str]:
    with opened(wheel.path) as archive:
        about = Parser().parsestr(archive.read(f"{wheel.info}/METADATA").decode("utf-8", errors="replace"))
    told = normal(str(about["Name"])), str(about["Version"])
    if told != (normal(wheel.name), wheel.version):
        yield f"its file is called {wheel.name} {wheel.version}, its METADATA says {about['Name']} {about['Version']}"
    folder, _, version = wheel.info.removesuffix(".dist-info").partition("-")
    if (normal(folder), version) != (normal(wheel.name), wheel.version):
        yield f"{wheel.info} is the metadata of another distribution"
    if normal(wheel.name) in STACK:
        yield f"it calls itself {wheel.name}, which is no plugin's name"


def _contents(wheel: Wheel) -> Iterator[str]:
    """One package of its own, and nothing that Python runs by itself when it starts."""
    for name in wheel.names:
        if name.casefold().endswith(".pth"):
            yield f"{name} would run at every start of Python"
        if ".data/" in name:
            yield f"{name} would be put outside its package"
    for top in wheel.tops:
        module = top.partition(".")[0].casefold()  # on some systems Torch is torch
        if module in AT_START:
            yield f"{top} would run at every start of Python"
        elif module in STACK:
            yield f"it brings its own {module}"
        elif module in sys.stdlib_module_names or module in ("pip", "uv", "setuptools", "pkg_resources", "conftest"):
            yield f"{top} would stand in for the {module} that others import"
    if len(wheel.tops) != 1:
        yield f"it must bring one package; it brings {', '.join(wheel.tops) or 'none'}"


def _reach(wheel: Wheel) -> Iterator[str]:
    """Ways into other programs: scripts on the PATH, entry points that pytest or torch load by themselves, foreign URLs."""
    for group, points in wheel.points.items():
        if group in ("console_scripts", "gui_scripts"):
            names = ", ".join(f"'{name}'" for name in points)
            yield f"it installs a command {names}; a plugin adds verbs to alignzoo instead (alignzoo_commands)"
        elif group != GROUP:
            yield f"its entry point group {group} reaches into other programs"
    for requirement in wheel.requires:
        if re.search(r"@\s*[a-z+]+:", requirement):
            yield f"it requires '{requirement}', an address instead of a released version"


def _claims(wheel: Wheel, registry: Registry) -> Iterator[str]:
    """The plugins that it brings are its own, and their modules are in it."""
    if not wheel.plugins:
        yield f"it brings no plugin: there is no entry point in {GROUP}"
    for id, module in wheel.plugins.items():
        owner = registry.owner(id)
        if owner and normal(owner) != normal(wheel.name):
            yield f"it claims the plugin id '{id}', which belongs to {owner}"
        stem = module.replace(".", "/")
        if not {f"{stem}.py", f"{stem}/__init__.py"} & set(wheel.names):
            yield f"plugin '{id}' is in module '{module}', which is not in it"


def _revoked(wheel: Wheel, registry: Registry) -> Iterator[str]:
    if reason := registry.revocation(wheel.name, wheel.version, wheel.sha256):
        yield f"it is revoked: {reason}"


def _taken(wheel: Wheel, paths: Iterable[str]) -> Iterator[str]:
    """Files of another distribution: whoever is there already under the same top-level name."""
    for folder in paths:
        for top in wheel.tops:
            module = top.partition(".")[0]
            there = [name for name in (module, f"{module}.py") if os.path.exists(os.path.join(folder, name))]
            if there and not _own(wheel, folder, there[0]):
                yield f"{top} is there already, a file of another distribution: {os.path.join(folder, there[0])}"


def _own(wheel: Wheel, folder: str, top: str) -> bool:
    """Whether an installed version of the same distribution brought this."""
    for name in os.listdir(folder):
        if name.endswith(".dist-info") and normal(name.partition("-")[0]) == normal(wheel.name):
            record = Path(folder, name, "RECORD")
            rows = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
            return any(row.startswith((f"{top}/", f"{top},")) for row in rows)
    return False
