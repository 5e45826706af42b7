"""The canonical mesh, as head space has it."""

from __future__ import annotations

import numpy as np

from core.clip.canonical import CHIN, FOREHEAD, HEAD_CENTRE, LIPS_INNER, RIGID_INDICES, canonical_face


def test_is_a_face_in_metres_facing_the_camera() -> None:
    face = canonical_face()
    assert face.vertices.shape == (468, 3) and face.triangles.shape == (898, 3)
    assert face.vertices[FOREHEAD, 1] > face.vertices[CHIN, 1], "y is up"
    assert face.vertices[1, 2] > face.vertices[[234, 454], 2].max(), "the nose is nearer than the ears"
    assert face.vertices[263, 0] > face.vertices[33, 0], "x is right in the picture"
    width = np.ptp(face.vertices[:, 0])
    assert 0.13 < width < 0.17


def test_is_symmetric_about_its_middle() -> None:
    vertices = canonical_face().vertices
    mirrored = vertices * [-1, 1, 1]
    nearest = np.linalg.norm(vertices[:, None] - mirrored[None], axis=-1).min(1)
    assert nearest.max() < 1e-4


def test_leaves_room_for_hair_inside_the_field() -> None:
    assert np.abs(canonical_face().vertices).max() < 0.13
    assert np.allclose(canonical_face().vertices[4] + HEAD_CENTRE, [0, -0.012, 0.075], atol=0.01), "the nose tip"


def test_every_index_is_a_vertex() -> None:
    assert max(*RIGID_INDICES, *LIPS_INNER) < 468
    assert len(set(RIGID_INDICES)) == len(RIGID_INDICES)
    triangles = canonical_face().triangles
    assert triangles.min() == 0 and triangles.max() == 467
