"""A comparison as one HTML file: nothing is fetched, light or dark as the reader has it, on a phone and on paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.resources import files

import tomli_w

from alignzoo.lab.compare.comparison import Comparison
from alignzoo.lab.compare.duels import OPEN, Duel
from alignzoo.lab.compare.frontier import NOWHERE, Point, least_kl
from alignzoo.lab.compare.gao import Fit
from alignzoo.lab.compare.pictures import COLOURS, DASHES, Series, ladder, svg
from alignzoo.lab.compare.words import (
    CHOSEN,
    DUELS,
    FITS,
    JURY,
    LIKED,
    NOTES,
    STRENGTHS,
    apart,
    asked_of,
    beside,
    chance,
    decided,
    heard,
    leaderboard,
    liked,
    likes,
    limits,
    making,
    opinions,
    scales,
    served,
    strengths,
    told,
)
from alignzoo.lab.report import WHOSE
from alignzoo.lab.strange import in_page

_MOST_RUNS = 40
"""Contestants whose settings are shown in full, and whose verdicts are told where the pointer rests."""
_KEY = """\
Bands are 95 % intervals, for other seeds and other prompts. A point lies at the mean over seeds of its KL, or of its cost.
Dotted: the fitted law, from where it holds."""
COSTS = {"labels": "labels", "flops": "FLOPs", "seconds": "seconds in updates"}


def page(found: Comparison) -> str:
    """The whole report."""
    data = files("alignzoo.lab.compare")
    style, script = (data.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    parts = [
        f"<h1>{in_page(found.name)}</h1>",
        f'<p class="answer">{in_page(found.answer())}</p>',
        *(f'<p class="caution">Caution: {in_page(caution)}.</p>' for caution in found.cautions),
        _section("leaderboard", "Leaderboard", _ladder(found) + _table(*leaderboard(found)) + f"<p>{in_page(NOTES)}</p>"),
        *_sections(found),
        _section("answers", "Answers side by side", _answers(found)),
        _section("findings", "What was noticed on the way", _list(found.noticed) or "<p>Nothing.</p>"),
        _section("provenance", "How this was made", _provenance(found)),
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{in_page(found.name)}</title>"
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{style}</style></head>\n<body><main>\n'
        + "\n".join(parts)
        + f"\n</main><script>{script}</script></body></html>\n"
    )


def _sections(found: Comparison) -> Iterator[str]:
    """What is only there where there is something to show."""
    if found.duels:
        yield _section("verdicts", "Who is better than whom", _matrix(found))
    if found.ranks:
        rows = [(rank.name, told(rank.rating, 0)) for rank in found.ranks]
        yield _section("scale", "On one scale", _table(("contestant", "rating; 400 points are odds of ten to one"), rows))
    if found.hearing:
        told_of = _list(heard(found.hearing)) + _table(*decided(found.hearing))
        yield _section("duels", DUELS, told_of + (_table(*scales(found)) if found.hearing.ranks else ""))
    if pictures := _pictures(found):
        yield _section("frontier", "Reward against distance and cost", pictures)
    if (chosen := strengths(found))[1]:
        yield _section("strengths", STRENGTHS, _table(*chosen) + f"<p>{in_page(CHOSEN)}</p>")
    if found.fits:
        yield _section("limits", "Going too far", _table(*limits(found)) + f"<p>{in_page(FITS)}</p>")
    if found.lines[0].values:
        yield _section("values", "The values apart", _table(*apart(found)))
    if found.jury:
        told_of = f"<p>{in_page(LIKED)}</p>" + _list(liked(found.jury))
        pairs = f"<details><summary>Pair by pair</summary>{_table(*likes(found.jury))}</details>"
        yield _section("jury", JURY, told_of + pairs)
    yield _section("beside", "Beside the reward", _table(*beside(found)))
    if found.whose:
        told_of = f"<p>{in_page(asked_of(found.whose))}</p>" + _table(*opinions(found.whose)) + _list(served(found.whose))
        yield _section("whose", WHOSE, told_of)
    for number, note in enumerate(found.notes):
        yield _section(f"note-{number}", note.title, _list(note.lines) + (_table(note.head, note.rows) if note.rows else ""))


def _section(name: str, title: str, body: str) -> str:
    return f'<section id="{name}"><h2>{in_page(title)}</h2>{body}</section>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heads = "".join(f"<th>{in_page(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{in_page(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


# Pictures -----------------------------------------------------------------------------------------------------------------


def _ladder(found: Comparison) -> str:
    rewards = [(line.name, line.reward) for line in found.lines]
    return f'<figure class="ladder">{ladder(rewards, found.start.reward)}</figure>'


def _pictures(found: Comparison) -> str:
    """Gold against KL, proxy against KL where it is known, and gold against each cost."""
    ways = {name: list(way) for name, way in found.ways.items() if len(way) > 1}
    if not ways:
        return ""
    names = [line.name for line in found.lines]
    pictures = [_curves(names, "Reward by distance from the start", "KL (nats per answer)", "reward", ways, "kl", found.fits)]
    if proxied := {name: way for name, way in ways.items() if all(point.proxy is not None for point in way)}:
        pictures.append(_curves(names, "What was raised, by distance", "KL (nats per answer)", "proxy", proxied, "kl"))
    for cost, title in COSTS.items():
        if moved := {name: way for name, way in ways.items() if way[-1].n == 0 and getattr(way[-1], cost) > 0}:
            pictures.append(_curves(names, f"Reward by {title}", title, "reward", moved, cost))
    figures = "".join(f'<figure tabindex="0">{picture}</figure>' for picture in pictures)
    return f'<p>{_KEY}</p><div class="figures">{figures}</div>'


def _curves(
    names: Sequence[str],
    title: str,
    x_name: str,
    y_name: str,
    ways: Mapping[str, Sequence[Point]],
    by: str,
    fits: Mapping[str, Fit] | None = None,
) -> str:
    """One picture; whoever it is has the same colour and dashes in all of them."""
    series = []
    for name, way in ways.items():
        place, points = names.index(name), sorted(way, key=partial(_along, by))
        look = (COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)])
        x = [_along(by, point) for point in points]
        y = [point.proxy for point in points if point.proxy] if y_name == "proxy" else [point.gold for point in points]
        law = _law(fits[name], points) if fits and name in fits else ()
        series.append(Series(name, x, [at.mean for at in y], [at.low for at in y], [at.high for at in y], *look, law))
    return svg(title, x_name, y_name, series)


def _along(by: str, point: Point) -> float:
    """Where a point lies: its KL, or one of its costs."""
    return point.kl.mean if by == "kl" else float(getattr(point, by))


def _law(fit: Fit, points: Sequence[Point]) -> list[tuple[float, float]]:
    """The fitted reward, over the distances that it was fitted to."""
    start = next(point.gold.mean for point in points if point.kl.mean < NOWHERE)
    near = min(point.kl.mean for point in points if point.kl.mean > least_kl(fit.law))
    steps = [near + (points[-1].kl.mean - near) * step / 24 for step in range(25)]
    return [(kl, start + fit.at(kl)) for kl in steps]


def _matrix(found: Comparison) -> str:
    """Each row against each column: ▲ better, ▼ worse, ≈ not separable; the whole verdict on touching it."""
    names = [line.name for line in found.lines]
    head = "".join(f"<th><span>{in_page(name)}</span></th>" for name in names)
    rows = []
    for name in names:
        cells = []
        for other in names:
            if name == other:
                cells.append('<td class="self"></td>')
                continue
            duel = found.between(name, other)
            sign, kind = "≈", "open"
            if duel.verdict != OPEN:
                better = (duel.verdict == "first") == (duel.first == name)
                sign, kind = ("▲", "better") if better else ("▼", "worse")
            title = f' title="{in_page(_in_words(duel))}"' if len(names) <= _MOST_RUNS else ""
            cells.append(f'<td class="{kind}"{title}>{sign}</td>')
        rows.append(f"<tr><th>{in_page(name)}</th>{''.join(cells)}</tr>")
    key = "<p>▲ the row is better than the column; ▼ it is worse; ≈ not separable.</p>"
    told_of = "".join(
        f"<li>{in_page(duel.told())}: {in_page(told(duel.difference))}, p {chance(duel.adjusted)}</li>" for duel in found.duels
    )
    body = f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    matrix = f'<div class="wide"><table class="matrix">{body}</table></div>'
    return f"{key}{matrix}<details><summary>In words</summary><ul>{told_of}</ul></details>"


def _in_words(duel: Duel) -> str:
    return f"{duel.told()}; difference {told(duel.difference)}, p {chance(duel.adjusted)}, wins {told(duel.wins, 2)}"


# Words --------------------------------------------------------------------------------------------------------------------


def _answers(found: Comparison) -> str:
    parts = ['<p><input id="filter" type="search" placeholder="only prompts and answers with …" aria-label="filter"></p>']
    for asked in found.asked:
        rows = "".join(
            f"<tr><th>{in_page(said.who)}</th><td>{said.score:.2f}</td><td>{in_page(said.text)}</td></tr>"
            for said in asked.said
        )
        parts.append(f'<details class="asked" open><summary>{in_page(asked.prompt)}</summary><table>{rows}</table></details>')
    return "".join(parts)


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{in_page(line)}</li>' for line in lines)}</ul>" if lines else ""


def _provenance(found: Comparison) -> str:
    parts = [f"<p>Made again with</p><pre>{in_page(found.command)}</pre>", _table(*making(found))]
    if found.hearing:
        settings = in_page(tomli_w.dumps({"duels": dict(found.hearing.settings)}))
        parts.append(f"<details><summary>who decided the duels</summary><pre>{settings}</pre></details>")
    for one in found.made[:_MOST_RUNS]:
        told = f"{one.name}: settings, versions and digests of seed {one.seeds[0]}"
        settings = in_page(tomli_w.dumps(dict(one.settings)))
        parts.append(f"<details><summary>{in_page(told)}</summary><pre>{settings}</pre></details>")
    return "".join(parts)
