"""The face as a flat picture that stays in place while the head moves: each mesh triangle is laid out where it lies on
the canonical face seen from the front. What differs between two of a person's textures is light, expression, or
something before the face. Knows one picture at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from core.clip.canonical import canonical_face
from core.clip.landmarks import CHIN, FOREHEAD

SIDE = 96
"""Of a texture, in pixels; the face is 90 of them tall."""
_MARGIN = 3.0
_LEAST_SHOWN = 0.2
"""A triangle counts as seen if its picture has this share of its area from the front; turned away it has none."""

# fmt: off
EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
"""The lids' rims, closed lines."""
LENSES = (
    (70, 63, 105, 66, 107, 55, 193, 122, 196, 126, 47, 121, 120, 119, 118, 117, 111, 35, 124),
    (300, 293, 334, 296, 336, 285, 417, 351, 419, 355, 277, 350, 349, 348, 347, 346, 340, 265, 353),
)
"""From the brows to the cheek bones: where a pair of glasses' lenses lie."""
# fmt: on


@dataclass(frozen=True)
class Texture:
    """One frame's face, flat."""

    colours: npt.NDArray[np.uint8]
    """[96, 96, 3] sRGB."""
    shown: npt.NDArray[np.bool_]
    """[96, 96] whether this part of the face is turned to the camera."""


@dataclass(frozen=True)
class _Layout:
    corners: npt.NDArray[np.int64]
    """[96, 96, 3] the mesh vertices around each pixel."""
    weights: npt.NDArray[np.float32]
    """[96, 96, 3]"""
    triangle: npt.NDArray[np.int64]
    """[96, 96] its number, -1 outside the face."""
    areas: npt.NDArray[np.float64]
    """[898] signed, in texture pixels."""
    points: npt.NDArray[np.float64]
    """[468, 2] of the vertices."""


@cache
def _layout() -> _Layout:
    face = canonical_face()
    points = face.vertices[:, :2] * (1, -1)
    height = points[CHIN, 1] - points[FOREHEAD, 1]
    points = points * ((SIDE - 2 * _MARGIN) / height)
    points = points - (points[:, 0].mean(), points[FOREHEAD, 1]) + (SIDE / 2, _MARGIN)
    triangle = triangle_numbers(points, (SIDE, SIDE))
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    corners = face.triangles[np.maximum(triangle, 0)]
    weights = barycentric(points, corners, np.stack([x, y], -1)).astype(np.float32)
    one, two, three = (points[face.triangles[:, corner]] for corner in range(3))
    return _Layout(corners, weights, triangle.astype(np.int64), _cross(two - one, three - one), points)


def triangle_numbers(points: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    """[h, w] the mesh triangle at each pixel, -1 where none is; the mesh laid out with its vertices at [468, 2]."""
    numbers = np.full(shape, -1, np.int32)
    for number, corners in enumerate(points[canonical_face().triangles]):
        cv2.fillConvexPoly(numbers, _sixteenths(corners), (number,), cv2.LINE_8, 4)
    return numbers


def inside_lines(
    points: npt.NDArray[np.float64], lines: tuple[tuple[int, ...], ...], shape: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """[h, w] 1 inside any of the closed lines of vertices, which lie at [468, 2]; 0 elsewhere."""
    mask = np.zeros(shape, np.uint8)
    for line in lines:
        cv2.fillPoly(mask, [_sixteenths(points[list(line)])], (1,), cv2.LINE_8, 4)
    return mask


def barycentric(
    points: npt.NDArray[np.float64], corners: npt.NDArray[np.int64], here: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """[..., 3] weights of three `corners` [..., 3], vertices at [468, 2], whose mean is the place `here` [..., 2]."""
    a, b, c = (points[corners[..., one]] for one in range(3))
    whole = _cross(b - a, c - a)
    second, third = _cross(here - a, c - a) / whole, _cross(b - a, here - a) / whole
    return np.stack([1 - second - third, second, third], -1)


def _sixteenths(points: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """Places as OpenCV draws them with four bits below the pixel, whose middle is its zero."""
    return np.round((points - 0.5) * 16).astype(np.int32)


def _cross(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def face_texture(picture: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating]) -> Texture:
    """Lay out the face of a picture [S, S, 3] whose landmarks are [478, 2+] of its pixels."""
    layout = _layout()
    points = np.asarray(landmarks[:, :2], np.float64)
    tall = max(float(np.linalg.norm(points[FOREHEAD] - points[CHIN])), 1.0)
    scale = min(1.0, 1.3 * SIDE / tall)
    size = max(2, round(picture.shape[1] * scale)), max(2, round(picture.shape[0] * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    there = (points * scale).astype(np.float32)
    place = np.einsum("yxc,yxcd->yxd", layout.weights, there[layout.corners]) - 0.5
    colours = cv2.remap(small, place[..., 0], place[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    one, two, three = (points[canonical_face().triangles[:, corner]] for corner in range(3))
    area = _cross(two - one, three - one) * (SIDE / tall) ** 2 / layout.areas
    inside = (place > -0.5) & (place < np.array(size) - 0.5)
    shown = (area > _LEAST_SHOWN)[layout.triangle] & (layout.triangle >= 0) & inside.all(-1)
    return Texture(np.asarray(colours, np.uint8), shown)


@cache
def region(name: str) -> npt.NDArray[np.bool_]:
    """[96, 96] a part of every texture: `face`, `eyes` (inside the lids), `lenses`, or `mouth` (with the lips)."""
    from core.clip.landmarks import FACE_OVAL, LIPS_OUTER

    lines = {"face": (FACE_OVAL,), "eyes": EYES, "lenses": LENSES, "mouth": (LIPS_OUTER,)}[name]
    return inside_lines(_layout().points, lines, (SIDE, SIDE)) > 0
