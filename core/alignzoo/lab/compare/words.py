"""A comparison as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from alignzoo.lab.compare.comparison import Comparison, Line, Side
from alignzoo.lab.compare.duels import OPEN
from alignzoo.lab.compare.footing import listed
from alignzoo.lab.compare.hearing import Hearing
from alignzoo.lab.compare.jury import Liking
from alignzoo.lab.compare.whose import Whose
from alignzoo.lab.report import UNASKED, WHOSE
from alignzoo.lab.statistics import Estimate
from alignzoo.lab.strange import in_markdown, on_one_line

SPENT = {
    "labels": "labels",
    "scores": "scores",
    "tokens": "tokens",
    "flops": "FLOPs",
    "seconds": "seconds",
    "peak_bytes": "peak MiB",
}
"""What a contestant has spent, and what the column is called."""
_SHOWN = 6
"""Prompts whose answers are shown; the page has more."""
NOTES = """\
Rewards are the judge's on the test prompts. Intervals are 95 %, for other seeds and other prompts; two contestants are compared
by their differences at the same seed and prompt, and p-values are held to one family (Holm). A win is an answer that scores
above the other's to the same prompt; a tie is half of one. KL is in nats per answer, from the start. What was spent has an
interval where it varies from seed to seed."""
FITS = """\
α and β have the standard errors of their fit to these points, in which the chance of each point (its interval) is not counted.
Where gold is highest follows from both and has no interval of its own."""

_BAR = "\\|"
"""One that ends no cell."""

Rows = tuple[Sequence[str], Sequence[Sequence[str]]]
"""The head of a table, and its rows."""


def told(estimate: Estimate | None, places: int = 3) -> str:
    """A figure for a reader."""
    if estimate is None:
        return "not known"
    if math.isnan(estimate.mean):
        return "–"
    if math.isnan(estimate.low):
        return f"{estimate.mean:.{places}f}"
    return f"{estimate.mean:.{places}f} [{estimate.low:.{places}f}, {estimate.high:.{places}f}]"


def cost(name: str, found: Estimate) -> str:
    """What was spent of something, in the unit of its column."""
    unit, how = {"peak_bytes": (2**20, ",.0f"), "flops": (1, ".3g"), "seconds": (1, ",.1f")}.get(name, (1, ",.0f"))
    return within(Estimate(*(end / unit for end in (found.mean, found.low, found.high))), how)


def within(found: Estimate, how: str) -> str:
    """A cost with its interval; where both ends read as the cost does there is nothing to add."""
    told, *ends = (f"{end:{how}}" for end in (found.mean, found.low, found.high))
    return told if math.isnan(found.low) or set(ends) == {told} else f"{told} [{', '.join(ends)}]"


def markdown(found: Comparison) -> str:
    """The whole comparison."""
    parts = [f"# {on_one_line(found.name)}", f"**{on_one_line(found.answer())}**"]
    if found.cautions:
        parts.append(_list([f"Caution: {caution}." for caution in found.cautions]))
    parts += [_table(*leaderboard(found)), NOTES]
    if found.duels:
        parts += ["## Who is better than whom", _table(*verdicts(found))]
    if found.ranks:
        rows = [(rank.name, told(rank.rating, 0)) for rank in found.ranks]
        parts += ["## On one scale", _table(("contestant", "rating (400 points are odds of ten to one)"), rows)]
    if found.hearing:
        parts += [f"## {DUELS}", _list(heard(found.hearing)), _table(*decided(found.hearing))]
        parts += [_table(*scales(found))] if found.hearing.ranks else []
    if len(found.lines[0].values) > 0:
        parts += ["## The values apart", _table(*apart(found))]
    if found.jury:
        parts += [f"## {JURY}", LIKED, _list(liked(found.jury)), _table(*likes(found.jury))]
    parts += ["## Beside the reward", _table(*beside(found))]
    if found.whose:
        parts += [f"## {WHOSE}", asked_of(found.whose), _table(*opinions(found.whose))]
        parts += ["\n".join(f"* {line}" for line in lines)] if (lines := served(found.whose)) else []
    if (chosen := strengths(found))[1]:
        parts += [f"## {STRENGTHS}", _table(*chosen), CHOSEN]
    if found.fits:
        parts += ["## Going too far", _table(*limits(found)), FITS]
    for note in found.notes:
        parts.append(f"## {on_one_line(note.title)}")
        parts += [_list(note.lines)] if note.lines else []
        parts += [_table(note.head, note.rows)] if note.rows else []
    if found.noticed:
        parts += ["## What was noticed on the way", _list(found.noticed)]
    for asked in found.asked[:_SHOWN]:
        parts += ["## Answers side by side"] if asked is found.asked[0] else []
        answers = [(said.who, f"{said.score:.2f}", said.text) for said in asked.said]
        parts += [f"### {on_one_line(asked.prompt)}", _table(("who", "score", "answer"), answers)]
    if found.command:
        parts += ["## How this was made", f"Made again with `{on_one_line(found.command)}`", _table(*making(found))]
    return in_markdown("\n\n".join(parts) + "\n")


def making(found: Comparison) -> Rows:
    head = ("contestant", "seeds", "made with", "on")
    return head, [
        (one.name, ", ".join(map(str, one.seeds)), one.versions, "; ".join(one.machines) or "not known") for one in found.made
    ]


def leaderboard(found: Comparison) -> Rows:
    served = all(line.served for line in found.lines)
    head = ("contestant", "seeds", "reward", "gain", "KL", *SPENT.values(), *(("FLOPs an answer",) if served else ()))
    rows = []
    for line in found.lines:
        spent = [cost(name, line.spent[name]) if name in line.spent else "–" for name in SPENT]
        row = [line.name, _seeds(line), told(line.reward), told(line.gain), told(line.kl, 2), *spent]
        rows.append([*row, cost("flops", line.served["flops"])] if served and line.served else row)
    blank = ["–"] * (len(head) - 3)
    return head, [*rows, ["the start", "", told(found.start.reward), *blank]]


def verdicts(found: Comparison) -> Rows:
    head = ("verdict", "difference", "p", "wins", "wins at equal length")
    rows = [
        (duel.told(), told(duel.difference), chance(duel.adjusted), told(duel.wins, 2), told(duel.wins_at_equal_length, 2))
        for duel in found.duels
    ]
    return head, rows


DUELS = "Shown two answers at a time"
"""What an umpire says."""


def heard(hearing: Hearing) -> list[str]:
    """Who was asked, and how far the order of the answers decided."""
    orders = hearing.orders
    lines = [
        f"{hearing.told()}. A win is the mean of both orders: what is owed to the place cancels; a tie is half of one",
        f"order consistency (the same answer wins in both orders): {told(orders.consistent, 2)}",
        f"position bias (the same place wins in both orders): {told(orders.biased, 2)}; "
        f"lean to the first place, from -1 to 1: {told(orders.lean, 2)}",
    ]
    if hearing.alike.mean:
        lines.append(f"pairs whose two answers are the same, a tie that nobody is asked about: {told(hearing.alike, 2)}")
    if orders.unread.mean:
        lines.append(f"verdicts that could not be read, and count as one half: {told(orders.unread, 3)}")
    return lines


def decided(hearing: Hearing) -> Rows:
    head = ("verdict", "wins", "p", "wins at equal length", "order consistency")
    return head, [
        (
            one.duel.told(),
            told(one.duel.wins, 2),
            chance(one.duel.adjusted),
            told(one.duel.wins_at_equal_length, 2),
            told(one.orders.consistent, 2),
        )
        for one in hearing.pairs
    ]


def scales(found: Comparison) -> Rows:
    """The umpire's ratings, beside those of scores. The start is only in the one: 1000 is another mean in each."""
    scored = {rank.name: told(rank.rating, 0) for rank in found.ranks}
    ranks = found.hearing.ranks if found.hearing else ()
    return ("contestant", "rating by these duels", "rating by scores"), [
        (rank.name, told(rank.rating, 0), scored.get(rank.name, "–")) for rank in ranks
    ]


def chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def apart(found: Comparison) -> Rows:
    names = list(found.lines[0].values)
    rows = [[line.name, *(told(line.values[name]) for name in names)] for line in found.lines]
    return ("contestant", *names), [*rows, ["the start", *(told(found.start.values[name]) for name in names)]]


JURY = "Whom the jury likes better"
LIKED = """\
How much more often a juror prefers the first's answers to the start's than the second's, at the same seed and prompt. All
pairs of all jurors are one family of p-values (Holm), apart from the judge's: his verdicts are the same without a jury."""


def liked(jury: Sequence[Liking]) -> list[str]:
    """For each juror, whom it likes better than whom."""
    lines = []
    for juror in dict.fromkeys(one.juror for one in jury):
        over: dict[str, list[str]] = {}
        for one in (one for one in jury if one.juror == juror and one.verdict != OPEN):
            better, worse = (one.first, one.second) if one.verdict == "first" else (one.second, one.first)
            over.setdefault(better, []).append(worse)
        said = "; ".join(f"{better} better than {listed(worse)}" for better, worse in over.items())
        lines.append(f"{juror} likes {said}" if said else f"{juror} likes nobody better than another for certain")
    return lines


def likes(jury: Sequence[Liking]) -> Rows:
    """Every pair by every juror."""
    return ("juror", "verdict", "difference", "p"), [
        (one.juror, one.told(), told(one.difference), chance(one.adjusted) if one.seeds else "–") for one in jury
    ]


