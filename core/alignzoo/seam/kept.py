"""What is remembered of the plugins of this environment: which are disabled, and where the installed ones came from.

It lies in the environment itself (`sys.prefix`), because that is what plugins are installed into: another environment has
other plugins, and one that is removed leaves nothing behind. Where that folder cannot be written to, the variable
ALIGNZOO_STATE names another file.
"""

from __future__ import annotations

import os
import sys

from alignzoo.seam.installed import normal
from alignzoo.seam.light import TYPE_CHECKING, dataclass
from alignzoo.seam.plainly import tables

if TYPE_CHECKING:
    from typing import Any

    from alignzoo.seam.registry import Registry

VARIABLE = "ALIGNZOO_STATE"
NAME = "alignzoo-plugins.toml"


class KeptError(ValueError):
    """The file of what is remembered cannot be read."""


@dataclass(frozen=True)
class Receipt:
    """What `alignzoo install` installed. `brought` are the distributions that came with it."""

    plugins: tuple[str, ...]
    dist: str
    version: str
    sha256: str
    digest: str
    tier: str
    registry: str = ""
    brought: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """All that is remembered."""

    disabled: tuple[str, ...] = ()
    receipt: tuple[Receipt, ...] = ()

    def of(self, dist: str, version: str) -> Receipt | None:
        """The receipt of what is installed; none if another version has taken its place."""
        mine = (receipt for receipt in self.receipt if normal(receipt.dist) == normal(dist))
        return next((receipt for receipt in mine if receipt.version == version), None)

    def wheel(self, dist: str, version: str) -> str:
        """The sha256 of the wheel that it was installed from; "" where none is known."""
        receipt = self.of(dist, version)
        return receipt.sha256 if receipt else ""

    def without(self, dist: str) -> Kept:
        from dataclasses import replace

        left = tuple(receipt for receipt in self.receipt if normal(receipt.dist) != normal(dist))
        return replace(self, receipt=left)

    def tier(self, plugin: str, dist: str, version: str, registry: Registry) -> str:
        """How well a plugin is known. A tier belongs to bytes: what the registry says of a release counts only for what was
        installed from exactly that wheel."""
        entry, receipt = registry.entry(plugin), self.of(dist, version)
        if entry is None or normal(entry.dist) != normal(dist):
            return receipt.tier if receipt else "unlisted"
        if entry.tier == "bundled":
            return entry.tier
        proven = receipt and any((r.version, r.sha256) == (version, receipt.sha256) for r in entry.release)
        return entry.tier if proven else "unproven"


def place() -> str:
    """The file that all this is kept in."""
    return os.environ.get(VARIABLE) or os.path.join(sys.prefix, NAME)


def kept() -> Kept:
    """What is remembered here; nothing, where nothing was ever noted."""
    path = place()
    try:
        with open(path, "rb") as file:
            written = file.read()
    except FileNotFoundError:
        return Kept()
    return _plainly(written) or _strict(written, path)


def _plainly(written: bytes) -> Kept | None:
    """What is remembered in a file as `keep` writes it; None of any other."""
    try:
        (_, top), *receipts = tables(written, ("disabled", "plugins", "brought")) or [("", {"not": "plain"})]
        if any(heading != "receipt" for heading, _ in receipts):
            return None
        return Kept(receipt=tuple(Receipt(**row) for _, row in receipts), **top)
    except TypeError:
        return None


def _strict(written: bytes, path: str) -> Kept:
    """What is remembered in a file, or everything that is wrong with it."""
    import tomllib

    from alignzoo.seam.settings import build

    try:
        return build(Kept, tomllib.loads(written.decode()), file=path)
    except (ValueError, RecursionError) as error:
        raise KeptError(f"{path}: {error}; mend it, or remove it to forget what was disabled and installed") from None


def keep(what: Kept) -> None:
    """Remember this instead. Where there is nothing to remember, no file stays."""
    path = place()
    if what == Kept():
        if os.path.exists(path):
            os.remove(path)
        return
    import tomli_w

    rows = [{key: _plain(value) for key, value in vars(receipt).items()} for receipt in what.receipt]
    text = tomli_w.dumps({"disabled": list(what.disabled), "receipt": rows})
    try:
        with open(f"{path}.part", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(f"{path}.part", path)
    except OSError as error:
        raise KeptError(f"{path} cannot be written ({error.strerror}); name another file in {VARIABLE}") from None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
