"""The audio-video lag, on made speech whose lag is known, and on real people."""

from __future__ import annotations

import numpy as np
import pytest

from core.clip.lag import LagPredictor, heard_around, measure_lag

FRAMES = 125


def made_clip(lag: int, noise: float) -> tuple[LagPredictor, np.ndarray, np.ndarray]:
    """A predictor, speech with 64 steps of margin, and a mouth that follows it `lag` frames off."""
    generator = np.random.default_rng(3)
    speech = generator.normal(size=(2 * FRAMES + 128, 64))
    predictor = LagPredictor(np.zeros(11 * 64), generator.normal(0, 0.04, 11 * 64))
    opening = predictor(heard_around(speech, 64, np.arange(FRAMES), lag))
    return predictor, speech, opening + noise * opening.std() * generator.normal(size=FRAMES)


@pytest.mark.parametrize("lag", [-6, -1, 0, 3])
def test_finds_the_lag_that_was_made(lag: int) -> None:
    predictor, speech, opening = made_clip(lag, noise=0.8)
    found = measure_lag(speech, 64, opening, np.ones(FRAMES, bool), predictor)
    assert found.frames == lag and found.sure


def test_is_not_sure_of_a_mouth_that_follows_nothing() -> None:
    predictor, speech, _ = made_clip(0, noise=0)
    opening = np.random.default_rng(4).normal(size=FRAMES)
    assert not measure_lag(speech, 64, opening, np.ones(FRAMES, bool), predictor).sure


def test_is_not_sure_of_a_still_mouth_or_of_a_few_frames() -> None:
    predictor, speech, opening = made_clip(2, noise=0)
    assert not measure_lag(speech, 64, np.zeros(FRAMES), np.ones(FRAMES, bool), predictor).sure
    assert not measure_lag(speech, 64, opening, np.arange(FRAMES) < 50, predictor).sure


def test_leaves_out_frames_without_a_face() -> None:
    predictor, speech, opening = made_clip(-2, noise=0.2)
    opening[20:40] = 1e3
    seen = np.ones(FRAMES, bool)
    seen[20:40] = False
    assert measure_lag(speech, 64, opening, seen, predictor).frames == -2
