"""The catalogue of known plugins: `registry.toml`, read into records. It also says who owns an id."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from typing import Literal, get_args

from alignzoo.seam.hookspecs import Kind
from alignzoo.seam.settings import SettingsError, build

Tier = Literal["bundled", "verified", "community"]


class RegistryError(ValueError):
    """A registry file that does not say what a registry must say."""


@dataclass(frozen=True)
class Plugin:
    """One entry. `components` are "kind:id"; `dist` is the distribution that owns the plugin's id."""

    id: str
    dist: str
    tier: Tier
    summary: str
    components: tuple[str, ...]
    license: str
    needs: tuple[str, ...] = ()
    paper: str = ""

    def __post_init__(self) -> None:
        for component in self.components:
            if component.partition(":")[0] not in get_args(Kind):
                raise RegistryError(f"component '{component}' must be written kind:id, as in optimizer:dpo")


@dataclass(frozen=True)
class Registry:
    """All entries, in the order of the file: `[[plugin]]` once for each."""

    plugin: tuple[Plugin, ...] = ()

    def __post_init__(self) -> None:
        ids = [plugin.id for plugin in self.plugin]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise RegistryError(f"the id '{twice[0]}' is listed twice; an id has one owner")

    def owner(self, plugin: str) -> str:
        """The distribution that owns a plugin's id; "" where nobody does."""
        return next((entry.dist for entry in self.plugin if entry.id == plugin), "")


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
    try:
        with open(path, "rb") as file:
            return build(Registry, tomllib.load(file), file=path)
    except tomllib.TOMLDecodeError as error:
        raise RegistryError(f"{path}: not TOML: {error}") from None
    except SettingsError as error:
        raise RegistryError(str(error)) from None
