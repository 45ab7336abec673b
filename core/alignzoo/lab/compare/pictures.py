"""Curves with their intervals, as plain SVG: whole by itself, and at home in a dark page (lines and words take its colour; the
white behind them is of class "paper")."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from alignzoo.lab.statistics import Estimate
from alignzoo.lab.strange import in_page

WIDTH, HEIGHT = 640, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 40, 52
LETTERS = 18
"""Of a name."""
COLOURS = ("#0b7fb0", "#cf5a24", "#3f8f30", "#8a63c2", "#a08000", "#c2427f", "#2f9a94", "#7a7a7a")
"""Read on white and on near-black."""
DASHES = ("", "7 3", "2 3")
"""Of the first, second and third contestant of a colour."""


@dataclass(frozen=True)
class Series:
    """A curve: its places, values, and the ends of the intervals."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: str = ""
    """Its own, to be the same in several pictures; without it the next one."""
    dashes: str = ""
    """Where colours come round again: how it differs from the other of its colour ("6 3")."""
    law: Sequence[tuple[float, float]] = ()
    """A curve that was fitted to it, drawn dotted."""


@dataclass(frozen=True)
class Axis:
    """From numbers to places on the page."""

    least: float
    most: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.least) / ((self.most - self.least) or 1.0) * (self.stop - self.start)

    @property
    def step(self) -> float:
        """From one tick to the next: 1, 2 or 5 of some power of ten, so that there are four to nine of them."""
        rough = (self.most - self.least) / 5 or 1.0
        power = 10.0 ** math.floor(math.log10(rough))
        return power * max(nice for nice in (1, 2, 5) if nice * power <= rough * (1 + 1e-9))  # a logarithm is rounded

    def ticks(self) -> list[float]:
        first, last = math.ceil(self.least / self.step - 1e-9), math.floor(self.most / self.step + 1e-9)
        return [self.step * number for number in range(first, last + 1)]

    def told(self, tick: float) -> str:
        """A tick in words, as exact as it must be to differ from the next."""
        if max(abs(self.least), abs(self.most)) >= 1e6:
            return f"{tick:.3g}".replace("e+", "e")
        return f"{tick:,.{max(0, -math.floor(math.log10(self.step) + 1e-9))}f}"


