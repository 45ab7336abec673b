"""A wheel as a file: what it says of itself and what is in it, read without unpacking or running anything."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path

from alignzoo.shop import ShopError

MOST_FILES = 10_000
MOST_BYTES = 500_000_000
MOST_BLOWN_UP = 200
"""How many times its packed size a file may take: text packs tenfold, zeros a thousandfold."""


class WheelError(ShopError):
    """A wheel that is refused: every reason, one a line."""


@dataclass(frozen=True)
class Wheel:
    """What a wheel says. `points` are its entry points by group; `hashes` are those of the files outside its metadata."""

    path: Path
    name: str
    version: str
    sha256: str
    names: tuple[str, ...]
    requires: tuple[str, ...]
    points: dict[str, dict[str, str]]
    hashes: dict[str, str]
    readme: str = ""

    @property
    def info(self) -> str:
        return info_folder(self.names)

    @property
    def tops(self) -> tuple[str, ...]:
        """The top-level names that it would bring into site-packages, its metadata apart."""
        firsts = dict.fromkeys(name.partition("/")[0] for name in self.names)
        return tuple(first for first in firsts if not first.endswith((".dist-info", ".data")))

    @property
    def plugins(self) -> dict[str, str]:
        """The plugins that it brings: id → module."""
        return self.points.get("alignzoo.plugins", {})

    def digest(self, package: str) -> str:
        """The content digest that its package will have when it is installed: see `alignzoo.seam.source.digest`."""
        total = hashlib.sha256()
        for name in sorted(self.hashes):
            parts = name.split("/")
            counts = parts[0] in (package, f"{package}.py") and not any(part.startswith(".") for part in parts)
            if counts and "__pycache__" not in parts and not name.endswith((".pyc", ".pyo")):
                total.update(f"{name}\0{self.hashes[name]}\n".encode())
        return total.hexdigest()


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def info_folder(names: tuple[str, ...]) -> str:
    """The one folder of metadata; "" where there is none, or more than one."""
    folders = {name.partition("/")[0] for name in names if name.partition("/")[0].endswith(".dist-info")}
    return folders.pop() if len(folders) == 1 else ""


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A wheel's archive, once it is known to be one that can be read in peace: not endless, and not a bomb."""
    try:
        with zipfile.ZipFile(path) as archive:
            _bounded(path, archive)
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise WheelError(f"{path.name}: cannot be read as a zip file: {error}") from None


def _bounded(path: Path, archive: zipfile.ZipFile) -> None:
    """Sizes as the archive declares them; `zipfile` never reads more of a file than is declared."""
    files = archive.infolist()
    if len(files) > MOST_FILES:
        raise WheelError(f"{path.name}: {len(files)} files; more than {MOST_FILES} is no plugin")
    if (whole := sum(file.file_size for file in files)) > MOST_BYTES:
        raise WheelError(f"{path.name}: would unpack to {whole:,} bytes; more than {MOST_BYTES:,} is no plugin")
    for file in files:
        if file.file_size > MOST_BLOWN_UP * max(file.compress_size, 1_000):
            raise WheelError(f"{path.name}: a zip bomb: {file.compress_size:,} bytes unpack to {file.file_size:,}")


def read_wheel(path: Path) -> Wheel:
    """A wheel's own words, or a `WheelError` where it has none."""
    if not path.is_file():
        raise ShopError(f"there is no wheel {path}")
    name, version = _of_filename(path)
    with opened(path) as archive:
        names = tuple(file.filename for file in archive.infolist() if not file.is_dir())
        info = info_folder(names)
        if f"{info}/METADATA" not in names:
            raise WheelError(f"{path.name}: it must have one .dist-info folder with METADATA in it")
        about = Parser().parsestr(_text(archive, f"{info}/METADATA"))
        requires = tuple(about.get_all("Requires-Dist") or ())
        points = _points(path, _text(archive, f"{info}/entry_points.txt") if f"{info}/entry_points.txt" in names else "")
        hashes = {name: hashlib.sha256(archive.read(name)).hexdigest() for name in names if not name.startswith(info)}
    readme = str(about.get_payload() or "")
    return Wheel(path, name, version, sha256_of(path), names, requires, points, hashes, readme.strip())


def _of_filename(path: Path) -> tuple[str, str]:
    parts = path.name.removesuffix(".whl").split("-")
    if not path.name.endswith(".whl") or len(parts) not in (5, 6):
        raise ShopError(
            f"{path} is no wheel: wheels are called name-version-python-abi-platform.whl, and nothing else is installed"
        )
    return parts[0].replace("_", "-"), parts[1]


def _text(archive: zipfile.ZipFile, name: str) -> str:
    return archive.read(name).decode("utf-8", errors="replace")


def _points(path: Path, text: str) -> dict[str, dict[str, str]]:
    """Entry points by group, line by line as installers read them. A reader that takes an indented line for the rest of the one
    above would not see a group that they see."""
    found: dict[str, dict[str, str]] = {}
    group: dict[str, str] | None = None
    for line in map(str.strip, text.splitlines()):
        name, told, value = (part.strip() for part in line.partition("="))
        if line.startswith("[") and line.endswith("]"):
            group = found.setdefault(line.strip("[]").strip(), {})
        elif line and not line.startswith("#"):
            if group is None or not told:
                raise WheelError(f"{path.name}: entry_points.txt cannot be read: {line!r}")
            if group.setdefault(name, value) != value:
                raise WheelError(f"{path.name}: entry_points.txt cannot be read: it says two things of {name!r}")
    return found
