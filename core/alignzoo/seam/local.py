"""A plugin in one file, without packaging: named on the command line or in a run file, and marked `local` wherever it appears.

The file is a module under its own name, with `alignzoo_components` in it. It need not be light: only who names it reads it.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident

from alignzoo.seam import hookspecs
from alignzoo.seam.hookspecs import hookimpl
from alignzoo.seam.installed import LOCAL, Entry
from alignzoo.seam.light import TYPE_CHECKING
from alignzoo.seam.vetting import Fault

if TYPE_CHECKING:
    from types import ModuleType

    from alignzoo.seam.zoo import Zoo

_READ: dict[str, tuple[str, bytes]] = {}
"""The modules that are local files: where each lies, and the bytes that it was made of."""


class LocalError(ValueError):
    """A file that was named as a plugin and cannot be used as one."""


def entry_of(path: str) -> Entry:
    """What is known of a file before it is read: its id is its name."""
    import re

    name, ending = os.path.splitext(os.path.basename(path))
    if not os.path.isfile(path):
        raise LocalError(f"there is no file {path} to take as a plugin")
    if ending != ".py" or not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        raise LocalError(
            f"{path}: a plugin in one file is called by lower-case letters, digits and underscores, as in my_loss.py"
        )
    return Entry(name, name, os.path.normpath(path), LOCAL, file=os.path.abspath(path))


def module_of(entry: Entry) -> ModuleType:
    """The file's module; read again if its bytes have changed since. Its components name their objects in it."""
    import importlib.util

    with open(entry.file, "rb") as file:
        source = file.read()
    if _READ.get(entry.module) == (entry.file, source):
        return sys.modules[entry.module]
    if entry.module not in _READ and (there := _there_already(entry)):
        raise Fault(f"its name, '{entry.module}', is that of another module, {there}", "Rename the file")
    spec = importlib.util.spec_from_file_location(entry.module, entry.file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[entry.module] = module  # before it runs: its dataclasses look themselves up there
    _READ[entry.module] = (entry.file, b"")
    exec(compile(source, entry.file, "exec", dont_inherit=True), vars(module))  # the bytes whose digest is told, and no cache
    _READ[entry.module] = (entry.file, source)
    for name in vars(hookspecs):
        if name.startswith("alignzoo_") and callable(hook := getattr(module, name, None)):
            hookimpl(hook)  # who gives the file means it
    return module


def _there_already(entry: Entry) -> str:
    """Where another module of this name comes from, which the file must not hide. One in the folder that the command is run in
    hides nothing: it is the file itself, or what a run's copy was made from."""
    import importlib.util

    try:
        spec = sys.modules[entry.module].__spec__ if entry.module in sys.modules else importlib.util.find_spec(entry.module)
    except (ImportError, ValueError):
        return ""
    origin = spec.origin or "a folder" if spec else ""
    own = os.path.abspath(origin) == entry.file or os.path.dirname(os.path.abspath(origin)) == os.getcwd()
    return "" if own else origin


def modules() -> tuple[str, ...]:
    """The names of the modules that are local files."""
    return tuple(_READ)


_BROUGHT: dict[int, tuple[str, ...]] = {}
"""The files that each thread has brought along just now."""


class bringing:
    """In the body, whoever looks for plugins finds those of this zoo that are files, too: a component may name another one."""

    def __init__(self, zoo: Zoo) -> None:
        self.files = zoo.files

    def __enter__(self) -> None:
        self.thread = get_ident()
        self.before = _BROUGHT.get(self.thread, ())
        _BROUGHT[self.thread] = self.files

    def __exit__(self, *raised: object) -> None:
        _BROUGHT[self.thread] = self.before


def brought() -> tuple[str, ...]:
    """What is brought along where this is asked."""
    return _BROUGHT.get(get_ident(), ())
