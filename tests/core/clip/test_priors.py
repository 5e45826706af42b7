"""Depth and normals: closed forms on a plane and a ball, and the generated sample's own points."""

from __future__ import annotations

import numpy as np
import pytest

from core.camera import Camera
from core.clip.canonical import FACE_OVAL, LIPS_INNER
from core.clip.face_frame import polygon
from core.clip.priors import mesh_geometry
from core.clip.rasterise import rasterise

CAMERA = Camera(300.0, 320.0, 61.3, 66.1, 128, 120)


def rays(camera: Camera) -> np.ndarray:
    """[H, W, 3] through each pixel's centre, z = 1."""
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    return np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones_like(x)], -1)


def test_a_tilted_plane_has_its_depth_and_normal() -> None:
    normal = np.array([0.3, -0.4, -1.0])
    normal /= np.linalg.norm(normal)
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, 7), np.linspace(-0.5, 0.5, 6))
    z = 1.0 - (normal[0] * x + normal[1] * y) / normal[2]
    vertices = np.stack([x, y, z], -1).reshape(-1, 3)
    corner = (np.arange(5)[:, None] * 7 + np.arange(6)).reshape(-1, 1)
    triangles = np.concatenate([corner + np.array([0, 7, 1]), corner + np.array([1, 7, 8])])
    found = rasterise(vertices, triangles, CAMERA)
    assert not rasterise(vertices, triangles[:, ::-1], CAMERA).covered.any(), "its back is not seen"
    expected = normal[2] / (rays(CAMERA) @ normal)
    assert found.covered.all(), "no seam between triangles"
    assert np.abs(found.depth - expected).max() < 1e-6
    assert np.abs(found.normal - normal).max() < 1e-6


def test_a_ball_has_its_depth_and_normals_and_hides_what_is_behind_it() -> None:
    centre, radius = np.array([0.01, -0.02, 0.9]), 0.12
    across, down = np.meshgrid(np.linspace(0, 2 * np.pi, 129), np.linspace(0.02, np.pi - 0.02, 65))
    unit = np.stack([np.sin(down) * np.cos(across), np.cos(down), np.sin(down) * np.sin(across)], -1).reshape(-1, 3)
    corner = (np.arange(64)[:, None] * 129 + np.arange(128)).reshape(-1, 1)
    triangles = np.concatenate([corner + np.array([0, 1, 129]), corner + np.array([1, 130, 129])])
    wall = np.array([[-9.0, -9, 1.5], [9, -9, 1.5], [9, 9, 1.5], [-9, 9, 1.5]])
    vertices = np.concatenate([centre + radius * unit, wall])
    behind = len(unit) + np.array([[0, 2, 1], [0, 3, 2]])
    found = rasterise(vertices, np.concatenate([behind, triangles]), CAMERA)
    ray = rays(CAMERA)
    a, b, c = (ray**2).sum(-1), ray @ centre, centre @ centre - radius**2
    root = b**2 - a * c
    inside = root > 0.05 * root.max()
    expected = (b - np.sqrt(np.maximum(root, 0))) / a
    normal = (expected[..., None] * ray - centre) / radius
    assert inside.sum() > 3000
    assert np.abs(found.depth - expected)[inside].max() < 3e-4, "metres: the chord's distance from the arc, at a slant"
    assert (found.normal * normal).sum(-1)[inside].min() > np.cos(np.radians(1.5))
    assert found.depth[root < -0.05 * root.max()] == pytest.approx(1.5)


def test_the_tracked_mesh_is_as_far_away_as_the_face(sample) -> None:
    truth = np.load(sample.truth)
    size = int(truth["size"])
    camera = Camera.centred(float(truth["focal"]), size)
    errors = []
    for frame in range(0, len(truth["times"]), 31):
        landmarks, rotation, translation = (truth[name][frame] for name in ("landmarks", "rotations", "translations"))
        found = mesh_geometry(landmarks, rotation, translation, camera)
        assert found.metric
        oval = polygon(landmarks, FACE_OVAL, size, size)
        assert not found.valid[~oval].any() and not found.valid[polygon(landmarks, LIPS_INNER, size, size)].any()
        assert found.valid.sum() > 0.93 * oval.sum()
        assert np.allclose(np.linalg.norm(found.normal[found.valid], axis=-1), 1, atol=1e-5)
        assert (found.normal[found.valid][:, 2] < 0.2).all(), "it faces the camera"
        away = (truth["points"][frame, :468] @ rotation.T + translation)[:, 2]
        x, y = np.floor(landmarks[:468]).astype(int).T
        inner = found.valid[y, x] & ~np.isin(np.arange(468), FACE_OVAL)
        errors.append((found.depth[y, x] - away)[inner])
    distance = np.abs(np.concatenate(errors))
    assert np.median(distance) < 0.0015 and np.percentile(distance, 95) < 0.006, "metres"
