"""Landmark pre-training: displacements undo the rigid head, and the field learns a motion that speech drives."""

from __future__ import annotations

import numpy as np
import torch

from core.camera import Camera
from core.clip.canonical import canonical_face
from core.clip.footage import identity_of
from core.learn.motion_prior import (
    LOWER_LIP,
    MotionTrack,
    PriorSchedule,
    displacements,
    opening_correlation,
    personalise,
    train_motion_prior,
)
from core.progress import StageContext

CAMERA = Camera.centred(900.0, 512)


def turned(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.diag([1.0, -1.0, -1.0]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def test_displacements_are_what_was_added_to_the_rigid_head() -> None:
    vertices = canonical_face().vertices
    rotations = np.stack([turned(angle) for angle in (-15, 0, 20)])
    translations = np.array([[0.01, 0.0, 0.6]] * 3)
    moved = vertices + np.where(np.isin(np.arange(468), LOWER_LIP)[:, None], [0, -0.01, 0], 0.0)
    seen = np.einsum("tij,nj->tni", rotations, moved) + translations[:, None]
    pixels = 900 * seen[..., :2] / seen[..., 2:] + 256
    landmarks = np.concatenate([pixels, np.zeros((3, 468, 1))], axis=2).astype(np.float32)
    found = displacements(landmarks, rotations, translations, CAMERA, vertices)
    assert np.abs(found[:, LOWER_LIP, 1] + 0.01).max() < 2e-4
    still = np.setdiff1d(np.arange(468), LOWER_LIP)
    assert np.abs(found[:, still]).max() < 1e-5


def speaking_track(seed: int) -> MotionTrack:
    """A lower lip that follows one number of the speech."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(90, 64, generator=generator)
    steps = (steps + steps.roll(1, 0) + steps.roll(2, 0)) / 2
    index = torch.arange(8, 82)
    windows = torch.stack([steps[index + offset] for offset in range(-8, 8)], dim=1)[:, None].repeat(1, 8, 1, 1)
    opening = steps[index, 0]
    displacement = torch.zeros(len(index), 468, 3)
    displacement[:, list(LOWER_LIP), 1] = -0.004 * opening[:, None]
    rotations = torch.from_numpy(turned(0.0).astype(np.float32)).repeat(len(index), 1, 1)
    return MotionTrack("a", windows, torch.zeros(len(index), 6), rotations, displacement, opening.double().numpy())


def test_the_field_learns_to_open_the_mouth_and_speech_drives_it() -> None:
    vertices = torch.from_numpy(canonical_face().vertices.astype(np.float32))
    track, context = speaking_track(0), StageContext()
    schedule = PriorSchedule(iterations=100, frames=8, points=40, lip_weight=20.0, noise=0.0)
    field = train_motion_prior([track], vertices, schedule, 0, context)
    assert opening_correlation(field, track, vertices) > 0.8
    assert field.layers[-1][3:].abs().max() == 0  # rotation and scale saw no target


def test_personalising_moves_the_field_toward_the_person() -> None:
    vertices = torch.from_numpy(canonical_face().vertices.astype(np.float32))
    schedule = PriorSchedule(iterations=40, frames=8, points=40, lip_weight=20.0, noise=0.0)
    field = train_motion_prior([speaking_track(0)], vertices, schedule, 0, StageContext())
    person = speaking_track(1)
    before = opening_correlation(field, person, vertices)
    personalise(field, person, vertices, 0, StageContext())
    assert opening_correlation(field, person, vertices) > before


def test_a_letter_after_a_number_is_another_clip_of_the_same_person() -> None:
    assert [identity_of(name) for name in ("id04", "id04b", "anna", "anna2c")] == ["id04", "id04", "anna", "anna2"]
