"""Speech features: Whisper's log-mel against torch, timing, windows against loops, invisible chunk borders."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.clip.build import clip_speech
from core.clip.layout import SPEECH_MARGIN
from core.clip.log_mel import log_mel, mel_filters
from core.clip.speech import encode_speech, reduce_speech, speech_windows


def babble(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise whose loudness and colour change like syllables."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16000)) / 16000
    voice = sum(np.sin(2 * np.pi * k * (120 + 15 * np.sin(3 * time)) * time) / k for k in range(1, 20))
    envelope = np.clip(np.sin(2 * np.pi * 3.1 * time) + 0.3 * np.sin(2 * np.pi * 0.9 * time), 0, None)
    return (0.1 * voice * envelope + 0.003 * generator.normal(size=len(time))).astype(np.float32)


def test_log_mel_is_whispers() -> None:
    audio = babble(2.0)
    spectrum = torch.stft(
        torch.from_numpy(audio).double(),
        400,
        160,
        window=torch.hann_window(400, dtype=torch.float64),
        return_complex=True,
    )
    power = spectrum[:, :-1].abs() ** 2
    decades = torch.clamp(torch.from_numpy(mel_filters()).double() @ power, min=1e-10).log10()
    expected = (torch.maximum(decades, decades.max() - 8) + 4) / 4
    assert np.abs(log_mel(audio) - expected.numpy()).max() < 1e-3


def test_mel_filters_are_slaneys() -> None:
    filters = mel_filters()
    assert filters.shape == (80, 201)
    # Known values of librosa.filters.mel(sr=16000, n_fft=400, n_mels=80), which Whisper ships.
    assert filters[0, 1] == pytest.approx(0.02486259, abs=1e-6)
    assert filters[1, 1] == pytest.approx(0.00199082, abs=1e-6)
    widths = (filters * 40).sum(1)
    assert np.median(np.abs(widths - 1)) < 0.12, "unit area"


def test_a_click_lands_in_the_frame_of_its_time() -> None:
    for when in (0.5, 1.5, 3.02):
        audio = np.zeros(16000 * 4, np.float32)
        audio[round(when * 16000)] = 1.0
        assert round(int(log_mel(audio).sum(0).argmax()) / 4) == round(25 * when)


def test_a_sound_lands_in_the_step_of_its_time() -> None:
    quiet = 3e-3 * np.random.default_rng(0).normal(size=16000 * 4).astype(np.float32)
    loud = quiet.copy()
    loud[32000:33600] += babble(0.1) * 3
    changed = np.linalg.norm(reduce_speech(encode_speech(loud)) - reduce_speech(encode_speech(quiet)), axis=1)
    centre = (changed**2 * np.arange(len(changed))).sum() / (changed**2).sum()
    assert abs(centre / 50 - 2.05) < 0.25
    assert changed[98:106].mean() > 4 * changed[:25].mean()


def test_the_same_sound_gives_the_same_features_wherever_it_comes() -> None:
    """Neither borders of what is heard at once nor the place in the recording may show."""
    audio = babble(6.0)
    here = reduce_speech(encode_speech(audio))
    for shift in (7, 12):
        moved = reduce_speech(encode_speech(audio[shift * 320 :]))
        inner = slice(60, 220)
        one, other = here[shift:][inner], moved[inner]
        cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
        assert cosine.min() > 0.85 and cosine.mean() > 0.95


def test_windows_are_those_of_the_facts_sheet() -> None:
    features = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    zero, lag, frames = 10, 1, np.array([-3, 0, 12, 40])
    found = speech_windows(features, zero, frames, lag)
    assert found.shape == (4, 8, 16, 3)
    for number, frame in enumerate(frames):
        for window in range(8):
            for step in range(16):
                index = zero + 2 * (frame + lag - 4 + window) - 8 + step
                expected = features[index] if 0 <= index < 60 else np.zeros(3)
                assert np.array_equal(found[number, window, step], expected)


def test_no_features_are_heard_as_silence() -> None:
    assert not speech_windows(np.zeros((0, 4), np.float32), 0, np.arange(3)).any()
    assert encode_speech(np.zeros(0, np.float32)).shape == (0, 384)


def test_reduced_speech_is_bounded_and_of_unit_size(clips) -> None:
    from core.media import decode_audio

    reduced = reduce_speech(encode_speech(decode_audio(clips / "speech" / "en_male.wav")))
    assert reduced.shape[1] == 64 and np.abs(reduced).max() <= 6
    assert 0.5 < reduced.std() < 1.6


def test_a_clip_hears_its_surroundings_and_zeros_where_there_is_no_sound() -> None:
    audio = babble(6.0)
    features = clip_speech(audio, 25, 50)
    assert features.shape == (100 + 2 * SPEECH_MARGIN, 384)
    before_the_recording = SPEECH_MARGIN - 2 * 25
    assert not features[:before_the_recording].any()
    assert features[before_the_recording:].any(1).all()
    late = clip_speech(audio, 100, 50)
    assert late[: SPEECH_MARGIN + 100].any(1).all() and not late[SPEECH_MARGIN + 100 :].any()
