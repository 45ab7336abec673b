"""What a survey tells: of each person, of each group, and of all judgements of one sort. What cannot be told is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from alignzoo.lab.statistics import Estimate


@dataclass(frozen=True)
class Person:
    """One annotator."""

    name: str
    group: str
    judgements: int
    shared: int
    """Those of items that somebody else judged, too."""
    agreement: Estimate | None
    """With the others, one at a time; prompts are resampled."""
    kappa: float | None
    """Cohen's, with the others taken for one."""
    first: Estimate | None
    """How often the answer shown first was chosen."""
    longer: Estimate | None
    """How often the longer answer was chosen."""
    dawid_skene: float | None
    """How likely the truth was said, by Dawid and Skene."""
    crowd_bt: float | None
    """η: how likely a choice was meant as it was made."""
    gold: Estimate | None
    mean: float | None
    """Mean score; None for choices."""


@dataclass(frozen=True)
class Group:
    """Annotators who have something in common."""

    name: str
    people: int
    judgements: int
    within: Estimate | None
    """How far two of the group agree."""
    across: Estimate | None
    """How far one of the group and one of another agree."""
    ceiling: Estimate | None
    """What a perfect judge of this group's choices would reach."""
    longer: Estimate | None
    gold: Estimate | None


@dataclass(frozen=True)
class Section:
    """All judgements of one sort: choices (`of` is empty), or scores of one value."""

    of: str
    judgements: int
    items: int
    shared: int
    """Items that two or more judged."""
    ties: int
    nameless: int
    """Judgements that name no annotator; they count nowhere else."""
    repeated: int
    """Judgements that the same person had given before; only the first one counts."""
    agreement: Estimate | None
    """Of two people about the same item; a tie agrees with a tie only."""
    lenient: Estimate | None
    """The same, a tie against a choice being half of agreement; None where nobody tied."""
    fleiss_kappa: Estimate | None
    alpha: Mapping[str, Estimate | None]
    """Krippendorff's, by level."""
    ceiling: Estimate | None
    """What a perfect judge of single choices would reach."""
    first: Estimate | None
    longer: Estimate | None
    gold: Estimate | None
    """Agreement with the gold subset; a tie against a choice is half of it."""
    people: tuple[Person, ...]
    groups: tuple[Group, ...]
    between: Mapping[str, float]
    """Agreement of two groups, by "one, other"."""

    def row(self) -> dict[str, Any]:
        """As plain data; null is what cannot be told."""
        return asdict(self)
