"""Curves of a run as a small SVG: the figures that fall and rise while it goes. Knows no training.

A plotting library would be a heavy dependency for one picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 640, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 26, 24
_COLOURS = ("#1b6ca8", "#c1440e", "#3b7a57", "#7a3b78", "#8a6d00", "#444444")


def draw_curves(rows: Sequence[dict[str, float]], path: Path) -> None:
    """Write one panel for each figure that the rows have, against `iteration`.

    Args:
        rows: each with `iteration` and any other numbers; a figure may be absent from some.
        path: the SVG.
    """
    names = sorted({name for row in rows for name, value in row.items() if isinstance(value, int | float)})
    names = [name for name in names if name != "iteration"]
    longest = max((row["iteration"] for row in rows), default=1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {max(1, len(names)) * _HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="100%" height="{max(1, len(names)) * _HEIGHT}" fill="white"/>',
    ]
    for number, name in enumerate(names):
        points = [(row["iteration"], row[name]) for row in rows if name in row and math.isfinite(row[name])]
        parts += _panel(name, points, longest, number * _HEIGHT, _COLOURS[number % len(_COLOURS)])
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def _panel(name: str, points: list[tuple[float, float]], longest: float, top: int, colour: str) -> list[str]:
    low, high = min((y for _, y in points), default=0.0), max((y for _, y in points), default=1.0)
    span = (high - low) or 1.0
    bottom = top + _HEIGHT - _BOTTOM

    def place(point: tuple[float, float]) -> str:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * point[0] / longest
        y = bottom - (_HEIGHT - _TOP - _BOTTOM) * (point[1] - low) / span
        return f"{x:.1f},{y:.1f}"

    return [
        f'<text x="{_LEFT}" y="{top + 16}" fill="{colour}">{escape(name)}</text>',
        f'<line x1="{_LEFT}" y1="{bottom}" x2="{_WIDTH - _RIGHT}" y2="{bottom}" stroke="#999"/>',
        f'<text x="{_LEFT - 6}" y="{bottom}" text-anchor="end">{low:.3g}</text>',
        f'<text x="{_LEFT - 6}" y="{top + _TOP + 6}" text-anchor="end">{high:.3g}</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="{bottom + 14}" text-anchor="end">{longest:g} iterations</text>',
        f'<polyline fill="none" stroke="{colour}" points="{" ".join(place(point) for point in points)}"/>',
    ]
