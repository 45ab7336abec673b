"""Source files of modules that are not to be imported, and the digest of a package's bytes."""

from __future__ import annotations

import os
import sys

from alignzoo.seam.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.machinery import ModuleSpec


def file_of(module: str) -> str:
    """The source file of a module, found without importing it; "" where there is none to read."""
    return next(filter(os.path.isfile, _places(module)), "")


def source_of(module: str) -> bytes | None:
    """What is in the source file of a module; None where there is none to read."""
    for path in _places(module):
        try:
            return bytes_of(path)
        except OSError:
            continue
    return None


def bytes_of(path: str) -> bytes:
    """What is in a file. A listing reads two hundred, and to make an object of each takes longer than to read it."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        parts = [os.read(file, PART)]
        while parts[-1]:
            parts.append(os.read(file, PART))
    finally:
        os.close(file)
    return b"".join(parts)


PART = 1 << 16


def _places(module: str) -> tuple[str, ...]:
    """Where the source file of a module may be."""
    if there := getattr(sys.modules.get(module), "__file__", None):
        return (str(there),)  # imported by whatever means: its parents may be found in no other way
    top, *rest = module.split(".")
    root = _root(top)
    if not root or (not rest and os.path.isfile(root)):
        return (root,)
    stem = os.sep.join((root, *rest))
    return (f"{stem}.py", f"{stem}{os.sep}__init__.py") if rest else (f"{stem}{os.sep}__init__.py",)


def digest(package: str) -> str:
    """What the bytes of a package come to: sha256 over the sorted relative paths and the hashes of its files. The same
    for a checkout and for what was installed from its wheel; compiled files and hidden ones do not count."""
    from hashlib import sha256

    root = _root(package)
    paths = sorted(_files(root))
    if not paths:
        raise FileNotFoundError(f"package '{package}' has no files to take a digest of; is it still installed?")
    total = sha256()
    for path in paths:
        with open(os.path.join(os.path.dirname(root), path), "rb") as file:
            total.update(f"{path.replace(os.sep, '/')}\0{sha256(file.read()).hexdigest()}\n".encode())
    return total.hexdigest()


def _root(top: str) -> str:
    """The folder of a top-level package, or the file of a top-level module."""
    try:
        spec = sys.modules[top].__spec__ if top in sys.modules else _found(top)
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    if spec.submodule_search_locations:
        return next(iter(spec.submodule_search_locations))
    return spec.origin if spec.origin and os.path.isfile(spec.origin) else ""


def _found(top: str) -> ModuleSpec | None:
    import importlib.util

    return importlib.util.find_spec(top)


def _files(root: str) -> Iterator[str]:
    """Paths below the parent of `root`, so that the package's own name counts."""
    parent = os.path.dirname(root)
    if os.path.isfile(root):
        yield os.path.relpath(root, parent)
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if name != "__pycache__" and not name.startswith(".")]
        kept = (name for name in names if not name.endswith((".pyc", ".pyo")) and not name.startswith("."))
        yield from (os.path.relpath(os.path.join(folder, name), parent) for name in kept)
