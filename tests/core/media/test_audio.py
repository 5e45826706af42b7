"""Sound: the right sample at the right time, from any file that has some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import InputRefusedError
from core.media import SPEECH_RATE_HZ, check_speech_level, decode_audio, loud_seconds, probe

from .conftest import RATE, Maker, click_times, clicks, run_ffmpeg


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts", "v.avi"])
def test_clicks_come_when_they_were_made(maker: Maker, name: str) -> None:
    path = maker.video(name)
    samples = decode_audio(path, origin_s=probe(path).origin_s)
    assert samples.dtype == np.float32
    offset = 0.025 if name in ("v.ts", "v.avi") else 0.0  # no edit list there: the AAC encoder's delay stays
    assert click_times(samples, SPEECH_RATE_HZ) == pytest.approx([0.5, 1.5], abs=0.002 + offset)


@pytest.mark.parametrize(("picture", "sound"), [(0.08, 0.0), (0.0, 0.3), (0.5, 0.0)])
def test_picture_and_sound_share_one_time_line(maker: Maker, picture: float, sound: float) -> None:
    path = maker.video("v.mp4", video_delay_s=picture, audio_delay_s=sound)
    samples = decode_audio(path, origin_s=probe(path).origin_s)
    assert click_times(samples, SPEECH_RATE_HZ) == pytest.approx([0.5 + sound, 1.5 + sound], abs=0.002)
    assert np.abs(samples[: int((sound + 0.4) * SPEECH_RATE_HZ)]).max() < 0.01


def test_a_hole_in_the_sound_stays_a_hole(maker: Maker) -> None:
    """Packets from 0.6 to 1.2 s are missing; what comes after them keeps its time."""
    sound = maker.wav("a.wav", clicks(2, [0.5, 1.5]))
    path = maker.folder / "hole.mkv"
    run_ffmpeg("-i", str(sound), "-af", "aselect=lt(t\\,0.6)+gt(t\\,1.2)", "-c:a", "pcm_s16le", str(path))
    assert click_times(decode_audio(path), SPEECH_RATE_HZ) == pytest.approx([0.5, 1.5], abs=0.003)


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a", "a.ogg", "a.flac", "a.aac"])
def test_plain_sound_files(maker: Maker, name: str) -> None:
    source = maker.wav("source.wav", clicks(2, [0.5, 1.5]))
    run_ffmpeg("-i", str(source), str(maker.folder / name))
    samples = decode_audio(maker.folder / name)
    tolerance = 0.03 if name == "a.aac" else 0.002
    assert click_times(samples, SPEECH_RATE_HZ) == pytest.approx([0.5, 1.5], abs=tolerance)
    assert samples.size == pytest.approx(2 * SPEECH_RATE_HZ, abs=0.08 * SPEECH_RATE_HZ)


def test_wav_is_exact_and_stereo_is_averaged(maker: Maker) -> None:
    time = np.arange(SPEECH_RATE_HZ) / SPEECH_RATE_HZ
    left = (0.4 * np.sin(2 * np.pi * 300 * time)).astype("<f4")
    right = np.zeros_like(left)
    path = maker.folder / "stereo.wav"
    words = ("-f", "f32le", "-ar", "16000", "-ac", "2", "-i", "pipe:0", "-c:a", "pcm_f32le", str(path))
    run_ffmpeg(*words, data=np.stack([left, right], 1).tobytes())
    samples = decode_audio(path)
    assert samples.size == SPEECH_RATE_HZ
    assert np.abs(samples - left / 2).max() < 1e-4


def test_resampling_keeps_a_tone(maker: Maker) -> None:
    time = np.arange(2 * RATE) / RATE
    path = maker.wav("tone.wav", (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32))
    samples = decode_audio(path)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(samples.size) / SPEECH_RATE_HZ)
    assert np.abs(samples - expected)[200:-200].max() < 0.01


def test_a_time_stamp_far_away_makes_no_long_silence(maker: Maker) -> None:
    path = maker.folder / "far.mkv"
    sound = maker.wav("a.wav", clicks(1.0, [0.5]))
    words = ("-i", str(sound), "-af", "asetpts=PTS+gte(N\\,20)*600/TB", "-c:a", "pcm_s16le", str(path))
    run_ffmpeg(*words)
    assert len(decode_audio(path)) > 500 * SPEECH_RATE_HZ
    assert len(decode_audio(path, seconds=5)) == 5 * SPEECH_RATE_HZ


@pytest.mark.parametrize("level", [0.0, 0.001])
def test_silence_is_refused(level: float) -> None:
    noise = (level * np.random.default_rng(0).normal(size=5 * SPEECH_RATE_HZ)).astype(np.float32)
    with pytest.raises(InputRefusedError) as caught:
        check_speech_level(noise)
    assert caught.value.code == "audio_silent"


def test_quiet_speech_with_pauses_passes() -> None:
    samples = np.zeros(10 * SPEECH_RATE_HZ, np.float32)
    samples[16000:28000] = 0.02 * np.sin(np.arange(12000) / 10)
    check_speech_level(samples)
    assert loud_seconds(samples) == pytest.approx(0.75, abs=0.15)


def test_a_video_without_sound_is_refused(maker: Maker) -> None:
    with pytest.raises(InputRefusedError) as caught:
        decode_audio(maker.video("v.mp4", click_at=None, frames=5))
    assert caught.value.code == "no_audio"


def test_a_sound_stream_without_samples_is_refused(maker: Maker) -> None:
    path = maker.wav("empty.wav", np.zeros(0, np.float32))
    with pytest.raises(InputRefusedError) as caught:
        decode_audio(path)
    assert caught.value.code in ("no_audio", "media_truncated")


def test_real_speech_is_loud_enough(clips: Path) -> None:
    for path in [*sorted((clips / "speech").glob("*.wav")), clips / "adapt" / "id03.mp4"]:
        check_speech_level(decode_audio(path))
