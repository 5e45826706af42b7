"""What stands behind each frame, and when a mouth may move."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.render.driving import fade_to_silence, frame_count, ping_pong

RATE = 16_000


@given(count=st.integers(0, 2000), recorded=st.integers(1, 300))
def test_neighbouring_frames_never_jump_and_every_recorded_frame_gets_its_turn(count: int, recorded: int) -> None:
    order = ping_pong(count, recorded)
    assert len(order) == count
    assert ((order >= 0) & (order < recorded)).all()
    steps = np.abs(np.diff(order))
    assert (steps == (0 if recorded == 1 else 1)).all()
    if count >= recorded:
        assert set(order[:recorded].tolist()) == set(range(recorded))


def test_the_order_is_forth_and_back() -> None:
    assert ping_pong(9, 4).tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]


def test_eleven_seconds_are_275_frames() -> None:
    assert frame_count(11 * RATE) == 275


@given(samples=st.integers(1, 20_000_000))
def test_the_picture_outlasts_the_sound_by_less_than_a_frame(samples: int) -> None:
    excess = frame_count(samples) / 25 - samples / RATE
    assert 0 <= excess < 1 / 25


def test_silence_is_faded_in_step_by_step() -> None:
    generator = np.random.default_rng(0)
    features, silence = generator.normal(size=(3, 4)).astype(np.float32), np.full(4, 9, np.float32)
    faded = fade_to_silence(features, np.array([1, 0, 0.25], np.float32), silence)
    np.testing.assert_array_equal(faded[0], features[0])
    np.testing.assert_array_equal(faded[1], silence)
    np.testing.assert_allclose(faded[2], 0.25 * features[2] + 0.75 * 9, rtol=1e-6)
    assert faded.dtype == np.float32
