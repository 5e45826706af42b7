"""Depth from a turning head, against a surface whose depth we know."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.camera import Camera
from core.clip.rotations import rotation_from_vector
from core.learn.parallax import OFFSETS, Sight, depth_offsets
from core.learn.training_set import TrainingSet

SIZE, FRAMES = 512, 12
CAMERA = Camera.centred(900.0, SIZE)
DEPTH = -0.06
"""Metres: the surface's z in head space."""


def made_poses(degrees: float) -> np.ndarray:
    """[T, 4, 4] a head half a metre away that turns and nods by so much to either side."""
    swing = np.radians(degrees) * np.sin(np.linspace(0, 2 * np.pi, FRAMES))
    turns = rotation_from_vector(np.stack([0.5 * swing[::-1], swing, 0 * swing], 1)) @ np.diag([1.0, -1.0, -1.0])
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, :3, :3], poses[:, 2, 3] = turns, 0.55
    return poses


def lines_of_sight(pose: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Camera centre [3] and directions [n, 3] in head space, one metre back each."""
    rays = np.concatenate([(pixels - [CAMERA.cx, CAMERA.cy]) / CAMERA.fx, np.ones((len(pixels), 1))], 1)
    directions = rays @ pose[:3, :3]
    return -pose[:3, :3].T @ pose[:3, 3], directions / -directions[:, 2:]


def picture(pose: np.ndarray) -> np.ndarray:
    """[S, S, 3] strands on the surface, as this pose shows them."""
    pixels = np.stack(np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5), -1).reshape(-1, 2)
    origin, back = lines_of_sight(pose, pixels)
    place = origin + back * (origin[2] - DEPTH)
    strands = np.sin(place[:, 0] * 900 + 2 * np.sin(place[:, 1] * 90)) * np.cos(place[:, 1] * 500)
    return np.repeat((110 + 50 * strands).reshape(SIZE, SIZE, 1), 3, 2).round().astype(np.uint8)


def clip(degrees: float) -> TrainingSet:
    poses = made_poses(degrees)
    return TrainingSet(
        camera=CAMERA,
        frames=np.stack([picture(pose) for pose in poses]),
        labels=np.ones((FRAMES, SIZE, SIZE), np.uint8),
        poses=torch.from_numpy(poses).float(),
        windows=torch.zeros(FRAMES, 8, 16, 64),
        expression=torch.zeros(FRAMES, 6),
        head_boxes=[(0, 0, SIZE, SIZE)] * FRAMES,
        lip_boxes=[(0, 0, SIZE, SIZE)] * FRAMES,
        opening=np.zeros(FRAMES),
        mouth_area=np.zeros(FRAMES, np.int64),
    )


def guessed(data: TrainingSet, frame: int, depth: float) -> Sight:
    """Points of the middle of a frame, taken to lie at one depth."""
    pixels = np.random.default_rng(frame).uniform(160, 350, (300, 2))
    origin, back = lines_of_sight(data.poses[frame].double().numpy(), pixels)
    return Sight(frame, origin + back * (origin[2] - depth), back)


@pytest.fixture(scope="module")
def turning() -> TrainingSet:
    return clip(4.0)


@pytest.mark.parametrize("error", [-0.025, 0.0, 0.03, 0.06])
def test_points_are_found_where_they_are(turning: TrainingSet, error: float) -> None:
    found = depth_offsets(turning, [guessed(turning, frame, DEPTH + error) for frame in (0, 6, 11)])
    assert [len(offsets) for offsets in found] == [300, 300, 300]
    assert np.median(np.concatenate(found)) == pytest.approx(error, abs=0.006)


def test_a_head_that_does_not_turn_leaves_the_guess() -> None:
    still = clip(0.0)
    (offsets,) = depth_offsets(still, [guessed(still, 0, DEPTH + 0.03)])
    assert np.abs(offsets).max() < 0.002


def test_nothing_is_moved_further_than_was_tried(turning: TrainingSet) -> None:
    (offsets,) = depth_offsets(turning, [guessed(turning, 3, DEPTH + 0.2)])
    assert offsets.max() <= OFFSETS[-1] + 1e-9


def test_a_view_without_points_is_none_of_ours(turning: TrainingSet) -> None:
    empty = Sight(0, np.empty((0, 3)), np.empty((0, 3)))
    found = depth_offsets(turning, [empty, guessed(turning, 6, DEPTH + 0.03)])
    assert len(found[0]) == 0
    assert np.median(found[1]) == pytest.approx(0.03, abs=0.008)
    assert [len(offsets) for offsets in depth_offsets(turning, [empty])] == [0]
