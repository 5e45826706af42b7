"""What stands behind each frame, and when a mouth may move."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.render.driving import fade_to_silence, frame_count, loudness, ping_pong, voice_gate

RATE = 16_000


def tone(seconds: float, amplitude: float) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * 220 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def quiet(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


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


def test_loudness_of_a_tone_is_its_rms() -> None:
    level = loudness(tone(1, 0.1))
    np.testing.assert_allclose(level[5:-5], 20 * np.log10(0.1 / np.sqrt(2)), atol=0.3)
    assert (loudness(quiet(1)) == -120).all()


def test_loudness_has_a_step_for_each_feature_step() -> None:
    for samples in (1, 319, 320, 321, 16_000):
        assert len(loudness(np.ones(samples, np.float32))) == -(-samples // 320)


def test_speech_passes_and_silence_does_not() -> None:
    gate = voice_gate(np.concatenate([quiet(1), tone(1, 0.3), quiet(1)]))
    assert gate.shape == (150,)
    assert (gate[:40] == 0).all()
    assert (gate[50:100] == 1).all()
    assert (gate[112:] == 0).all()
    assert np.abs(np.diff(gate)).max() <= 0.21


def test_a_closure_inside_a_word_stays_speech() -> None:
    gate = voice_gate(np.concatenate([tone(0.5, 0.3), quiet(0.12), tone(0.5, 0.3)]))
    assert (gate == 1).all()


def test_room_noise_far_below_the_voice_is_silence() -> None:
    noise = np.random.default_rng(0).normal(0, 0.001, 3 * RATE).astype(np.float32)
    noise[RATE : 2 * RATE] += tone(1, 0.3)
    gate = voice_gate(noise)
    assert gate[:40].max() == 0
    assert gate[50:100].min() == 1


def test_quiet_recordings_are_speech_too() -> None:
    gate = voice_gate(np.concatenate([quiet(1), tone(1, 0.02), quiet(1)]))
    assert gate[55:95].min() == 1


def test_silence_is_faded_in_step_by_step() -> None:
    generator = np.random.default_rng(0)
    features, silence = generator.normal(size=(3, 4)).astype(np.float32), np.full(4, 9, np.float32)
    faded = fade_to_silence(features, np.array([1, 0, 0.25], np.float32), silence)
    np.testing.assert_array_equal(faded[0], features[0])
    np.testing.assert_array_equal(faded[1], silence)
    np.testing.assert_allclose(faded[2], 0.25 * features[2] + 0.75 * 9, rtol=1e-6)
    assert faded.dtype == np.float32
