"""Which triangle of a mesh each pixel sees, how far away and at what slant: an exact z-buffer in numpy.

Knows triangles in camera space and a camera; must not know faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.camera import Camera

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_ON_THE_EDGE = 1e-9
"""A pixel centre on an edge belongs to both triangles, whatever the rounding."""


@dataclass(frozen=True)
class Surface:
    """A mesh as one camera sees it."""

    depth: npt.NDArray[np.float32]
    """[H, W] camera z in metres at each pixel's centre; 0 where there is no surface."""
    normal: npt.NDArray[np.float32]
    """[H, W, 3] unit length, camera space, interpolated from the vertices; 0 where there is no surface."""
    covered: npt.NDArray[np.bool_]
    """[H, W]"""


def rasterise(vertices: Floats, triangles: Integers, camera: Camera) -> Surface:
    """The nearest surface that faces the camera, in every pixel.

    Depth is that of the flat triangles, exactly: one over it is a linear function of the pixel. Normals are smooth:
    the vertices' own (the mean of their triangles', by area), perspective-correct between them.

    Args:
        vertices: [V, 3] camera space, metres, all before the camera.
        triangles: [F, 3] vertex numbers; (b - a) x (c - a) points out of the body.
        camera: the view.
    """
    corners = vertices[triangles]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    smooth = _vertex_normals(len(vertices), triangles, across)
    distance = np.einsum("fi,fi->f", across, corners[:, 0])
    facing = distance < 0
    triangles, corners = triangles[facing], corners[facing]
    pixels = corners[..., :2] / corners[..., 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    weights = _corner_weights(pixels)
    # Screen-space weights over z add up to 1 / z, linear in the pixel; normals are linear too, but for their length.
    near_weights = weights / corners[..., 2:]
    seen, rows, columns = _spans(pixels, weights, camera)
    x, y = columns.astype(np.float64) + 0.5, rows.astype(np.float64) + 0.5
    near = _at(near_weights.sum(1), seen, x, y)
    place = rows * camera.width + columns
    best = np.zeros(camera.height * camera.width)
    np.maximum.at(best, place, near)
    won = near == best[place]
    seen, place, x, y = seen[won], place[won], x[won], y[won]
    leaning = np.einsum("fck,fci->ifk", near_weights, smooth[triangles])
    direction = np.stack([_at(one, seen, x, y) for one in leaning], -1).astype(np.float32)
    direction /= np.maximum(np.sqrt(np.einsum("ni,ni->n", direction, direction)), 1e-12)[:, None]
    normal = np.zeros((len(best), 3), np.float32)
    normal[place] = direction
    depth = np.zeros(len(best), np.float32)
    depth[place] = 1 / best[place]
    shape = camera.height, camera.width
    return Surface(depth.reshape(shape), normal.reshape(*shape, 3), (best > 0).reshape(shape))


def _at(plane: Floats, which: Integers, x: Floats, y: Floats) -> Floats:
    """Linear functions of the pixel, [F, 3], each at its own places: a x + b y + c, [n]."""
    a, b, c = np.ascontiguousarray(plane.T)
    return np.asarray(a[which] * x + b[which] * y + c[which])


def _vertex_normals(count: int, triangles: Integers, across: Floats) -> Floats:
    smooth = np.stack(
        [np.bincount(triangles.ravel(), np.repeat(across[:, axis], 3), minlength=count) for axis in range(3)], 1
    )
    return np.asarray(smooth / np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-12))


def _corner_weights(pixels: Floats) -> Floats:
    """[F, 3, 2] corners in pixels -> [F, 3, 3] a, b, c: a x + b y + c is each corner's share at (x, y), 1 in all."""
    following, last = np.roll(pixels, -1, axis=1), np.roll(pixels, -2, axis=1)
    a = following[..., 1] - last[..., 1]
    b = last[..., 0] - following[..., 0]
    c = following[..., 0] * last[..., 1] - last[..., 0] * following[..., 1]
    area = c.sum(1)
    area = np.where(np.abs(area) < 1e-12, np.inf, area)
    return np.asarray(np.stack([a, b, c], -1) / area[:, None, None])


def _spans(pixels: Floats, weights: Floats, camera: Camera) -> tuple[Integers, Integers, Integers]:
    """Every pixel whose centre lies in a triangle: (triangle, row, column), each [n]."""
    low = np.clip(np.ceil(pixels[..., 1].min(1) - 0.5), 0, camera.height).astype(np.int64)
    high = np.clip(np.floor(pixels[..., 1].max(1) - 0.5) + 1, 0, camera.height).astype(np.int64)
    triangle, row = _expanded(low, high)
    a = weights[triangle, :, 0]
    rest = weights[triangle, :, 1] * (row[:, None] + 0.5) + weights[triangle, :, 2] + _ON_THE_EDGE
    with np.errstate(divide="ignore", invalid="ignore"):
        border = -rest / a
    left = np.where(a > 0, border, -np.inf).max(1)
    right = np.where(a < 0, border, np.inf).min(1)
    empty = ((a == 0) & (rest < 0)).any(1)
    first = np.clip(np.ceil(left - 0.5), 0, camera.width)
    beyond = np.where(empty, 0, np.clip(np.floor(right - 0.5) + 1, 0, camera.width))
    span, column = _expanded(first.astype(np.int64), beyond.astype(np.int64))
    return triangle[span], row[span], column


def _expanded(low: Integers, high: Integers) -> tuple[Integers, Integers]:
    """Ranges low ... high - 1 one after the other: (number of the range, value)."""
    count = np.maximum(high - low, 0)
    number = np.repeat(np.arange(len(count)), count)
    first = np.repeat(low - (np.cumsum(count) - count), count)
    return number, first + np.arange(len(number))
