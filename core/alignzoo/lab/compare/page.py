"""A comparison as one HTML file: nothing is fetched, light or dark as the reader has it, on a phone and on paper."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import islice

import tomli_w

from alignzoo.lab import store
from alignzoo.lab.compare.comparison import Comparison, Line
from alignzoo.lab.compare.duels import OPEN, Entrant
from alignzoo.lab.compare.frontier import Point
from alignzoo.lab.compare.pictures import COLOURS, Series, svg
from alignzoo.lab.compare.words import NOTES, apart, beside, chance, leaderboard, limits, told
from alignzoo.records import prompt_from_row

_SHOWN = 24
"""Prompts whose answers are shown."""
_LONGEST = 700
"""Letters of an answer."""
_MOST_RUNS = 40
"""Contestants whose settings are shown in full."""
COSTS = {"labels": "labels", "flops": "FLOPs", "seconds": "seconds in updates"}


def page(found: Comparison, entrants: Sequence[Entrant], command: str) -> str:
    """The whole report."""
    data = files("alignzoo.lab.compare")
    style, script = (data.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    parts = [
        f"<h1>{escape(found.name)}</h1>",
        f'<p class="answer">{escape(found.answer())}</p>',
        *(f'<p class="caution">Caution: {escape(caution)}.</p>' for caution in found.cautions),
        _section("leaderboard", "Leaderboard", _rewards(found) + _table(*leaderboard(found)) + f"<p>{escape(NOTES)}</p>"),
        *_sections(found),
        _section("answers", "Answers side by side", _answers(entrants, found.prompts)),
        _section("findings", "What was noticed on the way", _findings(found, entrants)),
        _section("provenance", "How this was made", _provenance(entrants, command)),
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{escape(found.name)}</title>"
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
    if pictures := _pictures(found):
        yield _section("frontier", "Reward against distance and cost", pictures)
    if found.fits:
        yield _section("limits", "Going too far", _table(*limits(found)))
    if found.lines[0].values:
        yield _section("values", "The values apart", _table(*apart(found)))
    yield _section("beside", "Beside the reward", _table(*beside(found)))
    for number, note in enumerate(found.notes):
        lines = f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in note.lines)}</ul>" if note.lines else ""
        yield _section(f"note-{number}", note.title, lines + (_table(note.head, note.rows) if note.rows else ""))


def _section(name: str, title: str, body: str) -> str:
    return f'<section id="{name}"><h2>{escape(title)}</h2>{body}</section>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


# Pictures -----------------------------------------------------------------------------------------------------------------


def _rewards(found: Comparison) -> str:
    """Every reward with its interval, on one line each, the start dashed."""
    ends = [end for line in found.lines for end in (line.reward.low, line.reward.high, line.reward.mean) if math.isfinite(end)]
    low, high = min(*ends, found.start.reward.mean), max(*ends, found.start.reward.mean)
    step, left, right = 26, 190, 620
    height = step * len(found.lines) + 34

    def at(value: float) -> float:
        return left + (value - low) / ((high - low) or 1.0) * (right - left)

    begun = at(found.start.reward.mean)
    parts = [f'<figure tabindex="0"><svg viewBox="0 0 640 {height}" role="img" font-size="12" fill="currentColor">']
    parts.append(f'<path d="M{begun:.1f} 4V{height - 26}" stroke="currentColor" stroke-dasharray="4 4" stroke-opacity="0.6"/>')
    parts.append(f'<text x="{begun:.1f}" y="{height - 10}" text-anchor="middle">start {found.start.reward.mean:.3f}</text>')
    for row, line in enumerate(found.lines):
        y = 18 + step * row
        parts.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(_short(line))}</text>')
        if math.isfinite(line.reward.low):
            ends_at = f"M{at(line.reward.low):.1f} {y}H{at(line.reward.high):.1f}"
            parts.append(f'<path d="{ends_at}" stroke="currentColor" stroke-width="2"/>')
        parts.append(f'<circle cx="{at(line.reward.mean):.1f}" cy="{y}" r="4.5" class="dot"/>')
    return "".join([*parts, "</svg></figure>"])


def _short(line: Line) -> str:
    return line.name if len(line.name) <= 26 else f"{line.name[:25]}…"


def _pictures(found: Comparison) -> str:
    """Gold against KL, proxy against KL where it is known, and gold against each cost."""
    ways = {name: list(way) for name, way in found.ways.items() if len(way) > 1}
    if not ways:
        return ""
    colours = dict(zip((line.name for line in found.lines), COLOURS * len(found.lines), strict=False))
    pictures = [_curves("Reward by distance from the start", "KL (nats per answer)", "reward", ways, "kl", colours)]
    if proxied := {name: way for name, way in ways.items() if all(point.proxy is not None for point in way)}:
        pictures.append(_curves("What was raised, by distance", "KL (nats per answer)", "proxy", proxied, "kl", colours))
    for cost, title in COSTS.items():
        if moved := {name: way for name, way in ways.items() if way[-1].n == 0 and getattr(way[-1], cost) > 0}:
            pictures.append(_curves(f"Reward by {title}", title, "reward", moved, cost, colours))
    figures = "".join(f'<figure tabindex="0">{picture}</figure>' for picture in pictures)
    return f'<div class="figures">{figures}</div>'


def _curves(
    title: str, x_name: str, y_name: str, ways: Mapping[str, Sequence[Point]], by: str, colours: Mapping[str, str]
) -> str:
    series = []
    for name, way in ways.items():
        points = sorted(way, key=lambda point: getattr(point, by))
        x = [float(getattr(point, by)) for point in points]
        if y_name == "proxy":
            y = [point.proxy for point in points if point.proxy is not None]
            series.append(Series(name, x, y, y, y, colours[name]))
        else:
            gold = [point.gold for point in points]
            series.append(Series(name, x, [g.mean for g in gold], [g.low for g in gold], [g.high for g in gold], colours[name]))
    return svg(title, x_name, y_name, series)


def _matrix(found: Comparison) -> str:
    """Each row against each column: ▲ better, ▼ worse, ≈ not separable; the whole verdict on touching it."""
    names = [line.name for line in found.lines]
    head = "".join(f"<th><span>{escape(name)}</span></th>" for name in names)
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
            words = f"{duel.told()}; difference {told(duel.difference)}, p {chance(duel.adjusted)}, wins {told(duel.wins, 2)}"
            cells.append(f'<td class="{kind}" title="{escape(words)}">{sign}</td>')
        rows.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")
    key = "<p>▲ the row is better than the column; ▼ it is worse; ≈ not separable.</p>"
    told_of = "".join(
        f"<li>{escape(duel.told())}: {escape(told(duel.difference))}, p {chance(duel.adjusted)}</li>" for duel in found.duels
    )
    body = f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    matrix = f'<div class="wide"><table class="matrix">{body}</table></div>'
    return f"{key}{matrix}<details><summary>In words</summary><ul>{told_of}</ul></details>"


# Words --------------------------------------------------------------------------------------------------------------------


def _answers(entrants: Sequence[Entrant], prompts: Sequence[str]) -> str:
    """Some prompts, spread over the test set so that they are not chosen by their outcome: what each contestant says first
    under its first seed, and the start."""
    some = set(prompts[:: max(1, len(prompts) // _SHOWN)][:_SHOWN])
    shown: dict[str, list[tuple[str, str, float]]] = {prompt: [] for prompt in prompts if prompt in some}
    asked: dict[str, str] = {}
    for number, entrant in enumerate(one for one in entrants if one.runs):
        folder = store.Folder(entrant.runs[0].folder)
        for answer, score in zip(store.read_rows(folder.answers), store.read_rows(folder.scores), strict=True):
            if score["prompt"] not in some or score["number"] or (number and score["who"] == "start"):
                continue
            asked.setdefault(score["prompt"], prompt_from_row(answer["prompt"]).text)
            who = "the start" if score["who"] == "start" else entrant.name
            shown[score["prompt"]].append((who, answer["completion"]["text"], score["score"]))
    parts = ['<p><input id="filter" type="search" placeholder="only prompts and answers with …" aria-label="filter"></p>']
    for prompt, said in shown.items():
        rows = "".join(
            f"<tr><th>{escape(who)}</th><td>{score:.2f}</td><td>{escape(_cut(text))}</td></tr>" for who, text, score in said
        )
        parts.append(
            f'<details class="asked" open><summary>{escape(_cut(asked[prompt]))}</summary><table>{rows}</table></details>'
        )
    return "".join(parts)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _findings(found: Comparison, entrants: Sequence[Entrant]) -> str:
    """Warnings of trainings, what was left out of feedback, and who is missing."""
    lines = [f"{name}: no finished run. {'; '.join(why)}" for name, why in found.lost.items() if why]
    for one in entrants:
        lines += [f"{one.name}, a run that failed: {why}" for why in (one.failures if one.runs else ())]
        lines += [f"{one.name}, seed {run.seed}: {warning}" for run in one.runs for warning in run.warnings]
        if one.trials:
            lines.append(f"{one.name}: tuned in {one.trials} trials; {json.dumps(dict(one.tuned or {}))}")
        first = next((run for run in one.runs if run.tally), None)
        if first is not None:
            lines.append(f"{one.name}, its feedback (seed {first.seed}): {json.dumps(first.tally, ensure_ascii=False)}")
    if not lines:
        return "<p>Nothing.</p>"
    return f"<ul>{''.join(f'<li>{escape(_cut(line))}</li>' for line in lines)}</ul>"


def _provenance(entrants: Sequence[Entrant], command: str) -> str:
    parts = [f"<p>Made again with</p><pre>{escape(command)}</pre>"]
    for one in islice((one for one in entrants if one.runs), _MOST_RUNS):
        run = one.runs[0]
        seeds = ", ".join(str(seed) for seed in one.seeds)
        parts.append(
            f"<details><summary>{escape(one.name)}: seeds {seeds}; settings, versions and digests of seed {run.seed}</summary>"
            f"<pre>{escape(tomli_w.dumps(dict(run.settings)))}</pre></details>"
        )
    return "".join(parts)
