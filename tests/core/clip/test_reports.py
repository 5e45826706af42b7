"""The reports' own arithmetic, against closed forms: what docs/clip.md says of tracking and lag rests on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.clip.fit_lag_predictor import Speaker, fit_ridge, moments, predictors_of_others
from core.clip.footage import Footage
from core.clip.intake import FRAME_SAMPLES
from core.clip.lag import LARGEST_LAG, LagPredictor
from core.clip.lag_report import Judged, voices_figures
from core.clip.poses import project
from core.clip.rotations import rotation_from_vector
from core.clip.tracking import Track
from core.clip.tracking_report import CAMERA, acceleration, slow_power, turn_errors

FRAMES = 250


def track_of(shift_px: np.ndarray) -> Track:
    """A head that looks straight ahead and moves sideways by `shift_px` [T] in the picture (at the ears' depth)."""
    rotations = np.tile(np.diag([1.0, -1.0, -1.0]), (len(shift_px), 1, 1))
    translations = np.tile([0.0, 0.0, 0.6], (len(shift_px), 1))
    at = project(np.zeros((1, 3)), rotations, translations, CAMERA)[:, 0, 0]
    translations[:, 0] = (at + shift_px - CAMERA.cx) * 0.6 / CAMERA.fx
    return Track(rotations, translations, np.zeros((1, 3)), np.ones(1, bool), np.zeros(len(shift_px)))


def test_acceleration_is_the_second_difference_in_pixels_and_skips_jumps() -> None:
    time = np.arange(FRAMES)
    steady = track_of(0.25 * time)
    assert acceleration(steady) == pytest.approx(np.zeros(4), abs=1e-9)
    bent = acceleration(track_of(0.01 * time**2))
    assert bent.min() > 0.015 and bent.max() < 0.025, "2 x 0.01, a little more or less at other depths"
    jump = track_of(0.25 * time + np.where(time < 100, 0, 40))
    assert acceleration(jump).min() > 2
    assert acceleration(jump, (100,)) == pytest.approx(np.zeros(4), abs=1e-9)


def test_slow_power_counts_slow_motion_only() -> None:
    time = np.arange(FRAMES) / 25
    slow, fast = np.sin(2 * np.pi * 1.0 * time), np.sin(2 * np.pi * 4.0 * time)
    assert slow_power(track_of(slow + fast)) == pytest.approx(slow_power(track_of(slow)), rel=1e-3)
    assert slow_power(track_of(0.5 * slow)) == pytest.approx(0.25 * slow_power(track_of(slow)), rel=1e-6)


def test_turn_errors_forgive_one_turn_of_head_space() -> None:
    generator = np.random.default_rng(0)
    made = rotation_from_vector(generator.normal(0, 0.2, (FRAMES, 3)))
    space = rotation_from_vector(np.array([0.08, 0.0, 0.0]))
    errors, turn = turn_errors(made @ space, made)
    assert errors.max() < 1e-5 and turn == pytest.approx(np.degrees(0.08))
    off = np.zeros((FRAMES, 3))
    off[::2, 1], off[1::2, 1] = np.radians(1), -np.radians(1)
    errors, _ = turn_errors(rotation_from_vector(off) @ made @ space, made)
    assert errors.mean() == pytest.approx(1, abs=0.05)


def made_speaker(identity: str, seed: int, rule: np.ndarray) -> Speaker:
    generator = np.random.default_rng(seed)
    speaker = Speaker(identity, generator.normal(size=(600, 64)), 40, np.zeros(FRAMES), np.ones(FRAMES, bool))
    opening = speaker.heard(0) @ rule
    return replace(speaker, opening=(opening - opening.mean()) / opening.std())


@pytest.fixture(scope="module")
def speakers() -> list[Speaker]:
    rule = np.random.default_rng(9).normal(size=11 * 64)
    return [made_speaker(name, seed, rule) for seed, name in enumerate(("a", "a", "b", "c"))]


def test_sums_give_the_ridge_that_the_frames_give(speakers: list[Speaker]) -> None:
    heard = np.concatenate([speaker.heard(1) for speaker in speakers[:2]])
    opening = np.concatenate([speaker.opening for speaker in speakers[:2]])
    found = fit_ridge([moments(speaker, 1) for speaker in speakers[:2]])
    centred = heard - heard.mean(0)
    stacked = np.concatenate([centred, np.sqrt(3000.0) * np.eye(11 * 64)])
    expected = np.linalg.lstsq(stacked, np.concatenate([opening, np.zeros(11 * 64)]), rcond=None)[0]
    assert np.allclose(found.weights, expected, atol=1e-5) and np.allclose(found.mean, heard.mean(0), atol=1e-5)


def test_nobody_is_judged_by_a_predictor_that_knows_them(speakers: list[Speaker]) -> None:
    predictors = predictors_of_others(speakers, [0, 0, 0, 0])
    assert np.array_equal(predictors[0].weights, predictors[1].weights), "two clips of one person"
    alone = fit_ridge([moments(speaker, 0) for speaker in speakers[2:]])
    assert np.array_equal(predictors[0].weights, alone.weights)


def test_a_voice_of_their_own_is_told_from_a_strangers(speakers: list[Speaker]) -> None:
    rule = LagPredictor(np.zeros(11 * 64), np.random.default_rng(9).normal(size=11 * 64))
    silent = np.zeros((1 + 2 * LARGEST_LAG + FRAMES) * FRAME_SAMPLES, np.float32)
    nothing = np.zeros((FRAMES, 478, 3), np.float32)
    footage = Footage(
        nothing, np.zeros((FRAMES, 52), np.float32), np.ones(FRAMES, bool), silent, np.zeros((1, 64), np.float32),
        np.array(0), np.zeros(0, np.int64),
    )  # fmt: skip
    found = voices_figures({str(n): Judged(footage, speaker, rule) for n, speaker in enumerate(speakers)})
    assert found["own"] == {"pairs": 4, "sure_5s": 1, "sure_all": 1}
    assert found["stranger"] == {"pairs": 10, "sure_5s": 0, "sure_all": 0}
