"""What counts as a voice: made sounds whose nature is known, and real speakers where their recordings are here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.clip.voicing import frame_levels, voiced_frames
from core.media import decode_audio
from core.sample.phones import TALK, speak
from core.sample.voice import RATE, Voice, synthesise

SECONDS = np.arange(80_000) / 16_000
NOISE = np.random.default_rng(0).normal(size=80_000)
NO_VOICES = {
    "silence": 0 * NOISE,
    "white noise": 0.1 * NOISE,
    "noise that comes and goes": 0.1 * NOISE * (1 + np.sin(8 * np.pi * SECONDS)),
    "rumble": 0.003 * np.cumsum(NOISE),
    "hum of the mains": 0.1 * np.sin(100 * np.pi * SECONDS) + 0.01 * NOISE,
    "a steady tone": 0.1 * np.sin(440 * np.pi * SECONDS),
}


@pytest.mark.parametrize("name", NO_VOICES)
def test_is_not_taken_for_a_voice(name: str) -> None:
    assert voiced_frames(NO_VOICES[name].astype(np.float32), 125).mean() < 0.02


def test_a_spoken_sentence_is_a_voice_and_the_pause_before_it_is_none() -> None:
    lead = 1.0
    spoken = synthesise(speak(TALK, 5.0, lead, 1.0, 0), Voice(pitch=120.0, tract=0.9), 0)
    thirds = np.interp(np.arange(0, len(spoken), RATE / 16_000), np.arange(len(spoken)), spoken).astype(np.float32)
    voiced = voiced_frames(thirds, 125)
    assert not voiced[: round(25 * lead) - 4].any()
    assert voiced[25:].mean() > 0.4


def test_levels_are_those_of_a_sine() -> None:
    sine = (0.5 * np.sin(2000 * np.pi * SECONDS)).astype(np.float32)
    assert frame_levels(sine, 125) == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.1)
    assert frame_levels(sine[:640], 3)[1:] == pytest.approx(-120)


@pytest.mark.clips
def test_real_speakers_are_heard(clips: Path) -> None:
    for path in sorted((clips / "speech").glob("*.wav")):
        samples = decode_audio(path)
        assert 0.6 < voiced_frames(samples, len(samples) // 640).mean() < 0.9, path.name
