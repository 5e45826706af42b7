"""Depth and normals of the whole person by Sapiens' TorchScript models, where a user brings them (docs/models.md).

Sapiens was trained at 1024 x 768; pictures are stretched to that, and the answers back. Knows one frame at a time.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from core.clip.layout import Label
from core.clip.priors import Geometry, View, mesh_geometry
from core.clip.torchscript import TorchScript

Floats = npt.NDArray[np.float32]

SAPIENS_HEIGHT, SAPIENS_WIDTH = 1024, 768
SAPIENS_MEAN = np.array([123.5, 116.5, 103.5], np.float32)
SAPIENS_DEVIATION = np.array([58.5, 57.0, 57.5], np.float32)
_TRUSTED = (Label.HAIR, Label.SKIN, Label.LIPS, Label.TORSO)


def sapiens_input(picture: npt.NDArray[np.uint8]) -> Floats:
    """[S, S, 3] sRGB -> [1, 3, 1024, 768], stretched and normalised as Sapiens was trained."""
    stretched = cv2.resize(picture, (SAPIENS_WIDTH, SAPIENS_HEIGHT), interpolation=cv2.INTER_LINEAR)
    normalised = (stretched.astype(np.float32) - SAPIENS_MEAN) / SAPIENS_DEVIATION
    return np.asarray(normalised.transpose(2, 0, 1)[None], np.float32)


class SapiensPrior:
    """Relative depth and camera-space normals; valid on the person but for the mouth's interior. Seconds a frame."""

    name = "sapiens"

    def __init__(self, depth: Path, normal: Path) -> None:
        """Open both models.

        Raises:
            MissingModelError: `own_model_missing`, `own_model_unusable`.
        """
        self._depth = TorchScript(depth, "LIKENESS_SAPIENS_DEPTH")
        self._normal = TorchScript(normal, "LIKENESS_SAPIENS_NORMAL")

    def look(self, view: View) -> Geometry:
        """Depth of unknown scale and offset, and normals.

        Which way a model's axes point is not written in its file. The face tells: depth grows, and each axis of the
        normals points, the way that agrees with the tracked mesh.
        """
        batch = sapiens_input(view.picture)
        side = len(view.picture)
        depth = _answer(self._depth, batch, 1, side)[..., 0]
        normal = _answer(self._normal, batch, 3, side)
        mesh = mesh_geometry(view.landmarks, view.rotation, view.translation, view.camera)
        known = mesh.valid
        if known.any():
            level = mesh.depth[known] - mesh.depth[known].mean()
            depth = depth * _sign(level @ depth[known])
            signs = [_sign(mesh.normal[known, axis] @ normal[known, axis]) for axis in range(3)]
            normal = normal * np.array(signs, np.float32)
        length = np.linalg.norm(normal, axis=-1, keepdims=True)
        valid = np.isin(view.labels, _TRUSTED) & (length[..., 0] > 1e-6)
        unit = np.asarray(normal / np.maximum(length, 1e-6), np.float32)
        return Geometry(np.asarray(depth, np.float32), unit, valid, metric=False)


def _answer(model: TorchScript, batch: Floats, channels: int, side: int) -> Floats:
    """Run the model: [side, side, channels], resized bilinearly."""
    found = model.run(batch)
    found = model.expect(found, found.ndim == 4 and found.shape[:2] == (1, channels))
    resized = cv2.resize(found[0].transpose(1, 2, 0), (side, side), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32).reshape(side, side, channels)


def _sign(agreement: np.floating) -> float:
    return -1.0 if agreement < 0 else 1.0
