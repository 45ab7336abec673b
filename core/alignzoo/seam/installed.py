"""Which plugins are installed: the distributions that have an entry point of our group.

Reads `entry_points.txt` of each distribution on the path and nothing else. The standard library's reader does more
than that (mail headers, zip files) and costs a third of the time that `alignzoo list` may take. Left out: distributions
in zip files, and finders of other kinds.
"""

from __future__ import annotations

import os
import site
import sys

from alignzoo.seam.light import TYPE_CHECKING, dataclass
from alignzoo.seam.source import bytes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GROUP = "alignzoo.plugins"
LOCAL = "local"
"""What stands for the version of a plugin that is one file."""
INFO_ENDINGS = (".dist-info", ".egg-info")


@dataclass(frozen=True)
class Entry:
    """One entry point: the plugin's id, the module that it names, and the distribution that brought it. `info` is the folder
    of its metadata; `rivals` are other versions whose metadata lies beside it."""

    plugin: str
    module: str
    distribution: str
    version: str
    info: str = ""
    rivals: tuple[str, ...] = ()
    file: str = ""
    """Where it lies, if it is a single file that somebody named (`local`); nothing is installed then."""


def entries(paths: Iterable[str] | None = None) -> list[Entry]:
    """Every entry point of our group, in the order of the path."""
    found: list[Entry] = []
    seen: dict[str, str] = {}
    for folder in _info_folders(search_path() if paths is None else paths):
        name, version = _name_and_version(folder)
        first = seen.setdefault(normal(name), folder)
        points = _points(f"{folder}{os.sep}entry_points.txt")
        if first is folder:
            found += [Entry(plugin, module, name, version, folder) for plugin, module in points]
        elif os.path.dirname(first) == os.path.dirname(folder) and folder.endswith(".dist-info"):
            found = _with_rival(found, first, Entry("", "", name, version, folder), points)
        # or else the same once more: a stale egg-info, or one that an earlier folder hides
    return found


def _with_rival(found: list[Entry], first: str, rival: Entry, points: list[tuple[str, str]]) -> list[Entry]:
    """Note that a distribution lies there in two versions, side by side. The first that names plugins counts."""
    from dataclasses import replace

    if any(entry.info == first for entry in found):
        return [replace(e, rivals=(*e.rivals, rival.version)) if e.info == first else e for e in found]
    other = _name_and_version(first)[1]
    return found + [replace(rival, plugin=plugin, module=module, rivals=(other,)) for plugin, module in points]


def search_path() -> list[str]:
    """`sys.path` without the current directory, where a cloned repository's metadata would pass for an installation.
    A folder that packages are installed into stays, wherever one stands."""
    folders: dict[tuple[int, int], str] = {}
    for folder in filter(None, sys.path):
        if known := _known(folder):
            folders.setdefault(known, folder)
    here = _known(os.curdir)
    if here in folders and here not in map(_known, site.getsitepackages()):
        del folders[here]
    return list(folders.values())


def _known(folder: str) -> tuple[int, int] | None:
    """What a folder is to the system, by whatever way it is reached; None where there is none."""
    try:
        there = os.stat(folder)
    except (OSError, ValueError):
        return None
    return there.st_dev, there.st_ino


def normal(distribution: str) -> str:
    """A distribution's name as indexes compare it."""
    name = distribution.replace("_", "-").replace(".", "-").lower()
    while "--" in name:
        name = name.replace("--", "-")
    return name


def _info_folders(paths: Iterable[str]) -> Iterator[str]:
    """Metadata folders in the order of the path; in one folder, a wheel's before an egg's."""
    for path in paths:
        try:
            names = [name for name in os.listdir(path) if name.endswith(INFO_ENDINGS)]
        except OSError:
            continue
        for name in sorted(names, key=lambda name: (name.endswith(".egg-info"), name)):
            yield f"{path}{os.sep}{name}"


def _name_and_version(folder: str) -> tuple[str, str]:
    stem = os.path.basename(folder).rpartition(".")[0]
    name, _, rest = stem.partition("-")
    return name.replace("_", "-"), rest.partition("-")[0]


def _points(path: str) -> list[tuple[str, str]]:
    """The (name, module) pairs of our group in an `entry_points.txt`."""
    try:
        written = bytes_of(path)
    except OSError:
        return []
    if GROUP.encode() not in written:
        return []
    pairs, section = [], ""
    for line in (raw.strip() for raw in written.decode(errors="replace").splitlines()):
        if line.startswith("["):
            section = line.strip("[] ")
        elif section == GROUP and line and line[0] not in "#;":
            name, _, module = line.partition("=")
            pairs.append((name.strip(), module.strip()))
    return pairs
