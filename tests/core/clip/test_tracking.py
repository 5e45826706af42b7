"""Head tracking against poses that we know, because we made them."""

from __future__ import annotations

import numpy as np
import pytest

from core.camera import Camera
from core.clip.canonical import RIGID_INDICES, canonical_face, head_anchors
from core.clip.landmarks import LID_PAIRS
from core.clip.poses import project
from core.clip.rotations import rotation_from_vector, vector_from_rotation, yaw_pitch_roll
from core.clip.smoothing import short_gaps
from core.clip.tracking import Track, shut_lids, track_head

CAMERA = Camera.centred(900.0, 512)
FRAMES = 40
NOISE_PX = 0.7


def made_poses() -> tuple[np.ndarray, np.ndarray]:
    time = np.arange(FRAMES) / 25
    vectors = np.stack([0.12 * np.sin(2 * time), 0.35 * np.sin(1.3 * time + 1), 0.08 * np.sin(3 * time)], 1)
    rotations = rotation_from_vector(vectors) @ np.diag([1.0, -1.0, -1.0])
    shifts = np.stack([0.01 * np.sin(time), 0.02 + 0.005 * np.cos(2 * time), 0.58 + 0.01 * np.sin(0.7 * time)], 1)
    return rotations, shifts


def made_landmarks(person: np.ndarray, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    landmarks = np.zeros((FRAMES, 478, 3), np.float32)
    landmarks[:, :468, :2] = project(person, *made_poses(), CAMERA)
    landmarks[..., :2] += generator.normal(0, NOISE_PX, (FRAMES, 478, 2))
    return landmarks


def person() -> np.ndarray:
    """The canonical face with 3 mm of individuality, smooth over the face."""
    vertices = canonical_face().vertices
    return vertices + 0.003 * np.sin(vertices * 40 + [0, 1, 2])


@pytest.fixture(scope="module")
def plain() -> Track:
    """The track of an undisturbed clip."""
    return track_head(made_landmarks(person()), np.ones(FRAMES, bool), CAMERA)


def turn_errors(track: Track) -> np.ndarray:
    """Degrees between found and made rotations, up to the one turn of head space that no picture shows."""
    made, _ = made_poses()
    between = made.transpose(0, 2, 1) @ track.rotations
    middle = rotation_from_vector(vector_from_rotation(between[:1].transpose(0, 2, 1) @ between).mean(0))
    rest = (between[0] @ middle).T @ between
    return np.degrees(np.linalg.norm(vector_from_rotation(rest), axis=-1))


def test_recovers_rotation_within_a_fraction_of_a_degree(plain: Track) -> None:
    track = plain
    assert turn_errors(track).mean() < 0.4
    assert turn_errors(track).max() < 0.75
    assert track.rmse == pytest.approx(NOISE_PX * np.sqrt(2), rel=0.1), "what is left is the noise"


def test_points_that_expression_moves_do_not_carry_the_pose() -> None:
    landmarks = made_landmarks(person())
    moving = [33, 263, 8, 9]
    landmarks[:, moving, 1] += 6 * np.sin(np.arange(FRAMES) * 0.9)[:, None]
    track = track_head(landmarks, np.ones(FRAMES, bool), CAMERA)
    carries = dict(zip(RIGID_INDICES, track.rigid, strict=True))
    assert not any(carries[index] for index in moving)
    assert track.rigid.sum() > 0.7 * len(RIGID_INDICES)
    assert turn_errors(track).mean() < 0.4
    assert track.rmse < 1.1 * NOISE_PX * np.sqrt(2), "the moving points are no part of the error"


def test_head_space_lies_on_the_face(plain: Track) -> None:
    track = plain
    seen = project(person(), *made_poses(), CAMERA)
    placed = project(canonical_face().vertices, track.rotations, track.translations, CAMERA)
    assert np.linalg.norm(seen - placed, axis=-1).mean() < 4
    made_turn, _ = made_poses()
    assert np.abs(yaw_pitch_roll(track.rotations) - yaw_pitch_roll(made_turn)).max() < 3


def test_smoothing_follows_real_motion_and_calms_noise(plain: Track) -> None:
    track = plain
    nose = person()[[1]]
    made = project(nose, *made_poses(), CAMERA)[:, 0]
    found = project(track.points[[RIGID_INDICES.index(1)]], track.rotations, track.translations, CAMERA)[:, 0]
    assert np.linalg.norm(found - made, axis=-1).mean() < 0.6
    jitter = np.linalg.norm(np.diff(found, 2, axis=0), axis=1).mean()
    real = np.linalg.norm(np.diff(made, 2, axis=0), axis=1).mean()
    noisy = np.linalg.norm(np.diff(made_landmarks(person())[:, 1, :2], 2, axis=0), axis=1).mean()
    assert jitter < real + 0.35 * (noisy - real)


def test_a_turn_that_all_landmarks_share_for_a_frame_is_not_taken_for_the_heads() -> None:
    made = np.tile(rotation_from_vector(np.array([0.1, 0.1, 0.0])) @ np.diag([1.0, -1.0, -1.0]), (FRAMES, 1, 1))
    shifts = np.tile([0.0, 0.0, 0.6], (FRAMES, 1))
    nods = np.zeros((FRAMES, 3))
    nods[::2, 0] = np.radians(1.0)
    landmarks = np.zeros((FRAMES, 478, 3))
    landmarks[:, :468, :2] = project(person(), rotation_from_vector(nods) @ made, shifts, CAMERA)
    seen = np.ones(FRAMES, bool)

    def shaking(smooth: bool) -> float:
        track = track_head(landmarks, seen, CAMERA, smooth=smooth)
        place = project(head_anchors(), track.rotations, track.translations, CAMERA)
        return float(np.sqrt((np.diff(place, 2, axis=0) ** 2).sum(-1).mean(0))[1:].min())

    assert shaking(smooth=True) < 0.1 * shaking(smooth=False)


def test_shut_eyes_do_not_tilt_the_head() -> None:
    landmarks = made_landmarks(person())
    shut = slice(18, 24)
    rotations, shifts = made_poses()
    tilt = rotation_from_vector(np.array([np.radians(2.5), 0.0, 0.0]))
    landmarks[shut, :468, :2] = project(person(), tilt @ rotations[shut], shifts[shut], CAMERA)
    open_eyed = turn_errors(track_head(landmarks, np.ones(FRAMES, bool), CAMERA))
    for upper, lower in LID_PAIRS:
        landmarks[shut, upper] = landmarks[shut, lower]
    assert shut_lids(landmarks, np.ones(FRAMES, bool))[shut].min() > 0.9
    blinking = turn_errors(track_head(landmarks, np.ones(FRAMES, bool), CAMERA))
    assert blinking[shut].mean() < 0.7 * open_eyed[shut].mean()


def test_nothing_is_smoothed_or_bridged_across_a_jump() -> None:
    landmarks, seen = made_landmarks(person()), np.ones(FRAMES, bool)
    landmarks[20:, :, 0] += 30
    seen[18:22] = False
    track = track_head(landmarks, seen, CAMERA, jumps=(20,))
    place = project(np.zeros((1, 3)), track.rotations, track.translations, CAMERA)[:, 0, 0]
    made = project(np.zeros((1, 3)), *made_poses(), CAMERA)[:, 0, 0] + np.where(np.arange(FRAMES) < 20, 0, 30)
    error = (place - made) - np.median(place - made)
    assert np.abs(error).max() < 5
    assert np.diff(place)[19] > 25, "the step stays between two frames"


def test_outliers_do_not_pull_the_head() -> None:
    landmarks = made_landmarks(person())
    landmarks[10:16, [67, 103, 54, 21]] += 25
    track = track_head(landmarks, np.ones(FRAMES, bool), CAMERA)
    assert turn_errors(track).max() < 1.0


def test_a_gap_is_bridged_and_shifts_no_later_frame() -> None:
    landmarks = made_landmarks(person())
    seen = np.ones(FRAMES, bool)
    seen[20:24] = False
    landmarks[20:24] = 1e6
    track = track_head(landmarks, seen, CAMERA)
    errors = turn_errors(track)
    assert errors[seen].mean() < 0.4
    assert errors[~seen].max() < 1.5
    assert np.isnan(track.errors[~seen]).all() and np.isfinite(track.errors[seen]).all()


def test_known_points_give_the_same_head_space_to_a_second_clip() -> None:
    landmarks = made_landmarks(person())
    first = track_head(landmarks[:30], np.ones(30, bool), CAMERA)
    second = track_head(landmarks[20:], np.ones(FRAMES - 20, bool), CAMERA, first.points)
    assert np.array_equal(second.points, first.points)
    between = first.rotations[20:30].transpose(0, 2, 1) @ second.rotations[:10]
    assert np.degrees(np.linalg.norm(vector_from_rotation(between), axis=-1)).max() < 0.5
    assert np.abs(first.translations[20:30] - second.translations[:10]).max() < 0.005


def test_only_short_gaps_between_faces_count_as_short() -> None:
    seen = np.ones(40, bool)
    seen[:2] = seen[10:15] = seen[20:26] = seen[39:] = False
    assert np.nonzero(short_gaps(seen))[0].tolist() == [10, 11, 12, 13, 14]


def test_rotation_vectors_and_matrices_are_inverse() -> None:
    vectors = np.random.default_rng(1).normal(0, 0.8, (50, 3))
    assert np.allclose(vector_from_rotation(rotation_from_vector(vectors)), vectors)
    assert np.allclose(rotation_from_vector(np.zeros(3)), np.eye(3))


def test_yaw_is_positive_to_the_pictures_right() -> None:
    turned = np.diag([1.0, -1.0, -1.0]) @ rotation_from_vector(np.array([0, np.radians(20), 0]))
    assert yaw_pitch_roll(turned) == pytest.approx([20, 0, 0])
    nose = turned @ [0, 0, 0.1]
    assert nose[0] > 0
