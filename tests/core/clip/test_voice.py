"""When a recording counts as speech, step by step and frame by frame."""

from __future__ import annotations

import numpy as np

from core.clip.voice import frame_voice, loudness, voice_gate

RATE = 16_000


def tone(seconds: float, amplitude: float) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * 220 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def quiet(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


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


def test_a_frame_has_voice_while_its_own_forty_milliseconds_have() -> None:
    gate = voice_gate(np.concatenate([quiet(1), tone(1, 0.3), quiet(1)]))
    found = frame_voice(gate, np.arange(-5, 80))
    assert found.shape == (85,)
    assert (found[:20] == 0).all() and (found[75:] == 0).all(), "silence before, after, and beyond the recording"
    assert (found[30:55] == 1).all()
    assert np.array_equal(frame_voice(gate, np.arange(20, 30), lag=3), frame_voice(gate, np.arange(23, 33)))
    assert frame_voice(gate, np.array([22]))[0] == (gate[44] + gate[45]) / 2
    assert not frame_voice(np.zeros(0, np.float32), np.arange(3)).any()
