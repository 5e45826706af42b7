"""Curves of a run: one panel for each figure, whatever rows hold."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from core.learn.curves import draw_curves

SVG = "{http://www.w3.org/2000/svg}"


def test_every_figure_has_a_panel_and_every_row_a_point(tmp_path: Path) -> None:
    rows = [{"iteration": 10, "loss": 2.0}, {"iteration": 20, "loss": 1.0, "correlation <a>": 0.5}]
    draw_curves(rows, tmp_path / "curves.svg")
    root = ElementTree.parse(tmp_path / "curves.svg").getroot()
    lines = [line.attrib["points"].split() for line in root.iter(f"{SVG}polyline")]
    assert [len(points) for points in lines] == [1, 2]
    first, second = (tuple(map(float, point.split(","))) for point in lines[1])
    assert first[0] < second[0] and first[1] < second[1]  # later is further right, a lower loss lower down
    assert any(text.text == "correlation <a>" for text in root.iter(f"{SVG}text"))


def test_a_run_without_rows_still_has_a_picture(tmp_path: Path) -> None:
    draw_curves([], tmp_path / "curves.svg")
    ElementTree.parse(tmp_path / "curves.svg")
