"""Where the Gaussians start: on the face mesh, on a single-layer shell for the rest of the head, inside the mouth.

A filled volume breaks into slivers when the head turns further than in training; a single layer does not
(feasibility file, defect 1). Works in numpy; the loops turn the result into tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree

from core.avatar import Gaussians
from core.clip.canonical import CanonicalFace
from core.clip.layout import Label
from core.learn.parallax import Sight, depth_offsets
from core.learn.training_set import TrainingSet

Points = npt.NDArray[np.float64]

SHELL_CENTRE = np.array([0.0, 0.0, -0.045])
SHELL_RADII = np.array([0.082, 0.125, 0.10])
"""Metres: an ellipsoid that the front of a head lies near."""
SHELL_SIDES, SHELL_STRETCH = 0.03, 2.0
"""Metres in head space from which, and how many times as far as the ellipsoid, a head goes back: its outline is where
it is widest, behind the ears, and an outline that lies too near slides off when the head turns (docs/learning.md)."""
SHELL_SLOPE = 0.02
"""Metres beside the mesh's edge over which a head goes that far back: a step there would open into a gap."""
COLOUR_FRAMES = 6


def face_gaussians(data: TrainingSet, face: CanonicalFace, surface: int, shell: int, seed: int) -> Gaussians:
    """Start of the face branch: `surface` points on the mesh, up to `shell` on the ellipsoid, coloured."""
    random = np.random.default_rng(seed)
    mesh = _on_mesh(face, surface, random)
    rest = _on_shell(data, face, shell, random)
    points = np.concatenate([mesh, rest])
    colours = _seen_colours(data, points)
    spacing = np.minimum(_spacing(points), 0.02) * 0.7
    return Gaussians.at(_tensor(points), _tensor(colours), _tensor(spacing), opacity=0.3)


def mouth_gaussians(face: CanonicalFace, count: int, seed: int) -> Gaussians:
    """Start of the mouth branch: a box behind the lips, 60 x 45 x 30 mm, in dull random colours."""
    random = np.random.default_rng(seed)
    centre = face.vertices[[13, 14]].mean(0)
    points = centre + (random.random((count, 3)) - [0.5, 0.5, 0.9]) * [0.06, 0.045, 0.03]
    colours = random.random((count, 3)) * 0.5 + 0.2
    return Gaussians.at(_tensor(points), _tensor(colours), _tensor(_spacing(points) * 0.8), opacity=0.1)


def _tensor(array: Points) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def _spacing(points: Points) -> Points:
    distances, _ = cKDTree(points).query(points, 4)
    return np.asarray(np.sqrt((distances[:, 1:] ** 2).mean(1)))


def _on_mesh(face: CanonicalFace, count: int, random: np.random.Generator) -> Points:
    corners = face.vertices[face.triangles]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = random.choice(len(areas), count, p=areas / areas.sum())
    weights = random.dirichlet([1, 1, 1], count)
    return np.asarray((corners[chosen] * weights[..., None]).sum(1))


def _on_shell(data: TrainingSet, face: CanonicalFace, count: int, random: np.random.Generator) -> Points:
    """Rays through head pixels outside the mesh of the first, middle and last frame, met with the shell, and moved
    along themselves to where the clip's parallax has them."""
    views = [_shell_points(data, face, index, count, random) for index in (0, data.count // 2, data.count - 1)]
    offsets = depth_offsets(data, [view.sight for view in views])
    found = [
        view.sight.points + (view.beside * back)[:, None] * view.sight.back
        for view, back in zip(views, offsets, strict=True)
    ]
    points = np.concatenate(found)
    return np.asarray(points[random.permutation(len(points))[:count]])


@dataclass(frozen=True)
class _View:
    """Shell points of one frame."""

    sight: Sight
    beside: Points
    """[n] 0 at the mesh's edge, 1 from `SHELL_SLOPE` on."""


def _shell_points(data: TrainingSet, face: CanonicalFace, index: int, count: int, random: np.random.Generator) -> _View:
    head = np.isin(data.labels[index], (Label.HAIR, Label.SKIN))
    hull = cv2.convexHull(np.round(data.project(index, face.vertices, data.camera)).astype(np.int32))
    covered = np.zeros(head.shape, np.uint8)
    cv2.fillConvexPoly(covered, hull, (1,))
    margin = np.ones((9 * data.size // 512 | 1,) * 2, np.uint8)
    rows, columns = np.nonzero(head & (cv2.erode(covered, margin) == 0))
    chosen = random.choice(len(rows), min(count, len(rows)), replace=False) if len(rows) else np.empty(0, np.int64)
    camera = data.camera
    rays = np.stack(
        [
            (columns[chosen] + 0.5 - camera.cx) / camera.fx,
            (rows[chosen] + 0.5 - camera.cy) / camera.fy,
            np.ones(len(chosen)),
        ],
        axis=1,
    )
    pose = data.poses[index].double().numpy()
    origin = -pose[:3, :3].T @ pose[:3, 3]
    directions = rays @ pose[:3, :3]
    back = directions / -directions[:, 2:]
    return _receding(index, origin + directions * _first_hit(origin, directions)[:, None], back, face)


def _receding(index: int, points: Points, back: Points, face: CanonicalFace) -> _View:
    """Points of the ellipsoid moved along their rays to where a head goes on beside the face.

    From the mesh's own depth at its edge, to `SHELL_STRETCH` times as far back as the ellipsoid `SHELL_SLOPE` away.
    """
    behind = np.minimum(points[:, 2] - SHELL_SIDES, 0)
    deep = points[:, 2] + (SHELL_STRETCH - 1) * behind
    distance, nearest = cKDTree(face.vertices[:, :2]).query(points[:, :2])
    share = np.minimum(distance / SHELL_SLOPE, 1)
    edge = np.minimum(face.vertices[nearest, 2], points[:, 2])
    depth = edge + share * (deep - edge)
    return _View(Sight(index, points + back * (points[:, 2] - depth)[:, None], back), share)


def _first_hit(origin: Points, directions: Points) -> Points:
    """Distance along each ray to the ellipsoid's near side; to its closest approach where the ray misses."""
    o, d = (origin - SHELL_CENTRE) / SHELL_RADII, directions / SHELL_RADII
    a, b, c = (d**2).sum(1), (d * o).sum(1), (o**2).sum() - 1
    discriminant = b * b - a * c
    return np.asarray((-b - np.sqrt(np.maximum(discriminant, 0))) / a)


def _seen_colours(data: TrainingSet, points: Points) -> Points:
    """Median colour at each point's projection over a few frames."""
    seen = []
    for index in np.linspace(0, data.count - 1, min(COLOUR_FRAMES, data.count)).astype(int):
        pixels = np.clip(np.floor(data.project(index, points, data.camera)).astype(int), 0, data.size - 1)
        seen.append(data.frames[index][pixels[:, 1], pixels[:, 0]] / 255.0)
    return np.asarray(np.median(seen, axis=0))
