"""Depth and normals of each frame, for a learner to lean on: of the tracked mesh, or of models that a user brings.

Camera space, the conventions of `core.camera`: x right, y down, z forward; a normal that faces the camera has z < 0.
Must not know what is learned from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from core.camera import Camera
from core.clip.canonical import FACE_OVAL, LIPS_INNER, canonical_face
from core.clip.face_frame import polygon
from core.clip.layout import Clip
from core.clip.rasterise import rasterise
from core.settings import OwnModels


@dataclass(frozen=True)
class Geometry:
    """What is known of the surface in one frame."""

    depth: npt.NDArray[np.float32]
    """[S, S] larger is farther; metres (camera z) where `metric`, else of unknown scale and offset."""
    normal: npt.NDArray[np.float32]
    """[S, S, 3] unit length, camera space, facing the camera (z < 0)."""
    valid: npt.NDArray[np.bool_]
    """[S, S] where both may be believed; elsewhere they mean nothing."""
    metric: bool
    """Whether `depth` is in metres."""


@dataclass(frozen=True)
class View:
    """What a prior may look at: one tracked and parsed frame."""

    picture: npt.NDArray[np.uint8]
    """[S, S, 3] sRGB."""
    labels: npt.NDArray[np.uint8]
    """[S, S] values of `Label`."""
    landmarks: npt.NDArray[np.floating]
    """[478, 2+] pixels."""
    rotation: npt.NDArray[np.floating]
    """[3, 3] head space -> camera space."""
    translation: npt.NDArray[np.floating]
    """[3] metres."""
    camera: Camera


class GeometryPrior(Protocol):
    """Where depth and normals come from."""

    name: str
    """Stable, for reports."""

    def look(self, view: View) -> Geometry:
        """Depth and normals of one frame."""


class MeshPrior:
    """The tracked mesh: metres, smooth, no network; knows the face inside its oval and nothing else."""

    name = "mesh"

    def look(self, view: View) -> Geometry:
        """See `mesh_geometry`."""
        return mesh_geometry(view.landmarks, view.rotation, view.translation, view.camera)


def choose_prior(models: OwnModels) -> GeometryPrior:
    """Sapiens where its models are configured, else the mesh.

    Raises:
        MissingModelError: `own_model_missing`, `own_model_unusable`.
    """
    if models.sapiens_depth is None or models.sapiens_normal is None:
        return MeshPrior()
    from core.clip.sapiens import SapiensPrior

    return SapiensPrior(models.sapiens_depth, models.sapiens_normal)


def clip_view(clip: Clip, frame: int) -> View:
    """One frame of a finished clip, for a prior to look at."""
    return View(
        np.asarray(clip.frames[frame]),
        np.asarray(clip.labels[frame]),
        clip.landmarks[frame],
        clip.rotations[frame],
        clip.translations[frame],
        clip.camera,
    )


def mesh_geometry(
    landmarks: npt.NDArray[np.floating],
    rotation: npt.NDArray[np.floating],
    translation: npt.NDArray[np.floating],
    camera: Camera,
) -> Geometry:
    """Depth and normals of one frame from its tracked mesh.

    Each vertex of the canonical face lies on the ray of its landmark, as far away as the tracked pose puts it: the
    outline and the features across the picture are this person's in this frame, the depth is the mean face's. Valid
    inside the face oval but for the mouth's interior; nothing is known of hair, ears and neck.

    Args:
        landmarks: [478, 2+] pixels of `camera`.
        rotation: [3, 3] head space -> camera space.
        translation: [3] metres.
        camera: the view (a clip's own).

    Raises:
        MissingModelError: the canonical face is not on this machine.
    """
    face = canonical_face()
    away = (face.vertices @ np.asarray(rotation, np.float64).T + translation)[:, 2]
    pixels = np.asarray(landmarks, np.float64)[: len(away), :2]
    rays = np.ones((len(away), 3))
    rays[:, :2] = (pixels - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
    surface = rasterise(rays * away[:, None], _outward_triangles(), camera)
    valid = surface.covered & polygon(landmarks, FACE_OVAL, camera.height, camera.width)
    valid &= ~polygon(landmarks, LIPS_INNER, camera.height, camera.width)
    return Geometry(surface.depth, surface.normal, valid, metric=True)


@cache
def _outward_triangles() -> npt.NDArray[np.int64]:
    """[898, 3] the face's triangles, wound so that (b - a) x (c - a) points out of the head."""
    face = canonical_face()
    corners = face.vertices[face.triangles]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return face.triangles if across[:, 2].sum() > 0 else face.triangles[:, ::-1]
