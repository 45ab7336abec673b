"""Curves with their intervals, as plain SVG: whole by itself, and at home in a dark page (lines and words take its colour; the
white behind them is of class "paper")."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 40, 52
COLOURS = ("#0b7fb0", "#cf5a24", "#3f8f30", "#8a63c2", "#a08000", "#c2427f", "#2f9a94", "#7a7a7a")
"""Read on white and on near-black."""


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


@dataclass(frozen=True)
class Axis:
    """From numbers to places on the page."""

    least: float
    most: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.least) / ((self.most - self.least) or 1.0) * (self.stop - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        return [self.least + i * (self.most - self.least) / count for i in range(count + 1)]


def svg(title: str, x_name: str, y_name: str, series: Sequence[Series]) -> str:
    """The picture: a line and a shaded interval for each series, its name at its end."""
    xs = Axis(min(min(s.x) for s in series), max(max(s.x) for s in series), LEFT, WIDTH - RIGHT)
    heights = [y for s in series for y in (*s.y, *s.low, *s.high) if math.isfinite(y)]
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
        around = [*zip(curve.x, curve.low, strict=True), *reversed(list(zip(curve.x, curve.high, strict=True)))]
        if all(math.isfinite(y) for _, y in around):
            parts.append(f'<polygon points="{_points(around, xs, ys)}" fill="{colour}" fill-opacity="0.15"/>')
        line = _points(zip(curve.x, curve.y, strict=True), xs, ys)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in zip(curve.x, curve.y, strict=True):
            told = escape(f"{curve.name}: {x:.4g}, {y:.4g}")
            parts.append(f'<circle cx="{xs(x):.1f}" cy="{ys(y):.1f}" r="2.5" fill="{colour}"><title>{told}</title></circle>')
        parts.append(_text(WIDTH - RIGHT + 8, place + 4, curve.name, "start", f'fill="{colour}"'))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _frame(xs: Axis, ys: Axis) -> list[str]:
    lines = [
        f'<path d="M{LEFT} {ys(tick):.1f}H{WIDTH - RIGHT}" stroke="currentColor" stroke-opacity="0.15"/>' for tick in ys.ticks()
    ]
    lines += [_text(LEFT - 8, ys(tick) + 4, f"{tick:.2f}", "end") for tick in ys.ticks()]
    return lines + [_text(xs(tick), HEIGHT - BOTTOM + 18, f"{_short(tick)}", "middle") for tick in xs.ticks()]


def _short(number: float) -> str:
    return f"{number:.1f}" if number == 0 or 0.05 < abs(number) < 1000 else f"{number:.2g}"


def _points(pairs: Iterable[tuple[float, float]], xs: Axis, ys: Axis) -> str:
    return " ".join(f"{xs(x):.1f},{ys(y):.1f}" for x, y in pairs)


def _apart(heights: Sequence[float], least: float = 14) -> list[float]:
    """Names that would lie on one another, moved down."""
    placed: dict[int, float] = {}
    for place in sorted(range(len(heights)), key=lambda place: heights[place]):
        placed[place] = max([heights[place], *(other + least for other in placed.values())])
    return [placed[place] for place in range(len(heights))]


def _text(x: float, y: float, said: str, anchor: str, more: str = 'fill="currentColor"') -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(said)}</text>'
