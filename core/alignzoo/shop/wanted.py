"""What a run file names and this environment has not."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from alignzoo.seam.hookspecs import Kind
from alignzoo.seam.registry import Registry
from alignzoo.seam.zoo import Zoo, ZooError
from alignzoo.shop import ShopError


def missing(run_file: Path, zoo: Zoo, registry: Registry) -> list[str]:
    """The plugins to install for a run file, each with the version that the run was made with, where it says so."""
    try:
        table = tomllib.loads(run_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ShopError(f"there is no run file {run_file}") from None
    except (ValueError, RecursionError) as error:
        raise ShopError(f"{run_file}: not TOML: {error}") from None
    versions = table.pop("made_with", {}).get("plugins", {})
    wanted: dict[str, str] = {}
    for place, name in _used(table, ""):
        kinds = _kinds(name, place)
        if problem := _problem(name, kinds, zoo):
            plugin = _plugin_of(name, kinds, registry)
            if plugin is None:
                raise ShopError(f"{run_file}: {place}: {problem}; and no registry lists a plugin that has it")
            version = str(versions.get(name, "")).partition(" ")[0]
            wanted[plugin] = f"{plugin}=={version}" if version else plugin
    return list(wanted.values())


def _problem(name: str, kinds: Iterable[Kind], zoo: Zoo) -> str:
    """Why nothing that is installed can be meant; "" where something is."""
    problem = ""
    for kind in kinds:
        try:
            zoo.find(kind, name)
            return ""
        except ZooError as error:
            problem = problem or str(error)
    return problem


def _used(table: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every `use`, with its place."""
    if isinstance(table, list):
        for item in table:
            yield from _used(item, place)
    if not isinstance(table, dict):
        return
    for key, value in table.items():
        at = f"{place}.{key}" if place else key
        if key == "use" and isinstance(value, str):
            yield at, value
        else:
            yield from _used(value, at)


PLACES: Mapping[str, tuple[Kind, ...]] = {
    "start": ("optimizer",),
    "judge": ("reward",),
    "reward": ("reward", "optimizer"),
    "jury": ("reward", "optimizer"),
}
"""What a table of a run file names, where that is not the table's own name."""


def _kinds(name: str, place: str) -> tuple[Kind, ...]:
    kind, table = name.rpartition(":")[0], place.removesuffix(".use").rpartition(".")[2]
    known: tuple[Kind, ...] = get_args(Kind)
    by_name = tuple(k for k in known if k == kind)
    return by_name or PLACES.get(table) or tuple(k for k in known if k == table) or known


def _plugin_of(name: str, kinds: Iterable[Kind], registry: Registry) -> str | None:
    """The registered plugin that a name of a component means."""
    plugin, _, component = name.rpartition(":")[2].rpartition("/")
    for entry in registry.plugin:
        if plugin in ("", entry.id) and any(f"{kind}:{component}" in entry.components for kind in kinds):
            return entry.id
    return None
