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
    if there := getattr(sys.modules.get(module), "__file__", None):
        return str(there)  # imported by whatever means: its parents may be found in no other way
    top, *rest = module.split(".")
    root = _root(top)
    if not root:
        return ""
    if not rest:
        return os.path.join(root, "__init__.py") if os.path.isdir(root) else root
    stem = os.path.join(root, *rest)
    candidates = (f"{stem}.py", os.path.join(stem, "__init__.py"))
    return next((path for path in candidates if os.path.isfile(path)), "")


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
