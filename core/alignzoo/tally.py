"""What a feedback source came across: rows read and kept, and each row left out or odd, by reason, with the first places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_PLACES = 3
"""Places that are named for each reason."""
_KINDS = ("dropped", "set_aside", "noticed", "sifted")


class TallyError(ValueError):
    """Too much of what a source read cannot be used."""


@dataclass
class Cases:
    """How often, and where first: "votes.jsonl:17"."""

    count: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, place: str, count: int) -> None:
        self.count += count
        if place and len(self.places) < _PLACES:
            self.places.append(place)

    def take(self, later: Cases) -> None:
        """Add what was counted elsewhere, of what came after."""
        self.count += later.count
        self.places = (self.places + later.places)[:_PLACES]

    def __str__(self) -> str:
        return f"{self.count}" + (
            f" ({', '.join(self.places)}{', …' if self.count > len(self.places) else ''})" * bool(self.places)
        )


@dataclass
class Tally:
    """Kept by a source while it collects; a row is whatever the source reads one at a time. A source that makes up its
    records, and reads none, leaves it empty."""

    read: int = 0
    kept: int = 0
    dropped: dict[str, Cases] = field(default_factory=dict)
    noticed: dict[str, Cases] = field(default_factory=dict)
    """Rows that were kept although there is something odd about them."""
    said: list[str] = field(default_factory=list)
    """What a source has to say of all that it read, a sentence each."""
    set_aside: dict[str, Cases] = field(default_factory=dict)
    """Rows that are sound, and left out because a rule or a setting says so: a threshold, the other side of a split. They are
    no reason to refuse: of a million votes it may be that a thousand tell anything."""
    sifted: dict[str, Cases] = field(default_factory=dict)
    """Records, not rows, that a filter of the run held back."""

    def add(self, later: Tally) -> None:
        """Add what another counted, of rows that came after."""
        self.read += later.read
        self.kept += later.kept
        for name in _KINDS:
            known: dict[str, Cases] = getattr(self, name)
            for reason, cases in getattr(later, name).items():
                known.setdefault(reason, Cases()).take(cases)
        self.said += later.said

    def drop(self, reason: str, place: str = "", count: int = 1) -> None:
        """A row that was read is left out."""
        self.dropped.setdefault(reason, Cases()).add(place, count)

    def notice(self, what: str, place: str = "", count: int = 1) -> None:
        """A row is kept, but should be known of."""
        self.noticed.setdefault(what, Cases()).add(place, count)

    def say(self, sentence: str) -> None:
        """Tell something of the whole."""
        self.said.append(sentence)

    def put_aside(self, reason: str, place: str = "", count: int = 1) -> None:
        """A sound row is left out because a setting says so."""
        self.set_aside.setdefault(reason, Cases()).add(place, count)

    def sift(self, filter: str, place: str = "", count: int = 1) -> None:
        """A record that a source gave is held back by a filter."""
        self.sifted.setdefault(filter, Cases()).add(place, count)

    @property
    def aside(self) -> int:
        return sum(cases.count for cases in self.set_aside.values())

    @property
    def left_out(self) -> int:
        """Rows that cannot be used."""
        return sum(cases.count for cases in self.dropped.values())

    @property
    def unexplained(self) -> int:
        """Rows that were read and neither kept, dropped nor set aside for a reason: always 0, or the source has a bug."""
        return self.read - self.kept - self.left_out - self.aside

    def lines(self) -> list[str]:
        """For a reader, the commonest reason first."""
        return lines_of(self.row())

    def row(self) -> dict[str, Any]:
        """As plain data."""
        kinds: dict[str, dict[str, Cases]] = {name: getattr(self, name) for name in _KINDS}
        told = {kind: {reason: vars(cases) for reason, cases in reasons.items()} for kind, reasons in kinds.items()}
        return {"read": self.read, "kept": self.kept, **told, "said": list(self.said)}

    def check(self, share: float) -> None:
        """Raise if rows are unaccounted for, or if more than this share was left out."""
        if self.unexplained:
            raise TallyError(
                f"{self.unexplained} of {self.read} rows were neither kept nor dropped for a reason: a bug in the source"
            )
        if self.left_out > share * self.read:
            raise TallyError(
                f"{self.left_out} of {self.read} rows cannot be used, more than intake.dropped = {share:g} allows:\n"
                + "\n".join(self.lines())
            )


_VERBS = {"dropped": "dropped", "set_aside": "set aside", "noticed": "noticed", "sifted": "filtered out"}


def lines_of(row: Mapping[str, Any]) -> list[str]:
    """A tally that was kept as plain data, for a reader."""
    told = [f"{row['read']:,} rows read, {row['kept']:,} kept"] if row.get("read") else []
    for kind, verb in _VERBS.items():
        common = sorted(row.get(kind, {}).items(), key=lambda item: -item[1]["count"])
        told += [f"  {verb} {reason}: {Cases(**cases)}" for reason, cases in common]
    return told + [f"  {sentence}" for sentence in row.get("said", ())]
