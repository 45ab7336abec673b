"""A shelf of small real distributions in a folder: what pip leaves behind when it has installed a wheel."""

from __future__ import annotations

import base64
import hashlib
import importlib
import sys
import zipfile
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


def wheel_in(folder: Path, name: str, files: dict[str, str | bytes], version: str = "1.0", **more: str) -> Path:
    """A wheel with these files, its metadata and a true RECORD. `more` are files of the metadata: entry_points="[…]"."""
    info = f"{name}-{version}.dist-info"
    told = {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n# {name}\n\nIts page.\n"}
    told["WHEEL"] = "Wheel-Version: 1.0\nGenerator: shelf\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    told |= {{"entry_points": "entry_points.txt"}.get(key, key): text for key, text in more.items()}
    whole = {**files, **{f"{info}/{key}": text for key, text in told.items()}}
    return pack(folder / f"{name}-{version}-py3-none-any.whl", whole, f"{info}/RECORD")


def pack(path: Path, files: dict[str, str | bytes], record: str) -> Path:
    rows = {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}
    lines = [f"{name},sha256={_urlsafe(data)},{len(data)}" for name, data in rows.items()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**rows, record: "\n".join([*lines, f"{record},,"]).encode()}.items():
            archive.writestr(name, data)
    return path


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def plugin_wheel(
    folder: Path, plugin: str = "thumbs", version: str = "1.0", more: dict[str, str | bytes] | None = None, **info: str
) -> Path:
    """A wheel of a healthy plugin `zoo_PLUGIN`, with `more` files; `info` are files of its metadata."""
    module = f"zoo_{plugin}"
    source = offering(optimizer(plugin, module, ", needs=('comparisons',)"))
    files: dict[str, str | bytes] = {f"{module}/__init__.py": source, f"{module}/work.py": WORK}
    info = {"entry_points": f"[alignzoo.plugins]\n{plugin} = {module}\n", **info}
    return wheel_in(folder, module, {**files, **(more or {})}, version, **info)


WORK = '''
from dataclasses import dataclass

@dataclass(frozen=True)
class Work:
    """An optimizer that does nothing, in every respect that a plan asks about."""

    beta: float = 0.1
    """How far it would go."""
    needs = ("comparisons",)

    def improve(self, policy, lesson):
        yield from ()

    def deploy(self, role, lesson):
        return role
'''
