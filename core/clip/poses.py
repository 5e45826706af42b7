"""Head poses of many frames and how rigid points look in them: projection, residuals, derivatives. Pure mathematics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.camera import Camera
from core.clip.rotations import cross_matrix, rotation_from_vector

Floats = npt.NDArray[np.float64]

_ROBUST_PX = 1.0
"""Residuals beyond this count by their length, not its square (Huber)."""


@dataclass(frozen=True)
class Poses:
    """T poses of one set of points."""

    rotations: Floats
    """[T, 3, 3] head space -> camera."""
    translations: Floats
    """[T, 3] metres."""
    points: Floats
    """[n, 3] head space, metres."""

    def moved(self, step: Floats) -> Poses:
        """Each frame turned (from the left) and shifted by `step` [T, 6]: rotation vector, then translation."""
        return Poses(rotation_from_vector(step[:, :3]) @ self.rotations, self.translations + step[:, 3:], self.points)

    def with_points(self, points: Floats) -> Poses:
        """The same poses of other points."""
        return Poses(self.rotations, self.translations, points)


@dataclass(frozen=True)
class Equations:
    """Robustly weighted residuals of every point in every frame, and their derivatives."""

    residual: Floats
    """[T, n, 2] observed minus projected, pixels."""
    by_pose: Floats
    """[T, n, 2, 6] rotation (left), then translation."""
    by_point: Floats
    """[T, n, 2, 3]"""


def project(points: Floats, rotations: Floats, translations: Floats, camera: Camera) -> Floats:
    """Head-space points [n, 3] seen in T poses -> [T, n, 2] pixels."""
    return to_pixels(np.einsum("tij,nj->tni", rotations, points) + translations[:, None], camera)


def to_pixels(seen: Floats, camera: Camera) -> Floats:
    """Camera-space points [..., 3] -> [..., 2] pixels."""
    centre, focal = np.array([camera.cx, camera.cy]), np.array([camera.fx, camera.fy])
    return np.asarray(seen[..., :2] / seen[..., 2:] * focal + centre)


def linearise(poses: Poses, observed: Floats, trust: Floats, camera: Camera) -> Equations:
    """Residuals of `observed` [T, n, 2] pixels, and how they change with the poses and the points; squares of point i
    count `trust` [n] times."""
    turned = np.einsum("tij,nj->tni", poses.rotations, poses.points)
    seen = turned + poses.translations[:, None]
    depth = seen[..., 2]
    residual = observed - (seen[..., :2] / depth[..., None] * camera.fx + [camera.cx, camera.cy])
    distance = np.linalg.norm(residual, axis=-1)
    weight = np.sqrt(np.minimum(1, _ROBUST_PX / np.maximum(distance, 1e-9)) * trust)[..., None]
    by_seen = np.zeros((*depth.shape, 2, 3))
    by_seen[..., 0, 0] = by_seen[..., 1, 1] = camera.fx / depth
    by_seen[..., :, 2] = -camera.fx * seen[..., :2] / depth[..., None] ** 2
    by_seen *= weight[..., None]
    by_pose = np.concatenate([-by_seen @ cross_matrix(turned), by_seen], -1)
    return Equations(residual * weight, by_pose, by_seen @ poses.rotations[:, None])
