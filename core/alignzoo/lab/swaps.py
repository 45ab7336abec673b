"""`--set optimizer.use=kto` names another component, and leaves the settings of the one before it in its table."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alignzoo.seam.settings import SettingsError, override


@contextmanager
def swaps_told(path: Path, changes: Sequence[str]) -> Iterator[None]:
    """Where settings that the run file wrote for one component are no settings of the one that a change puts in its place, the
    error says how a change replaces the whole table."""
    try:
        yield
    except SettingsError as error:
        own = tomllib.loads(path.read_text(encoding="utf-8"))
        raise SettingsError(*error.problems, *_hints(own, changes, path.name, error.problems)) from None


def _hints(own: Mapping[str, Any], changes: Sequence[str], file: str, problems: Sequence[str]) -> Iterator[str]:
    for place, new in _named_anew(changes):
        table = _at(own, place.split("."))
        old = table.get("use")
        left = [key for key in table if key != "use" and not any(_is_of(change, f"{place}.{key}") for change in changes)]
        kept = [key for key in left if any(_is_of(problem, f"{file}: {place}.{key}") for problem in problems)]
        if kept and old != new:
            yield (
                f'{file}: {place}: --set {place}.use={new} leaves in [{place}] what is there for "{old}" ({", ".join(kept)}); '
                f"--set '{place}={{use=\"{new}\"}}' puts a table in the place of it"
            )


def _named_anew(changes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Places, and the component that is named for each."""
    for change in changes:
        place, _, last = change.partition("=")[0].strip().rpartition(".")
        if place and last == "use":
            yield place, str(override({}, re.sub(r"^[^=]*", "use", change))["use"])


def _at(table: Any, keys: Sequence[str]) -> Mapping[str, Any]:
    """The table at a place; an empty one where there is none."""
    for key in keys:
        if isinstance(table, list):
            table = table[int(key)] if key.isdigit() and int(key) < len(table) else {}
        else:
            table = table.get(key, {}) if isinstance(table, Mapping) else {}
    return table if isinstance(table, Mapping) else {}


def _is_of(told: str, place: str) -> bool:
    """Whether a problem, or a change, is one of this setting, or of what is below it."""
    return told.startswith(place) and told[len(place) :].lstrip().startswith((":", ".", "[", "="))
