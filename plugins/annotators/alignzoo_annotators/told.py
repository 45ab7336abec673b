"""A survey in words, for people at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from alignzoo.cli.table import table
from alignzoo.lab.statistics import Estimate
from alignzoo_annotators.section import Group, Person, Section

T = TypeVar("T")
NOTHING = "–"

PEOPLE: dict[str, Callable[[Person], str]] = {
    "ANNOTATOR": lambda one: one.name,
    "GROUP": lambda one: one.group,
    "JUDGED": lambda one: f"{one.judgements:,}",
    "SHARED": lambda one: f"{one.shared:,}",
    "AGREES": lambda one: interval(one.agreement),
    "KAPPA": lambda one: number(one.kappa),
    "FIRST": lambda one: interval(one.first),
    "LONGER": lambda one: interval(one.longer),
    "DAWID-SKENE": lambda one: number(one.dawid_skene),
    "CROWD-BT": lambda one: number(one.crowd_bt),
    "GOLD": lambda one: interval(one.gold),
    "MEAN": lambda one: number(one.mean),
}
GROUPS: dict[str, Callable[[Group], str]] = {
    "GROUP": lambda one: one.name,
    "PEOPLE": lambda one: f"{one.people}",
    "JUDGED": lambda one: f"{one.judgements:,}",
    "WITHIN": lambda one: interval(one.within),
    "ACROSS": lambda one: interval(one.across),
    "CEILING": lambda one: interval(one.ceiling),
    "LONGER": lambda one: interval(one.longer),
    "GOLD": lambda one: interval(one.gold),
}


def lines_of(section: Section) -> Iterator[str]:
    """The whole, then everybody, then the groups."""
    twice = f"{section.shared:,} judged twice or more"
    yield f"{section.of or 'choices'}: {section.judgements:,} judgements of {section.items:,} items, {twice}"
    for count, what in ((section.ties, "ties"), (section.nameless, NAMELESS), (section.repeated, REPEATED)):
        if count:
            yield f"  {count:,} {what}"
    yield ""
    yield from whole(section)
    if section.people:
        yield from ("", columns(PEOPLE, section.people))
    if section.groups:
        yield from ("", columns(GROUPS, section.groups))
    if len(section.groups) > 1 and section.between:
        yield from ("", "agreement between groups:")
        yield from (f"  {pair}: {agreed:.3f}" for pair, agreed in section.between.items())


NAMELESS = "name no annotator and count nowhere below"
REPEATED = "by somebody who had judged the same before; the first one counts"


def whole(section: Section) -> Iterator[str]:
    """The figures of all together, each with what it means where it cannot be told."""
    if not section.shared:
        yield "no two annotators judged the same item: nobody can tell how far they agree, or whom to rely on"
    else:
        yield f"agreement of two: {interval(section.agreement)}"
        if section.lenient:
            yield f"  a tie being half of it: {interval(section.lenient)}"
        yield f"Fleiss's kappa: {interval(section.fleiss_kappa, UNDEFINED)}"
        for level, alpha in section.alpha.items():
            yield f"Krippendorff's alpha ({level}): {interval(alpha, UNDEFINED)}"
    for figure, what in (
        (section.ceiling, "a perfect judge would agree with one choice"),
        (section.first, "the answer shown first is chosen"),
        (section.longer, "the longer answer is chosen"),
        (section.gold, "agreement with the gold subset"),
    ):
        if figure:
            yield f"{what}: {interval(figure)}"


UNDEFINED = "undefined: everybody always says the same"


def columns(what: dict[str, Callable[[T], str]], rows: Sequence[T]) -> str:
    """A table without the columns in which nothing is known."""
    known = {head: [shown(row) for row in rows] for head, shown in what.items()}
    kept = {head: cells for head, cells in known.items() if set(cells) - {NOTHING, ""}}
    return table(list(kept), list(zip(*kept.values(), strict=True)))


def interval(figure: Estimate | None, missing: str = NOTHING) -> str:
    return missing if figure is None else f"{figure.mean:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def number(figure: float | None) -> str:
    return NOTHING if figure is None else f"{figure:.3f}"
