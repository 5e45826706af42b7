"""The truth against the picture, measured by the landmark model, which saw neither."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation

from core.clip.canonical import RIGID_INDICES
from core.clip.landmarks import Landmarker, mouth_opening
from core.clip.layout import HEAD_LABELS, Label

Truth = Mapping[str, npt.NDArray[Any]]
Frames = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def seen(frames: Frames) -> Iterator[npt.NDArray[np.float32]]:
    """[T, 478, 3] what the landmark model finds in the decoded video."""
    with Landmarker(tracking=True) as landmarker:
        yield np.stack([landmarker.detect(frame)[0].landmarks for frame in frames])


def test_the_mouth_opens_as_the_truth_says_and_when(seen: npt.NDArray[np.float32], truth: Truth) -> None:
    measured, told = mouth_opening(seen), mouth_opening(truth["landmarks"])
    assert np.corrcoef(measured, told)[0, 1] > 0.95
    lags = {lag: np.corrcoef(measured[4:-4], np.roll(told, lag)[4:-4])[0, 1] for lag in range(-3, 4)}
    assert max(lags, key=lambda lag: lags[lag]) == 0


def test_the_opening_in_the_truth_is_the_distance_of_its_own_lip_points(truth: Truth) -> None:
    pixels = np.linalg.norm(truth["landmarks"][:, 13] - truth["landmarks"][:, 14], axis=1)
    assert np.allclose(pixels, truth["mouth_opening_px"], atol=1e-3)
    assert truth["mouth_opening_px"].max() > 4
    metres = np.linalg.norm(truth["points"][:, 13] - truth["points"][:, 14], axis=1)
    assert np.allclose(metres, truth["mouth_opening_m"], atol=1e-6)
    seen = np.einsum("tij,tnj->tni", truth["rotations"], truth["points"]) + truth["translations"][:, None]
    projected = seen[..., :2] / seen[..., 2:] * truth["focal"] + truth["size"] / 2
    assert np.abs(projected - truth["landmarks"]).max() < 0.01


def test_landmarks_lie_where_the_model_sees_them(seen: npt.NDArray[np.float32], truth: Truth) -> None:
    error = np.linalg.norm(seen[..., :2] - truth["landmarks"], axis=2)
    eyes = np.linalg.norm(truth["landmarks"][:, 33] - truth["landmarks"][:, 263], axis=1).mean()
    assert error.mean() / eyes < 0.025


def test_the_pose_is_the_one_that_explains_what_is_seen(seen: npt.NDArray[np.float32], truth: Truth) -> None:
    focal, middle = float(truth["focal"]), float(truth["size"]) / 2
    camera = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    rigid, errors, head = list(RIGID_INDICES), [], truth["points"][0].astype(np.float64)
    upright = cv2.Rodrigues(np.diag([1.0, -1.0, -1.0]))[0]
    still = np.flatnonzero(truth["blink"] < 0.05)[::7]  # shut lids make the model tilt the whole face
    for frame in still:
        pixels = seen[frame, rigid, :2].astype(np.float64)
        _, turn, _ = cv2.solvePnP(head[rigid], pixels, camera, None, upright.copy(), np.array([0.0, 0.0, 0.7]), True)
        found = Rotation.from_matrix(cv2.Rodrigues(turn)[0])
        errors.append(np.degrees((found * Rotation.from_matrix(truth["rotations"][frame]).inv()).magnitude()))
    assert np.mean(errors) < 1.5
    assert np.max(errors) < 3


def test_the_head_moves_but_stays_within_its_limits(truth: Truth) -> None:
    turns = Rotation.from_matrix(truth["rotations"] @ truth["rotations"][0].T).as_euler("yxz", degrees=True)
    assert np.ptp(turns[:, 0]) > 2
    assert np.abs(turns).max() < 20
    assert np.abs(np.diff(turns, axis=0)).max() < 2.5  # degrees a frame: no jumps
    assert np.allclose(truth["rotations"] @ truth["rotations"].transpose(0, 2, 1), np.eye(3), atol=1e-9)


def test_lids_shut_when_the_truth_blinks(seen: npt.NDArray[np.float32], truth: Truth) -> None:
    gaps = np.mean([np.linalg.norm(seen[:, a, :2] - seen[:, b, :2], axis=1) for a, b in ((159, 145), (386, 374))], 0)
    assert truth["blink"].max() > 0.9
    assert np.corrcoef(gaps, truth["blink"])[0, 1] < -0.9


def test_what_is_labelled_background_is_the_still_plate(frames: Frames, truth: Truth) -> None:
    for frame in (0, len(frames) // 2, len(frames) - 1):
        far = cv2.erode((truth["labels"][frame] == Label.BACKGROUND).astype(np.uint8), np.ones((7, 7))) > 0
        difference = np.abs(frames[frame].astype(int) - truth["plate"].astype(int))[far]
        assert far.mean() > 0.3
        assert difference.mean() < 5


def test_labels_agree_with_the_landmarks(truth: Truth) -> None:
    for frame in range(0, len(truth["labels"]), 9):
        labels, points = truth["labels"][frame], truth["landmarks"][frame]
        at = {index: labels[int(points[index, 1]), int(points[index, 0])] for index in (4, 205, 425, 17, 164, 9)}
        assert at[4] == at[205] == at[425] == at[164] == Label.SKIN
        assert np.isin(labels, HEAD_LABELS).mean() > 0.2
        middle = points[[13, 14]].mean(0)
        if truth["mouth_opening_px"][frame] > 3:
            assert labels[int(middle[1]), int(middle[0])] == Label.MOUTH
        if truth["mouth_opening_px"][frame] < 0.5:
            assert labels[int(middle[1]), int(middle[0])] == Label.LIPS
