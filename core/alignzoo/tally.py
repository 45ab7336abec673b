"""What a feedback source came across: rows read and kept, and each row left out or odd, by reason, with the first places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_PLACES = 3
"""Places that are named for each reason."""


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
    filtered: dict[str, Cases] = field(default_factory=dict)
    """Rows that are as they should be, and that a rule of the source, as it is set, leaves aside. They are no reason to
    refuse: of a million votes it may be that a thousand tell anything."""
    noticed: dict[str, Cases] = field(default_factory=dict)
    """Rows that were kept although there is something odd about them."""
    said: list[str] = field(default_factory=list)
    """What a source has to say of all that it read, a sentence each."""

    def drop(self, reason: str, place: str = "", count: int = 1) -> None:
        """A row that was read is left out."""
        self.dropped.setdefault(reason, Cases()).add(place, count)

    def set_aside(self, rule: str, place: str = "", count: int = 1) -> None:
        """Nothing is wrong with a row, but a rule of the source does not take it."""
        self.filtered.setdefault(rule, Cases()).add(place, count)

    def notice(self, what: str, place: str = "", count: int = 1) -> None:
        """A row is kept, but should be known of."""
        self.noticed.setdefault(what, Cases()).add(place, count)

    def say(self, sentence: str) -> None:
        """Tell something of the whole."""
        self.said.append(sentence)

    @property
    def left_out(self) -> int:
        """Rows that cannot be used."""
        return sum(cases.count for cases in self.dropped.values())

    @property
    def unexplained(self) -> int:
        """Rows that were read and neither kept, dropped nor filtered: always 0, or the source has a bug."""
        return self.read - self.kept - self.left_out - sum(cases.count for cases in self.filtered.values())

    def lines(self) -> list[str]:
        """For a reader, the commonest reason first."""
        told = [f"{self.read:,} rows read, {self.kept:,} kept"] if self.read else []
        for verb, reasons in (("dropped", self.dropped), ("filtered", self.filtered), ("noticed", self.noticed)):
            common = sorted(reasons.items(), key=lambda item: -item[1].count)
            told += [f"  {verb} {reason}: {cases}" for reason, cases in common]
        return told + [f"  {sentence}" for sentence in self.said]

    def row(self) -> dict[str, Any]:
        """As plain data."""
        kinds = {"dropped": self.dropped, "filtered": self.filtered, "noticed": self.noticed}
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
