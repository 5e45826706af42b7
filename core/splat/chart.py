"""The plot of docs/splatting.md: time of a picture against Gaussians, a line for each resolution, as a small SVG.

Knows no clock and no kernels; a plotting library would be a heavy dependency for one picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 640, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 110, 40, 52
_COLOURS = ("#1b6ca8", "#c1440e", "#3b7a57", "#7a3b78", "#8a6d00", "#444444")


class Timed(Protocol):
    """One measured picture; `core.splat.benchmark.SplatResult` is one."""

    @property
    def resolution(self) -> int:
        """Side in pixels."""

    @property
    def gaussians(self) -> int:
        """How many."""

    @property
    def forward_ms(self) -> float:
        """Forward alone."""

    @property
    def forward_backward_ms(self) -> float:
        """Forward and backward."""

    @property
    def backend(self) -> str:
        """What drew."""

    @property
    def threads(self) -> int:
        """On how many threads."""


def draw_times(results: Sequence[Timed], path: Path) -> None:
    """Write the SVG: logarithmic axes; full lines forward + backward, dashed ones forward alone.

    Raises:
        ValueError: no results, or a time that is not positive.
        OSError: the file can't be written.
    """
    if not results or any(result.forward_ms <= 0 or result.forward_backward_ms <= 0 for result in results):
        raise ValueError("a plot needs results with positive times")
    times = [time for result in results for time in (result.forward_ms, result.forward_backward_ms)]
    x = _Axis([float(result.gaussians) for result in results], _LEFT, _WIDTH - _RIGHT)
    y = _Axis(times, _HEIGHT - _BOTTOM, _TOP)
    first = results[0]
    title = f"Time of a picture, {first.backend}, {first.threads} threads"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 22, title, 14),
        *(_grid_line(x, tick, vertical=True) for tick in x.ticks()),
        *(_grid_line(y, tick, vertical=False) for tick in y.ticks()),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 12, "Gaussians", 12, "middle"),
        _text(_LEFT, _TOP - 6, "milliseconds (dashed: forward alone)", 11),
    ]
    for number, resolution in enumerate(sorted({result.resolution for result in results})):
        line = sorted((r for r in results if r.resolution == resolution), key=lambda r: r.gaussians)
        colour = _COLOURS[number % len(_COLOURS)]
        both = [(x.at(r.gaussians), y.at(r.forward_backward_ms)) for r in line]
        forward = [(x.at(r.gaussians), y.at(r.forward_ms)) for r in line]
        parts += [_line(both, colour, ""), _line(forward, colour, ' stroke-dasharray="4 4"')]
        parts.append(_text(both[-1][0] + 8, both[-1][1] + 4, f"{resolution} px", 12, fill=colour))
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


class _Axis:
    """A logarithmic axis over whole decades' 1, 2 and 5 around the values."""

    def __init__(self, values: list[float], start: float, end: float) -> None:
        self._low, self._high = math.log10(min(values)) - 0.05, math.log10(max(values)) + 0.05
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """Where a value lies, in SVG units."""
        return self._start + (math.log10(value) - self._low) / (self._high - self._low) * (self._end - self._start)

    def ticks(self) -> list[float]:
        """1, 2 and 5 of every decade that the axis covers; the ones alone where that is more than ten."""
        decades = range(math.floor(self._low), math.ceil(self._high) + 1)
        all_ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
        seen = [tick for tick in all_ticks if self._low <= math.log10(tick) <= self._high]
        ones = [tick for tick in seen if math.log10(tick) == round(math.log10(tick))]
        return seen if len(seen) <= 10 else ones


def _grid_line(axis: _Axis, tick: float, *, vertical: bool) -> str:
    place = axis.at(tick)
    label = f"{tick / 1000:g}k" if vertical and tick >= 1000 else f"{tick:g}"
    if vertical:
        x1, y1, x2, y2 = place, float(_TOP), place, float(_HEIGHT - _BOTTOM)
        text = _text(place, _HEIGHT - _BOTTOM + 16, label, 11, "middle")
    else:
        x1, y1, x2, y2 = float(_LEFT), place, float(_WIDTH - _RIGHT), place
        text = _text(_LEFT - 6, place + 4, label, 11, "end")
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>{text}'


def _line(points: list[tuple[float, float]], colour: str, extra: str) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"{extra}/>'


def _text(x: float, y: float, text: str, size: int, anchor: str = "start", fill: str = "#222") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"'
    return f"<text {place}>{escape(text)}</text>"
