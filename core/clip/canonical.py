"""The canonical face: the mean mesh that the landmark model ships with, brought into head space.

Head space: x right, y up, z toward the camera, metres, the mesh shifted so that the whole head, hair included, lies
within 0.15 m of the origin. Must not know pictures or people.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from core.clip.landmarks import CHIN, EYE_CORNERS, FACE_OVAL, FOREHEAD, LIP_PAIRS, LIPS_INNER, LIPS_OUTER
from core.errors import MissingModelError
from core.models import locate

__all__ = [
    "CHIN",
    "EYE_CORNERS",
    "FACE_OVAL",
    "FOREHEAD",
    "HEAD_CENTRE",
    "LIPS_INNER",
    "LIPS_OUTER",
    "LIP_PAIRS",
    "RIGID_INDICES",
    "CanonicalFace",
    "canonical_face",
    "head_anchors",
]

HEAD_CENTRE = (0.0, 0.03, 0.01)
"""Head space's origin in the mesh's own frame, metres: without it hair leaves the space (feasibility file, advice)."""

# fmt: off
RIGID_INDICES = (
    168, 6, 197, 195, 5, 4, 1, 33, 133, 362, 263, 10, 338, 297, 332, 284, 251, 109, 67, 103, 54, 21, 151, 9,
    8, 127, 356, 234, 454, 116, 345, 117, 346, 193, 417, 122, 351, 198, 420, 131, 360, 129, 358, 48, 278, 143,
    372, 34, 264, 227, 447, 68, 298, 104, 333, 69, 299, 108, 337,
)
"""Mesh points that speech and expression move little: nose, eye corners, forehead, temples, cheek bones."""
# fmt: on

_CENTIMETRE = 0.01
_VERTICES = 468
_TRIANGLES = 898


@dataclass(frozen=True)
class CanonicalFace:
    """The mean face."""

    vertices: npt.NDArray[np.float64]
    """[468, 3] head space, metres. Vertex i is landmark i (landmarks 468 and up, the irises, have none)."""
    triangles: npt.NDArray[np.int64]
    """[898, 3] vertex numbers."""
    texture: npt.NDArray[np.float64]
    """[468, 2] texture coordinates, 0..1."""


@cache
def canonical_face() -> CanonicalFace:
    """The mesh inside `face_landmarker.task`.

    Raises:
        MissingModelError: the model file is not here, or holds no mesh of the size we know.
    """
    with zipfile.ZipFile(locate("face_landmarker")) as bundle:
        metadata = bundle.read("geometry_pipeline_metadata_landmarks.binarypb")
    mesh = next(value for number, value in _fields(metadata) if number == 1 and isinstance(value, bytes))
    floats = [value for number, value in _fields(mesh) if number == 3]
    indices = [value for number, value in _fields(mesh) if number == 4]
    if len(floats) != 5 * _VERTICES or len(indices) != 3 * _TRIANGLES:
        raise MissingModelError("model_damaged", "face_landmarker.task holds no face mesh of the size we know.")
    rows = np.array(floats, np.float64).reshape(_VERTICES, 5)
    return CanonicalFace(
        vertices=rows[:, :3] * _CENTIMETRE - np.array(HEAD_CENTRE),
        triangles=np.array(indices, np.int64).reshape(_TRIANGLES, 3),
        texture=rows[:, 3:].copy(),
    )


@cache
def head_anchors() -> npt.NDArray[np.float64]:
    """[4, 3] nose tip, left and right ear in the picture, crown: head space, metres. Rough, and the same for everyone.

    Far from the face's own middle, so a wrong turn of the head shows there most.
    """
    vertices = canonical_face().vertices
    behind = np.array([0.0, 0.0, -0.03])
    crown = np.array([0.0, 0.16, -0.05]) - np.array(HEAD_CENTRE)
    return np.stack([vertices[1], vertices[234] + behind, vertices[454] + behind, crown])


def _fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Field numbers and values of a protocol-buffer message: integers, 32-bit floats, and bytes, as they come."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield number, value
        elif kind == 5:
            yield number, struct.unpack_from("<f", message, position)[0]
            position += 4
        elif kind == 2:
            length, position = _varint(message, position)
            yield number, message[position : position + length]
            position += length
        else:
            raise MissingModelError("model_damaged", "face_landmarker.task holds metadata that we can't read.")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