def svg(title: str, x_name: str, y_name: str, series: Sequence[Series]) -> str:
    """The picture: a line and a shaded interval for each series, its name at its end."""
    xs = Axis(min(min(s.x) for s in series), max(max(s.x) for s in series), LEFT, WIDTH - RIGHT)
    heights = [y for s in series for y in (*s.y, *s.low, *s.high, *(y for _, y in s.law)) if math.isfinite(y)]
    ys = Axis(min(heights), max(heights), HEIGHT - BOTTOM, TOP)
    names = _apart([ys(s.y[-1]) for s in series])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" class="paper" fill="white"/>',
        _text(LEFT, 22, title, "start", 'font-size="14" fill="currentColor"'),
        *_frame(xs, ys),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_name, "middle"),
        _text(16, HEIGHT / 2, y_name, "middle", f'transform="rotate(-90 16 {HEIGHT / 2:g})" fill="currentColor"'),
    ]
    for curve, place, next_one in zip(series, names, COLOURS * len(series), strict=False):
        colour = curve.colour or next_one
        parts += ['<g class="curve">', *_curve(curve, colour, xs, ys)]
        parts += [_text(WIDTH - RIGHT + 8, place + 4, _brief(curve.name), "start", f'fill="{colour}"'), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def ladder(rows: Sequence[tuple[str, Estimate]], start: Estimate) -> str:
    """Each figure with its interval on a line of its own, the start's dashed, its interval behind them: narrow, to be read on a
    phone."""
    figures = [start, *(found for _, found in rows)]
    ends = [end for found in figures for end in (found.low, found.high, found.mean) if math.isfinite(end)]
    left, right, foot = 166, 424, 24 * len(rows) + 24
    at = Axis(min(ends), max(ends), left, right)
    begun, anchor = at(start.mean), "start" if at(start.mean) < (left + right) / 2 else "end"
    parts = [f'<svg viewBox="0 0 440 {foot + 20}" role="img" font-family="sans-serif" font-size="12">']
    if math.isfinite(start.low):
        parts.append(_behind(at(start.low), at(start.high), foot))
    parts += [
        _text(begun, 12, f"start {start.mean:.3f}", anchor),
        _upright(begun, foot, 'stroke-opacity="0.6" stroke-dasharray="4 4"'),
    ]
    for tick in at.ticks()[:: 1 + len(at.ticks()) // 6]:
        parts += [_text(at(tick), foot + 16, at.told(tick), "middle"), _upright(at(tick), foot, 'stroke-opacity="0.12"')]
    for row, (name, found) in enumerate(rows):
        y = 30 + 24 * row
        parts.append(_text(left - 10, y + 4, _brief(name), "end"))
        if math.isfinite(found.low):
            parts.append(f'<path d="M{at(found.low):.1f} {y}H{at(found.high):.1f}" stroke="currentColor" stroke-width="2"/>')
        parts.append(f'<circle cx="{at(found.mean):.1f}" cy="{y}" r="4.5" class="dot"/>')
    return "".join([*parts, "</svg>"])


def _behind(left: float, right: float, foot: float) -> str:
    sides = f'x="{left:.1f}" y="16" width="{right - left:.1f}" height="{foot - 16}"'
    return f'<rect class="start" {sides} fill="currentColor" fill-opacity="0.07"/>'


def _upright(x: float, foot: float, more: str) -> str:
    return f'<path d="M{x:.1f} 16V{foot}" stroke="currentColor" {more}/>'


def _curve(curve: Series, colour: str, xs: Axis, ys: Axis) -> Iterator[str]:
    """Its interval, its line and its points."""
    around = [*zip(curve.x, curve.low, strict=True), *reversed(list(zip(curve.x, curve.high, strict=True)))]
    if all(math.isfinite(y) for _, y in around):
        yield f'<polygon points="{_points(around, xs, ys)}" fill="{colour}" fill-opacity="0.12"/>'
    line = _points(zip(curve.x, curve.y, strict=True), xs, ys)
    dashes = f' stroke-dasharray="{curve.dashes}"' if curve.dashes else ""
    yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
    if curve.law:
        law = _points(curve.law, xs, ys)
        yield f'<polyline class="law" points="{law}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="1 4"/>'
    for x, y in zip(curve.x, curve.y, strict=True):
        told = in_page(f"{curve.name}: {x:.4g}, {y:.4g}")
        yield f'<circle cx="{xs(x):.1f}" cy="{ys(y):.1f}" r="2.5" fill="{colour}"><title>{told}</title></circle>'


def _frame(xs: Axis, ys: Axis) -> list[str]:
    lines = [
        f'<path d="M{LEFT} {ys(tick):.1f}H{WIDTH - RIGHT}" stroke="currentColor" stroke-opacity="0.15"/>' for tick in ys.ticks()
    ]
    lines += [_text(LEFT - 8, ys(tick) + 4, ys.told(tick), "end") for tick in ys.ticks()]
    return lines + [_text(xs(tick), HEIGHT - BOTTOM + 18, xs.told(tick), "middle") for tick in xs.ticks()]


def _points(pairs: Iterable[tuple[float, float]], xs: Axis, ys: Axis) -> str:
    return " ".join(f"{xs(x):.1f},{ys(y):.1f}" for x, y in pairs)


def _apart(heights: Sequence[float], least: float = 14) -> list[float]:
    """Names that would lie on one another, moved down; up again, all that must be, where the last would leave the picture."""
    order = sorted(range(len(heights)), key=lambda place: heights[place])
    placed: list[float] = []
    for place in order:
        placed.append(max(heights[place], placed[-1] + least) if placed else heights[place])
    for number in range(len(placed)):
        lowest = HEIGHT - 6 - least * number
        placed[-1 - number] = min(placed[-1 - number], lowest)
    return [placed[order.index(place)] for place in range(len(heights))]


def _brief(name: str) -> str:
    """As much of a name as there is room for; the tables have the whole."""
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"


def _text(x: float, y: float, said: str, anchor: str, more: str = 'fill="currentColor"') -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{in_page(said)}</text>'
