"""Identity distance: whether the rendered person is still the recorded one, by dlib's 128-number face embedding.

dlib is optional: without it the figure is absent and the reason is reported. Knows single pictures only.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import MissingModelError
from core.models import locate

MODEL = "face_embedding"
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
"""Mesh points of both eyebrows: dlib's boxes begin there, not at the forehead."""
CHIP_SIZE = 150


class FaceEmbedder:
    """dlib's aligner and embedding network, loaded."""

    def __init__(self) -> None:
        """
        Raises:
            MissingModelError: `model_missing`, or `dlib_missing` where the package is not installed.
        """
        folder = locate(MODEL)
        try:
            dlib: Any = importlib.import_module("dlib")
        except ImportError:
            raise MissingModelError(
                "dlib_missing", "The package dlib is not installed.", "Install dlib-bin to measure identity distance."
            ) from None
        self._dlib = dlib
        self._align = dlib.shape_predictor(str(_file(folder, "shape_predictor_5_face_landmarks.dat")))
        self._embed = dlib.face_recognition_model_v1(str(_file(folder, "dlib_face_recognition_resnet_model_v1.dat")))

    def embedding(self, frame: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The face's embedding.

        Args:
            frame: [H, W, 3] sRGB.
            landmarks: [478, 3] pixels; they say where the face is, dlib's own points align it.

        Returns:
            [128]; measured: 0.24-0.34 between pictures of one person, over 0.65 between two people.
        """
        points = landmarks[:, :2]
        left, right = points[:, 0].min(), points[:, 0].max()
        top, bottom = points[list(_BROWS), 1].min(), points[:, 1].max()
        box = self._dlib.rectangle(int(left), int(top), int(right), int(bottom))
        picture = np.ascontiguousarray(frame)
        chip = self._dlib.get_face_chip(picture, self._align(picture, box), size=CHIP_SIZE)
        return np.asarray(self._embed.compute_face_descriptor(chip), np.float64)


def identity_distance(rendered: list[npt.NDArray[np.float64]], recorded: list[npt.NDArray[np.float64]]) -> float:
    """Euclidean distance between the mean embeddings of the two; both lists hold at least one [128]."""
    return float(np.linalg.norm(np.mean(rendered, axis=0) - np.mean(recorded, axis=0)))


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise MissingModelError("model_missing", f"The model file {name} is missing.", "Run `likeness models fetch`.")
    return path