def beside(found: Comparison) -> Rows:
    head = ("contestant", "words an answer", "different pairs of words", "declines", "comes to an end")
    sides: list[tuple[str, Line | Side]] = [*((line.name, line) for line in found.lines), ("the start", found.start)]
    return head, [
        [name, told(side.words, 1), told(side.distinct, 2), told(side.refuses, 2), told(side.ended, 2)] for name, side in sides
    ]


AGREES = """\
How often a contestant agrees with choices of each group that nobody learned from: it has made the chosen answer likelier than
the rejected one, beside the start. One half is no opinion. What became of the answers themselves is told value by value."""


def asked_of(found: Whose) -> str:
    """What it means that groups agree, or how to ask them."""
    return AGREES if found.choices or not found.alike else UNASKED


def opinions(found: Whose) -> Rows:
    """A column for each group, and what each contestant learned of it."""
    head = [f"{group or 'no group is told'} agree" for group in found.choices]
    rows = []
    for one in found.opinions:
        learned = ", ".join(f"{count:,.0f} {group}".strip() for group, count in one.learned.items()) or "–"
        agrees = [told(one.agrees.get(group)) if one.agrees else "no log-probabilities" for group in found.choices]
        rows.append([one.name, learned, *agrees])
    last = ["choices held back, a seed", "", *(f"{count:,.0f}" for count in found.choices.values())]
    return ("contestant", "judgements learned from", *head), [*rows, last] if found.choices else rows


def served(found: Whose) -> list[str]:
    """For each group, who agrees with it more often than whom."""
    lines = [] if found.alike else ["not all were asked about the same choices; those that all were asked about count"]
    for group in found.choices:
        over: dict[str, list[str]] = {}
        for one in (one for one in found.apart if one.group == group and one.separable):
            ahead, behind = (one.first, one.second) if one.difference.mean > 0 else (one.second, one.first)
            ends = sorted(abs(end) for end in (one.difference.low, one.difference.high))
            over.setdefault(ahead, []).append(f"{behind} by {abs(one.difference.mean):.3f} [{ends[0]:.3f}, {ends[1]:.3f}]")
        said = "; ".join(f"{ahead} more often than {', '.join(behind)}" for ahead, behind in over.items())
        name = group or "those whose group is not told"
        lines.append(f"with {name} agrees {said}" if said else f"with {name} nobody agrees more often than another for certain")
    return lines


def limits(found: Comparison) -> Rows:
    head = ("contestant", "law (Gao et al. 2022)", "α ± its error", "β ± its error", "gold is highest at")
    return head, list(_limits(found))


STRENGTHS = "The best of so many"
CHOSEN = """\
KL by the formula log n − (n − 1)/n, which is too high where answers score alike; and an estimate from their scores."""


def strengths(found: Comparison) -> Rows:
    """What is chosen and not trained: how far from the start the best of n answers is, by formula and by estimate."""
    head = ("contestant", "n", "KL by formula", "KL estimated", "proxy", "reward")
    return head, [
        (name, str(at.n), f"{at.kl.mean:.2f}", told(at.kl_estimated, 2), told(at.proxy), told(at.gold))
        for name, way in found.ways.items()
        for at in way
        if at.n > 1
    ]


def _limits(found: Comparison) -> Iterator[Sequence[str]]:
    for name, fit in found.fits.items():
        farthest = max(point.kl.mean for point in found.ways[name])
        seen = fit.beta > 0 and fit.peak.kl <= farthest
        peak = f"{fit.peak.kl:.3g} nats" if seen else f"nowhere: it still rises where the points end, at {farthest:.3g} nats"
        yield name, fit.law, *(f"{value:.3g} ± {error:.2g}" for value, error in fit.coefficients), peak


def _seeds(line: Line) -> str:
    return f"{line.seeds} ({len(line.failures)} failed)" if line.failures else str(line.seeds)


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"* {on_one_line(line)}" for line in lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(on_one_line(cell).replace('|', _BAR) for cell in row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
