"""What the entries of a bench have of their own: tables laid over the shared one, at every point of a grid."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import Any

MOST = 10_000
"""Entries, and seeds, of a bench: more are a slip of the hand."""


class BenchError(ValueError):
    """A bench that cannot work, or a folder that is not this bench's."""


def rows_of(entries: Any, grid: Any, shared: Mapping[str, Any], file: str) -> Iterator[dict[str, Any]]:
    """What each entry has of its own: every [[entry]], at every point of the grid."""
    if not isinstance(entries, list) or not all(isinstance(row, Mapping) for row in entries):
        raise BenchError(f"{file}: entry: must be tables, [[entry]] with a name in each")
    points = list(_points(grid, file))
    used = shared.get("optimizer", {}).get("use", "run") if isinstance(shared.get("optimizer"), Mapping) else "run"
    rows = entries or [{} if grid else {"name": str(used)}]
    names: list[str] = []
    for row, (suffix, point) in product(rows, points):
        name = "-".join(part for part in (str(row.get("name", "")), suffix) if part)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}", name):
            told = f"{name[:40]!r}{'…' * (len(name) > 40)}"
            raise BenchError(f"{file}: entry: each needs a name of up to 200 letters, digits, '.', '_' and '-'; one has {told}")
        if name in names:
            raise BenchError(f"{file}: entry: two are called '{name}'; give each a name of its own")
        names.append(name)
        yield {**laid(row, point), "name": name}


def _points(grid: Any, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A name and the settings of every point of a grid; one point without any where there is no grid."""
    if not isinstance(grid, Mapping):
        raise BenchError(f'{file}: grid: must be a table of lists: optimizer.use = ["dpo", "ipo"]')
    axes = list(_axes(grid, "", file))
    if (count := prod(len(values) for _, values in axes)) > MOST:
        raise BenchError(f"{file}: grid: its lists make {count:,} entries, and {MOST:,} are the most")
    for values in product(*(values for _, values in axes)):
        point: dict[str, Any] = {}
        for (place, _), value in zip(axes, values, strict=True):
            point = laid(point, nested(place, value))
        yield "-".join(_called(value) for value in values), point


def _axes(grid: Mapping[str, Any], above: str, file: str) -> Iterator[tuple[str, list[Any]]]:
    for name, values in grid.items():
        place = f"{above}.{name}" if above else name
        if isinstance(values, Mapping):
            yield from _axes(values, place, file)
        elif isinstance(values, list) and values:
            yield place, values
        else:
            raise BenchError(f"{file}: grid.{place}: must be a list of values to try")


def _called(value: Any) -> str:
    text = str(value.get("name", value.get("use", "")) if isinstance(value, Mapping) else value)
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("_")


def laid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A table with another laid over it. One that names another `use` is another thing and takes the whole place; the word
    "none" takes a table away."""
    whole = dict(under)
    for key, value in over.items():
        below = under.get(key)
        if value == "none" and isinstance(below, Mapping | list):
            del whole[key]
        elif isinstance(value, Mapping) and isinstance(below, Mapping) and not _another(below, value):
            whole[key] = laid(below, value)
        else:
            whole[key] = value
    return whole


def _another(under: Mapping[str, Any], over: Mapping[str, Any]) -> bool:
    return "use" in under and "use" in over and under["use"] != over["use"]


def nested(place: str, value: Any) -> dict[str, Any]:
    """{"optimizer": {"beta": 0.1}} for "optimizer.beta" and 0.1."""
    for key in reversed(place.split(".")):
        value = {key: value}
    return dict(value)
