"""Who decides between two answers, where a bench file or a file of its own says so.

[duels]
use = "ai-judge"           # any reward that can be shown two answers (`alignzoo.interfaces.Comparing`)
prompts = 50               # how many of the test prompts, the same ones for every pair
most = 20_000              # verdicts that may be asked in all, both orders counted
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from alignzoo.interfaces import Borrowing, Comparing, Count, Reading, Reward
from alignzoo.lab.plan import Part
from alignzoo.lab.runfile import local_files, part_of, table_of_file
from alignzoo.seam.discovery import discover
from alignzoo.seam.settings import SettingsError, build, table_of
from alignzoo.seam.zoo import Zoo


class UmpireError(ValueError):
    """Duels that cannot be fought as asked."""


@dataclass(frozen=True)
class Terms:
    """How much an umpire is asked."""

    prompts: Count = 50
    """Of how many of the test prompts, at most. The same ones for every pair, each contestant's first answer."""
    most: Count = 20_000
    """Verdicts that may be asked in all. More are refused before the first."""


@dataclass(frozen=True)
class Umpire:
    """A component that compares, and its terms."""

    part: Part
    terms: Terms = Terms()

    @property
    def name(self) -> str:
        return self.part.found.full_name

    @property
    def borrows(self) -> bool:
        """Whether it reads with the base of the runs."""
        made = self.part.made
        return isinstance(made, Reading) and (not isinstance(made, Borrowing) or made.borrows)

    def row(self) -> dict[str, Any]:
        """The table that names it, resolved."""
        return {**self.part.row(), **table_of(self.terms)}

    def check(self, verdicts: int, what: str = "") -> None:
        """Refuse to ask for more verdicts than may be asked."""
        if verdicts > self.terms.most:
            raise UmpireError(
                f"duels: {what}{verdicts:,} verdicts, more than most = {self.terms.most:,}; ask of fewer prompts, or allow more"
            )


def read_umpire(given: Any, zoo: Zoo, file: str) -> Umpire | None:
    """The umpire of a table; None where there is no table."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise SettingsError(f'{file}: duels: must be a table, [duels] with use = "…" in it')
    own = {f.name for f in fields(Terms)}
    terms = build(Terms, {name: value for name, value in given.items() if name in own}, "duels", file=file)
    table = {name: value for name, value in given.items() if name not in own}
    part = part_of("duels", "reward", Reward, table, zoo, file)
    if not isinstance(part.made, Comparing):
        there = list(_comparing(zoo))
        hint = f"; those that can: {', '.join(there)}" if there else "; none that is installed can"
        raise SettingsError(
            f"{file}: duels.use: {part.found.full_name} scores one answer at a time, and cannot be shown two{hint}. What wins "
            "by its scores is in every report that it judges"
        )
    return Umpire(part, terms)


def umpire_in(path: Path) -> Umpire:
    """The umpire that a file names: a bench file, or one with nothing else in it."""
    table = table_of_file(path, (), (), "duels", UmpireError)
    umpire = read_umpire(table.get("duels"), discover(files=local_files(table, path.name)), path.name)
    if umpire is None:
        raise UmpireError(f'{path}: there is no table [duels] in it; write one that says who decides: use = "…"')
    return umpire


def _comparing(zoo: Zoo) -> Iterator[str]:
    for found in zoo.components:
        with suppress(Exception):  # a plugin that is broken can do nothing
            if found.component.kind == "reward" and isinstance(found.load(), Comparing):
                yield found.full_name
