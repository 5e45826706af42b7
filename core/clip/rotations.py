"""Rotation vectors and matrices, for many frames at once. Pure mathematics."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def cross_matrix(vectors: Floats) -> Floats:
    """[..., 3] -> [..., 3, 3] with `cross_matrix(a) @ b == cross(a, b)`."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vectors.shape[:-1], 3, 3)


def rotation_from_vector(vectors: Floats) -> Floats:
    """[..., 3] axis times angle in radians -> [..., 3, 3] (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    k = cross_matrix(vectors)
    sine = np.sinc(angle / np.pi)
    versine = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.asarray(np.eye(3) + sine * k + versine * (k @ k))


def vector_from_rotation(matrices: Floats) -> Floats:
    """[..., 3, 3] -> [..., 3] axis times angle in radians; angles below pi."""
    cosine = np.clip((np.trace(matrices, axis1=-2, axis2=-1) - 1) / 2, -1, 1)
    angle = np.arccos(cosine)
    skew = np.stack(
        [
            matrices[..., 2, 1] - matrices[..., 1, 2],
            matrices[..., 0, 2] - matrices[..., 2, 0],
            matrices[..., 1, 0] - matrices[..., 0, 1],
        ],
        -1,
    )
    return np.asarray(skew / (2 * np.maximum(np.sinc(angle / np.pi), 1e-9))[..., None])


def yaw_pitch_roll(rotations: Floats) -> Floats:
    """Head pose [..., 3, 3] (head space -> OpenCV camera) -> [..., 3] degrees; 0 faces the camera.

    Yaw is positive where the head turns to the picture's right, pitch where it looks up, roll clockwise.
    """
    upright = np.diag([1.0, -1.0, -1.0]) @ rotations
    yaw = np.arctan2(upright[..., 0, 2], upright[..., 2, 2])
    pitch = np.arcsin(np.clip(upright[..., 1, 2], -1, 1))
    roll = np.arctan2(-upright[..., 1, 0], upright[..., 0, 0])
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], -1)))
