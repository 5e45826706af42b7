"""The moving parts of the picture: sheets that part at the lips only, warps that invert, lids that close."""

from __future__ import annotations

import numpy as np
import pytest

from core.sample import Sample
from core.sample.expression import INNER_LOWER, INNER_UPPER, Face, build_sheet
from core.sample.generate import prepare
from core.sample.geometry import project
from core.sample.renderer import Pose, Renderer, _inverse

SIZE = 256


@pytest.fixture(scope="module")
def renderer(made: Sample) -> Renderer:
    del made  # it skips where the model is absent
    return prepare(SIZE, 0)


@pytest.mark.parametrize("jaw", [0.0, 0.004, 0.012])
def test_lips_touch_when_they_are_told_to_whatever_the_jaw_does(renderer: Renderer, jaw: float) -> None:
    points = renderer.landmarks_of(Face(jaw, 0.0, 0.0, 0.0, 0.0))
    for above, below in zip(INNER_UPPER[2:-2], INNER_LOWER[2:-2], strict=True):
        line = points[[above, below]]
        assert abs(line[0, 1] - line[1, 1]) < 0.0012
    assert np.linalg.norm(points[13] - points[14]) < 0.001


def test_lips_part_as_far_as_the_jaw_drops(renderer: Renderer) -> None:
    openings = []
    for jaw in (0.0, 0.004, 0.008, 0.012):
        points = renderer.landmarks_of(Face(jaw, 1.0, 0.0, 0.0, 0.0))
        openings.append(float(np.linalg.norm(points[13] - points[14])))
    assert np.all(np.diff(openings) > 0.003)


def test_rounding_narrows_and_spreading_widens_the_mouth(renderer: Renderer) -> None:
    def width(wide: float) -> float:
        points = renderer.landmarks_of(Face(0.004, 1.0, wide, 0.0, 0.0))
        return float(np.linalg.norm(points[61] - points[291]))

    assert width(-1.0) < 0.92 * width(0.0) < width(0.0) < 0.95 * width(1.0)


def test_both_sheets_move_alike_beyond_the_corners(renderer: Renderer) -> None:
    head, mouth = renderer.head, renderer.mouth
    cheek = head.points.reshape(-1, 3)
    cheek = cheek[np.abs(cheek[:, 0] - mouth.middle) > 1.02 * mouth.half][::37]
    face = Face(0.012, 1.0, 0.5, 0.0, 0.0)
    upper, lower = (build_sheet(cheek, mouth, head.landmarks, side).displaced(face) for side in (True, False))
    contact = mouth.contact(cheek[:, 0])
    level = np.abs(cheek[:, 1] - contact) < 0.004
    assert level.sum() > 20
    assert np.abs(upper - lower)[level].max() < 2e-4


def test_the_warp_inverts_the_projection(renderer: Renderer) -> None:
    """Source positions that the renderer looks up, projected forward again, land on the pixel they were for."""
    turn = np.array([[0.9848, 0, 0.1736], [0, 1, 0], [-0.1736, 0, 0.9848]])
    shift = np.array([0.0, 0.0, 0.01])
    pose = Pose(turn @ renderer.head.rotation, turn @ (renderer.head.translation - [0, 0, 0.75]) + [0, 0, 0.75] + shift,
                (0.0, 0.0))  # fmt: skip
    patch = renderer.upper_patch
    moved = project(renderer.upper_sheet.displaced(Face(0.008, 1.0, 0.0, 0.0, 0.0)), pose.rotation, pose.translation,
                    renderer.head.camera)  # fmt: skip
    source = _inverse(np.asarray(moved - patch.pixels, np.float32), patch.pixels, renderer.whole)
    rows, columns = np.nonzero(renderer.portrait.head_alpha > 0.9)
    place = source[rows, columns] - 0.5
    inside = (place > 1).all(1) & (place < SIZE - 2).all(1)
    landed = moved[np.round(place[inside, 1]).astype(int), np.round(place[inside, 0]).astype(int)]
    rounding = place[inside] - np.round(place[inside])
    error = np.linalg.norm(landed + rounding - (np.stack([columns, rows], 1)[inside] + 0.5), axis=1)
    assert np.median(error) < 0.1
    assert np.percentile(error, 99) < 0.6


def test_a_blink_covers_the_iris_with_skin(renderer: Renderer) -> None:
    head = renderer.head
    pose = Pose(head.rotation, head.translation, (0.0, 0.0))
    wide_open, shut = (renderer.render(Face(0.0, 0.0, 0.0, 0.0, blink), pose) for blink in (0.0, 1.0))
    iris = renderer.pixels[468].astype(int)
    window = np.s_[iris[1] - 1 : iris[1] + 2, iris[0] - 1 : iris[0] + 2]
    assert wide_open.picture[window].mean() < 0.4
    assert shut.picture[window].mean() > 1.3 * wide_open.picture[window].mean()
    gaps = [abs(frame.landmarks[159, 1] - frame.landmarks[145, 1]) for frame in (wide_open, shut)]
    assert gaps[0] > 4 > 1 > gaps[1]
