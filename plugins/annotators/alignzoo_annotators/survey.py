"""Everything that can be said of those who judged: how many, how far they agree, what draws them, whom to rely on, by person
and by group.

    for section in survey(read_feedback(Path("feedback.jsonl"))):
        print("\\n".join(lines_of(section)))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from statistics import fmean

import numpy as np

from alignzoo.lab.statistics import Estimate, ceiling_of_agreement, wilson
from alignzoo.records import Feedback
from alignzoo.who import Who, WhoError
from alignzoo_annotators.agreement import (
    Level,
    Numbers,
    agreement,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    resampled,
)
from alignzoo_annotators.dawid_skene import Places, dawid_skene
from alignzoo_annotators.merged import by_crowd_bt, by_dawid_skene
from alignzoo_annotators.section import Group, Person, Section
from alignzoo_annotators.sheet import SIDES, Judgement, Sheet, judgements_in, once_each, plain_names, scale_of

HALF = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.5], [0.0, 0.5, 1.0]])
"""How far two choices are the same if a tie is half of either."""
SMOOTHING = 0.5
"""Of the habits that Dawid and Skene's method finds, as in the filter."""
FEW = 10
"""Scores up to which habits are looked for: there are as many as the square of it for each person."""

Interval = Callable[[Callable[[Numbers], float | None], Numbers, Places], Estimate | None]


def survey(
    records: Iterable[Feedback], who: Who = Who(), gold: Iterable[Feedback] = (), resamples: int = 1000, seed: int = 0
) -> list[Section]:
    """A section for choices, and one for each value that answers were scored on."""
    given, ours = list(judgements_in(records, who)), list(judgements_in(gold, who))
    if not given:
        raise WhoError("there is no judgement in this feedback: annotators compare, rank or rate")
    truth = {one.item: one.value for one in reversed(ours)}
    if ours and not any(one.item in truth for one in given):
        raise WhoError(
            f"none of the {len(truth)} gold judgements is of something that is judged here: same prompts and answers?"
        )
    parts: dict[str, list[Judgement]] = {}
    for one in given:
        parts.setdefault(one.on, []).append(one)
    interval = partial(resampled, resamples=resamples, seed=seed)
    return [section(on, part, truth, interval) for on, part in sorted(parts.items())]


def section(on: str, given: Sequence[Judgement], truth: Mapping[str, float], interval: Interval) -> Section:
    """Everything of one sort."""
    named = plain_names(given)
    once = once_each(named)
    sheet = Sheet.of(once, SIDES if not on else scale_of(once))
    laid = sheet if on else sheet.both_ways()
    counts, met = laid.counts(), meetings(sheet)
    ties = sum(one.value == 0.5 for one in given) if not on else 0
    levels: tuple[Level, ...] = ("ordinal", "interval") if on else ("nominal",)
    return Section(
        of=on,
        judgements=len(given),
        items=len({one.item for one in given}),
        shared=int((sheet.counts().sum(1) > 1).sum()),
        ties=ties,
        nameless=len(given) - len(named),
        repeated=len(named) - len(once),
        agreement=interval(agreement, counts, laid.prompts),
        lenient=interval(partial(agreement, alike=HALF), counts, laid.prompts) if ties else None,
        fleiss_kappa=interval(fleiss_kappa, counts, laid.prompts),
        alpha={
            level: interval(partial(krippendorff_alpha, values=laid.values, level=level), counts, laid.prompts)
            for level in levels
        },
        ceiling=None if on else interval(ceiling, counts, laid.prompts),
        first=share(one.chose_first for one in once),
        longer=share(one.chose_longer for one in once),
        gold=agreement_with(truth, once),
        people=tuple(persons(on, once, sheet, met, truth, interval)),
        groups=tuple(groups(on, once, met, truth, interval)),
        between=between(once, met),
    )


def meetings(sheet: Sheet) -> list[tuple[int, int]]:
    """Numbers of judgements, two by two, of two people about the same item."""
    of_item: dict[int, list[int]] = {}
    for number, item in enumerate(sheet.items.tolist()):
        of_item.setdefault(item, []).append(number)
    return [pair for numbers in of_item.values() for pair in combinations(numbers, 2)]


