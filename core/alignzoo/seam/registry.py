"""The catalogue of known plugins: `registry.toml`, read into records. It also says who owns an id, and what is revoked."""

from __future__ import annotations

import os

from alignzoo.seam.installed import normal
from alignzoo.seam.light import TYPE_CHECKING, dataclass
from alignzoo.seam.nearest import nearest
from alignzoo.seam.plainly import tables
from alignzoo.seam.vetting import KINDS

if TYPE_CHECKING:
    from typing import Any

TIERS = ("bundled", "verified", "community")


class RegistryError(ValueError):
    """A registry file that does not say what a registry must say."""


@dataclass(frozen=True)
class Release:
    """One wheel of a plugin that is not bundled. `sha256` is that of the file; without it nothing is installed by name."""

    version: str
    api: str
    sha256: str
    requires_python: str = ""
    yanked: str = ""
    """Why it is not to be installed any more; empty while it is."""
    conformance: str = ""
    """What the kit said of these bytes."""

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or self.sha256.strip("0123456789abcdef"):
            raise RegistryError(f"release {self.version}: sha256 must be 64 hexadecimal digits in lower case")
        if self.api.count(".") != 1 or not self.api.replace(".", "0").isdecimal():
            raise RegistryError(f"release {self.version}: api is a version such as 1.0")


@dataclass(frozen=True)
class Revoked:
    """What nobody is to run: every version of a distribution, one of them, or certain bytes under whatever name."""

    reason: str
    dist: str = ""
    version: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.dist and not self.sha256:
            raise RegistryError("a [[revoked]] names a dist (and a version, perhaps), or the sha256 of a wheel")


@dataclass(frozen=True)
class Plugin:
    """One entry. `components` are "kind:id"; `dist` is the distribution that owns the plugin's id."""

    id: str
    dist: str
    tier: str
    summary: str
    components: tuple[str, ...]
    license: str
    needs: tuple[str, ...] = ()
    paper: str = ""
    repo: str = ""
    maintainers: tuple[str, ...] = ()
    release: tuple[Release, ...] = ()

    def __post_init__(self) -> None:
        if self.tier not in TIERS:
            raise RegistryError(f"plugin '{self.id}': no tier is called '{self.tier}'{nearest(self.tier, TIERS)}")
        for component in self.components:
            if component.partition(":")[0] not in KINDS:
                raise RegistryError(f"component '{component}' must be written kind:id, as in optimizer:dpo")
        versions = [release.version for release in self.release]
        if twice := sorted({version for version in versions if versions.count(version) > 1}):
            raise RegistryError(f"plugin '{self.id}': release {twice[0]} is listed twice")
        if self.tier == "bundled" and self.release:
            raise RegistryError(f"plugin '{self.id}' is bundled: it has no releases of its own")
        if self.tier != "bundled" and not (self.repo and self.maintainers):
            raise RegistryError(f"plugin '{self.id}': say where it comes from: repo and maintainers")


@dataclass(frozen=True)
class Registry:
    """All entries, in the order of the file: `[[plugin]]` once for each, then `[[revoked]]`."""

    plugin: tuple[Plugin, ...] = ()
    revoked: tuple[Revoked, ...] = ()

    def __post_init__(self) -> None:
        ids = [plugin.id for plugin in self.plugin]
        if len(set(ids)) < len(ids):
            twice = min(name for name in ids if ids.count(name) > 1)
            raise RegistryError(f"the id '{twice}' is listed twice; an id has one owner")

    def owner(self, plugin: str) -> str:
        """The distribution that owns a plugin's id; "" where nobody does."""
        return next((entry.dist for entry in self.plugin if entry.id == plugin), "")

    def entry(self, plugin: str) -> Plugin | None:
        """What is said of a plugin; None where nothing is."""
        return next((entry for entry in self.plugin if entry.id == plugin), None)

    def revocation(self, dist: str, version: str, sha256: str = "") -> str:
        """Why this distribution, or this wheel, is not to be run; "" where nothing speaks against it."""
        for row in self.revoked:
            same_bytes = bool(row.sha256) and row.sha256 == sha256
            same_name = bool(row.dist) and normal(row.dist) == normal(dist) and not row.sha256
            if same_bytes or (same_name and row.version in ("", version)):
                return row.reason
        return ""


def home() -> str:
    """Where the registry is: beside this package when it is installed, in the checkout when it is editable."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    installed = os.path.join(package, "registry.toml")
    checkout = os.path.join(os.path.dirname(os.path.dirname(package)), "registry.toml")
    found = next((path for path in (installed, checkout) if os.path.isfile(path)), "")
    if not found:
        raise RegistryError(f"no registry.toml in {package}; the installation is incomplete: install alignzoo again")
    return found


def read(path: str = "") -> Registry:
    """The registry in a file; without a path, the one that came with alignzoo."""
    path = path or home()
    with open(path, "rb") as file:
        written = file.read()
    return _plainly(written) or _strict(written, path)


def _plainly(written: bytes) -> Registry | None:
    """The registry in a file that is written plainly and right; None of any other."""
    plugins: list[tuple[dict[str, Any], list[Release]]] = []
    revoked: list[Revoked] = []
    try:
        for heading, row in tables(written, ("components", "needs", "maintainers")) or [("not plain", {})]:
            match heading:
                case "plugin":
                    plugins.append((row, []))
                case "plugin.release":
                    plugins[-1][1].append(Release(**_underscored(row)))
                case "revoked":
                    revoked.append(Revoked(**row))
                case _ if heading or row:
                    return None
        return Registry(tuple(Plugin(**row, release=tuple(releases)) for row, releases in plugins), tuple(revoked))
    except (TypeError, IndexError, RegistryError):
        return None


def _strict(written: bytes, path: str) -> Registry:
    """The registry in a file, or everything that is wrong with it."""
    import tomllib

    from alignzoo.seam.settings import SettingsError, build

    try:
        return build(Registry, _underscored(tomllib.loads(written.decode())), file=path)
    except UnicodeDecodeError as error:
        raise RegistryError(f"{path}: not UTF-8: {error}") from None
    except SettingsError as error:
        raise RegistryError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise RegistryError(f"{path}: not TOML: {error}") from None


def _underscored(table: Any) -> Any:
    """`requires-python` is spelled in a registry as packages spell it."""
    if isinstance(table, dict):
        return {key.replace("-", "_"): _underscored(value) for key, value in table.items()}
    return [_underscored(item) for item in table] if isinstance(table, list) else table
