"""A track reads what it is asked for: displacements undo the rigid head, windows follow the lag."""

from __future__ import annotations

import numpy as np
import torch

from core.camera import Camera
from core.clip.canonical import canonical_face
from core.learn.judging import LOWER_LIP
from core.learn.motion_track import WRONG_AUDIO_FRAMES, displacements
from tests.core.learn.made_tracks import FRAMES, made_track

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


def test_a_shift_hears_what_sounds_that_many_frames_later() -> None:
    track, frames = made_track(0), np.array([10, 30])
    assert torch.equal(track.heard(frames, 3), track.heard(frames + 3))


def test_a_part_keeps_its_frames_beside_their_speech() -> None:
    track = made_track(0)
    part = track.part(20, 50)
    assert part.count == 30
    assert torch.equal(part.heard(np.array([4])), track.heard(np.array([24])))
    assert part.opening[4] == track.opening[24]


def test_wrong_audio_moves_nothing_but_what_is_heard() -> None:
    track = made_track(0)
    wrong = track.with_wrong_audio()
    assert torch.equal(wrong.heard(np.array([3])), track.heard(np.array([(3 + WRONG_AUDIO_FRAMES) % FRAMES])))
    assert wrong.displacement is track.displacement