def persons(
    on: str,
    once: Sequence[Judgement],
    sheet: Sheet,
    met: Sequence[tuple[int, int]],
    truth: Mapping[str, float],
    interval: Interval,
) -> Iterator[Person]:
    """Every annotator, the busiest first."""
    own: dict[str, list[Judgement]] = {}
    for one in once:
        own.setdefault(one.annotator, []).append(one)
    with_others: dict[str, list[tuple[int, int]]] = {}
    for i, j in met:
        with_others.setdefault(once[i].annotator, []).append((i, j))
        with_others.setdefault(once[j].annotator, []).append((j, i))
    habits, meant = reliability(on, sheet, bool(met))
    for name, judged in sorted(own.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        pairs = with_others.get(name, [])
        yield Person(
            name=name,
            group=judged[0].group,
            judgements=len(judged),
            shared=len({i for i, _ in pairs}),
            agreement=alike(once, pairs, interval),
            kappa=cohen_kappa(together(sheet, pairs, both_ways=not on)),
            first=share(one.chose_first for one in judged),
            longer=share(one.chose_longer for one in judged),
            dawid_skene=habits.get(name) if pairs else None,
            crowd_bt=meant.get(name) if pairs else None,
            gold=agreement_with(truth, judged),
            mean=fmean(one.value for one in judged) if on else None,
        )


def groups(
    on: str, once: Sequence[Judgement], met: Sequence[tuple[int, int]], truth: Mapping[str, float], interval: Interval
) -> Iterator[Group]:
    """Every group that is named, the busiest first."""
    own: dict[str, list[Judgement]] = {}
    for one in once:
        own.setdefault(one.group, []).append(one)
    for name, judged in sorted(own.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        if not name:
            continue
        sheet = Sheet.of(judged, SIDES if not on else scale_of(judged))
        inside = [(i, j) for i, j in met if once[i].group == once[j].group == name]
        outside = [(i, j) for i, j in met if (once[i].group == name) != (once[j].group == name)]
        yield Group(
            name=name,
            people=len(sheet.people),
            judgements=len(judged),
            within=alike(once, inside, interval),
            across=alike(once, outside, interval),
            ceiling=None if on else interval(ceiling, sheet.counts(), sheet.prompts),
            longer=share(one.chose_longer for one in judged),
            gold=agreement_with(truth, judged),
        )


def between(once: Sequence[Judgement], met: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Agreement of every two groups, and of each with itself."""
    same: dict[str, list[float]] = {}
    for i, j in met:
        if once[i].group and once[j].group:
            pair = ", ".join(sorted((once[i].group, once[j].group)))
            same.setdefault(pair, []).append(float(once[i].value == once[j].value))
    return {pair: fmean(hits) for pair, hits in sorted(same.items())}


# Single figures -------------------------------------------------------------------------------------------------------


def ceiling(counts: Numbers) -> float | None:
    """Of choices, without those that are ties."""
    agreed = agreement(counts[:, [0, 2]])
    return None if agreed is None else ceiling_of_agreement(agreed)


def share(answers: Iterable[bool | None]) -> Estimate | None:
    """How often it was so, of those of which it is known."""
    known = [answer for answer in answers if answer is not None]
    return wilson(sum(known), len(known))


def agreement_with(truth: Mapping[str, float], judged: Iterable[Judgement]) -> Estimate | None:
    """How often they say what the gold subset says."""
    both = [(one, truth[one.item]) for one in judged if one.item in truth]
    hits = [float(one.value == true) if one.on else 1 - abs(one.value - true) for one, true in both]
    return wilson(sum(hits), len(hits))


def alike(once: Sequence[Judgement], pairs: Sequence[tuple[int, int]], interval: Interval) -> Estimate | None:
    """How often these say the same; prompts are resampled."""
    prompts: dict[str, list[float]] = {}
    for i, j in pairs:
        prompts.setdefault(once[i].prompt, []).append(float(once[i].value == once[j].value))
    if not prompts:
        return None
    table = np.array([[sum(hits), len(hits)] for hits in prompts.values()])
    return interval(lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()), table, np.arange(len(table)))


def together(sheet: Sheet, pairs: Sequence[tuple[int, int]], both_ways: bool) -> Numbers:
    """[c, d]: how often one said c where the other said d."""
    table = np.zeros((len(sheet.values), len(sheet.values)))
    for i, j in pairs:
        table[sheet.labels[i], sheet.labels[j]] += 1
    return table + table[::-1, ::-1] if both_ways else table


def reliability(on: str, sheet: Sheet, met: bool) -> tuple[dict[str, float], dict[str, float]]:
    """By person: how likely the truth was said, and how likely a choice was meant. Nothing where no two people met, or where
    there are too many scores to have habits in."""
    if not met or len(sheet.values) > FEW:
        return {}, {}
    if on:
        found = dawid_skene(sheet.items, sheet.annotators, sheet.labels, len(sheet.values), smoothing=SMOOTHING)
        return dict(zip(sheet.people, found.right.tolist(), strict=True)), {}
    _, habits = by_dawid_skene(sheet, SMOOTHING)
    _, worth = by_crowd_bt(sheet)
    return (
        dict(zip(sheet.people, habits.right.tolist(), strict=True)),
        dict(zip(sheet.people, worth.reliability.tolist(), strict=True)),
    )
