"""How good a judge is, and in which way it is not: each figure with its interval, over prompts.

Order consistency, position bias and ties need nothing but its verdicts in both orders; agreement needs somebody to agree with,
gold or people; self-preference needs to know which replies are the judge's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from alignzoo.lab.statistics import Estimate, bootstrap
from alignzoo.tally import Tally
from alignzoo_rlaif.judging import Case, Verdict

Figures = dict[str, Estimate]


@dataclass(frozen=True)
class Judged:
    """A case, what the judge said of it, and what else is known."""

    case: Case
    verdict: Verdict
    gold: float | None = None
    """The probability that the first reply is better, as gold or people have it."""
    own: int | None = None
    """Which reply the judge itself wrote: 0 for the first, 1 for the second."""


def measured(judged: Sequence[Judged]) -> Figures:
    """All that can be said of these verdicts; what cannot be, is not there."""
    told = {
        "order consistency": _mean(judged, lambda one: float(one.verdict.consistent)),
        "tie rate": _mean(judged, lambda one: float(one.verdict.label == 0.5)),
        "position bias": _mean(judged, position_bias),
        "lean to the first place": _mean(judged, lean),
        "unreadable": _mean(judged, lambda one: one.verdict.unread / 2),
        "agreement": _mean(judged, agreement),
        "accuracy in either order": _mean(judged, accuracy),
        "self-preference": _mean(judged, self_preference),
    }
    return {name: estimate for name, estimate in told.items() if estimate is not None}


def position_bias(one: Judged) -> float:
    """Whether the same place wins in both orders (Lee et al. 2023 find 18 to 56 %)."""
    return float(one.verdict.contradictory)


def lean(one: Judged) -> float:
    """By how much the judge prefers whatever is shown first, from -1 to 1: probability of the first place over both orders,
    less that of the second."""
    return one.verdict.shown_first - one.verdict.shown_second


def agreement(one: Judged) -> float | None:
    """Whether the verdict is gold's: a tie of the judge's counts one half; pairs that are ties to gold tell nothing."""
    if one.gold is None or one.gold == 0.5:
        return None
    return _right(one.verdict.label, one.gold)


def accuracy(one: Judged) -> float | None:
    """The mean over both orders of whether each, taken alone, is right: what papers print as a judge's accuracy."""
    if one.gold is None or one.gold == 0.5:
        return None
    return (_right(one.verdict.shown_first, one.gold) + _right(one.verdict.shown_second, one.gold)) / 2


def self_preference(one: Judged) -> float | None:
    """How much likelier the judge finds its own reply to be the better one than gold does; where gold is silent, than one
    half."""
    if one.own is None:
        return None
    gap = one.verdict.probability - (0.5 if one.gold is None else one.gold)
    return gap if one.own == 0 else -gap


def lines(judged: Sequence[Judged]) -> list[str]:
    """For a reader: one figure a line."""
    return [f"{name}: {estimate}" for name, estimate in measured(judged).items()]


def tell(tally: Tally, cases: Sequence[Case], verdicts: Sequence[Verdict]) -> None:
    """What a source that has asked a judge says of it: its figures, and contradictions and unreadable words by count."""
    for verdict in verdicts:
        if verdict.contradictory:
            tally.notice("the judge contradicts itself when the order is turned: a tie")
        if verdict.unread:
            tally.notice("the judge's word could not be read", count=verdict.unread)
    judged = [Judged(case, verdict) for case, verdict in zip(cases, verdicts, strict=True)]
    for line in lines(judged) if judged else ():
        tally.say(f"judge, {line}")


def of(cases: Iterable[Case], verdicts: Iterable[Verdict], gold: Iterable[float | None]) -> list[Judged]:
    """Cases, verdicts and gold side by side."""
    return [Judged(*one) for one in zip(cases, verdicts, gold, strict=True)]


def _right(said: float, gold: float) -> float:
    return 0.5 if said == 0.5 else float((said > 0.5) == (gold > 0.5))


def _mean(judged: Sequence[Judged], figure: Callable[[Judged], float | None]) -> Estimate | None:
    """The mean over prompts, with the interval of resampled prompts: pairs of one prompt hang together."""
    groups: dict[str, list[float]] = {}
    for one in judged:
        if (value := figure(one)) is not None:
            groups.setdefault(one.case.prompt.id, []).append(value)
    return bootstrap(groups) if groups else None


def table(figures: Mapping[str, Figures]) -> str:
    """Markdown: judges in columns, figures in rows."""
    names = list(dict.fromkeys(name for told in figures.values() for name in told))
    head = f"| | {' | '.join(figures)} |"
    rows = [f"| {n} | {' | '.join(str(told[n]) if n in told else '' for told in figures.values())} |" for n in names]
    return "\n".join([head, f"|{'---|' * (len(figures) + 1)}", *rows])
