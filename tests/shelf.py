"""A shelf of small real distributions in a folder: what pip leaves behind when it has installed a wheel."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

HEAD = "from alignzoo.seam.hookspecs import Component, hookimpl\n"


def offering(*components: str) -> str:
    """The source of a plugin's module that yields these components, each written as the arguments of `Component`."""
    lines = "".join(f"    yield Component({component})\n" for component in components)
    return f"{HEAD}\n@hookimpl\ndef alignzoo_components():\n{lines}"


def optimizer(id: str, module: str, more: str = "") -> str:
    return f'"optimizer", "{id}", "{module}.work:Work", "does {id}"{more}'


@dataclass(frozen=True)
class Shelf:
    """A folder on the path that distributions are put into."""

    folder: Path

    def put(self, plugin: str, source: str | None, *, dist: str = "", work: str = "class Work:\n    pass\n") -> str:
        """Install a distribution whose module has this source (None: no module at all), and return the module's name."""
        dist = dist or f"zoo-{plugin}"
        module = dist.replace("-", "_")
        info = self.folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[console_scripts]\nx = y:z\n\n[alignzoo.plugins]\n{plugin} = {module}\n")
        if source is not None:
            (self.folder / module).mkdir()
            (self.folder / module / "__init__.py").write_text(dedent(source))
            (self.folder / module / "work.py").write_text(dedent(work))
        importlib.invalidate_caches()
        return module

    def healthy(self, plugin: str, *ids: str, dist: str = "") -> str:
        """Install a plugin that offers optimizers of these ids (without any: one of its own id)."""
        module = (dist or f"zoo-{plugin}").replace("-", "_")
        return self.put(plugin, offering(*(optimizer(id, module) for id in ids or (plugin,))), dist=dist)


def shelf_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """A shelf on this process's path; its modules are forgotten when the test ends."""
    monkeypatch.syspath_prepend(str(folder))
    for name in [name for name in sys.modules if name.partition("_")[0] in ("zoo", "evil", "one", "two")]:
        monkeypatch.delitem(sys.modules, name)
    return Shelf(folder)
