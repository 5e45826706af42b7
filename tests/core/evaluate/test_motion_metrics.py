"""Lips, lag and action-unit proxy against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from core.clip.landmarks import BLENDSHAPES, LIPS_INNER, LIPS_OUTER
from core.evaluate.motion import (
    LOWER_FACE,
    UPPER_FACE,
    action_unit_error,
    correlation,
    jitter,
    lip_distance,
    opening_lag,
)


def landmarks(frames: int = 7) -> np.ndarray:
    return np.random.default_rng(0).normal(100, 20, (frames, 478, 3)).astype(np.float32)


def speech_like(count: int, seed: int = 0) -> np.ndarray:
    return np.convolve(np.random.default_rng(seed).normal(size=count + 6), np.ones(7) / 7, "valid")


def test_lips_that_only_moved_as_a_whole_have_no_distance() -> None:
    recorded = landmarks()
    assert lip_distance(recorded + np.float32(5), recorded) == pytest.approx(0, abs=1e-5)


def test_one_lip_point_off_counts_as_one_of_forty() -> None:
    recorded = landmarks()
    rendered = recorded.copy()
    rendered[:, LIPS_OUTER[3], 0] += 8
    expected = (39 * 8 / 40 + 39 * 8 / 40) / 40
    assert lip_distance(rendered, recorded) == pytest.approx(expected, rel=1e-4)


def test_points_beside_the_lips_do_not_count() -> None:
    recorded = landmarks()
    rendered = recorded + np.float32(50)
    lips = [*LIPS_OUTER, *LIPS_INNER]
    rendered[:, lips] = recorded[:, lips]
    assert lip_distance(rendered, recorded) == 0


def test_correlation_is_pearsons() -> None:
    a, b = speech_like(50, 1), speech_like(50, 2)
    assert correlation(a, 3 * a + 2) == pytest.approx(1)
    assert correlation(a, -a) == pytest.approx(-1)
    expected = ((a - a.mean()) * (b - b.mean())).mean() / a.std() / b.std()
    assert correlation(a, b) == pytest.approx(expected)
    assert correlation(a, np.zeros(50)) is None


def test_jitter_is_what_a_steady_movement_has_not() -> None:
    steady = np.repeat(landmarks(1), 9, axis=0) + np.arange(9, dtype=np.float32)[:, None, None] * 3
    assert jitter(steady) == pytest.approx(0, abs=1e-4)
    shaken = steady.copy()
    shaken[1::2, :, 0] += 1
    assert jitter(shaken) == pytest.approx(2, rel=1e-4)


@pytest.mark.parametrize("lag", [-8, -2, 0, 1, 7])
def test_the_lag_is_found_with_its_sign(lag: int) -> None:
    recorded = speech_like(320)
    rendered = np.roll(recorded, lag) + np.random.default_rng(3).normal(0, 0.05, 320)
    assert opening_lag(rendered, recorded) == lag


def test_no_lag_without_movement_or_with_too_little_of_it() -> None:
    assert opening_lag(np.zeros(200), speech_like(200)) is None
    assert opening_lag(speech_like(74), speech_like(74)) is None


def test_one_blendshape_off_counts_in_its_own_unit_only() -> None:
    recorded = np.random.default_rng(0).random((9, 52)).astype(np.float32) * 0.5
    rendered = recorded.copy()
    rendered[:, BLENDSHAPES.index("eyeBlinkLeft")] += 0.4
    rendered[:, BLENDSHAPES.index("jawOpen")] += 0.1
    assert action_unit_error(rendered, recorded, UPPER_FACE) == pytest.approx(0.2**2, rel=1e-4)
    assert action_unit_error(rendered, recorded, LOWER_FACE) == pytest.approx(0.1**2, rel=1e-4)


def test_every_unit_is_made_of_known_blendshapes_and_none_is_in_both_halves() -> None:
    names = [name for units in (UPPER_FACE, LOWER_FACE) for shapes in units.values() for name in shapes]
    assert set(names) <= set(BLENDSHAPES)
    assert len(set(names)) == len(names)
    assert not set(UPPER_FACE) & set(LOWER_FACE)
