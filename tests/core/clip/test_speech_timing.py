"""An impulse at time t lands in frame round(25 t): the real path, from the file to the windows of a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from core.clip.build import clip_speech
from core.clip.layout import SPEECH_MARGIN
from core.clip.speech import WINDOW_STEPS, WINDOWS, speech_windows
from core.media import decode_audio, decode_frames, probe
from tests.core.media.conftest import RATE, WIDTH, Maker, number_of, run_ffmpeg

IMPULSES = (0.6, 1.41, 2.03)
"""Seconds after the sound's own start."""
FRAMES = np.arange(70)

Sound = npt.NDArray[np.float32]


def in_the_middle(audio: Sound, frames: npt.NDArray[np.integer]) -> Sound:
    """[F, D] the step in the middle of each frame's own window."""
    windows = speech_windows(clip_speech(audio, 0, int(frames.max()) + 1), SPEECH_MARGIN, frames)
    return windows[:, WINDOWS // 2, WINDOW_STEPS // 2]


def film(maker: Maker, name: str, impulses: tuple[float, ...], video_delay: float, audio_delay: float) -> Path:
    """Pictures that say their number, over the noise of a room with impulses in it."""
    sound = 1e-3 * np.random.default_rng(0).normal(size=3 * RATE).astype(np.float32)
    for when in impulses:
        sound[round(when * RATE) :][:4] = 0.9
    pictures, path = maker.video(f"{name}.pictures.mp4", frames=75, click_at=None), maker.folder / f"{name}.mkv"
    run_ffmpeg(
        "-itsoffset", str(video_delay), "-i", str(pictures), "-itsoffset", str(audio_delay),
        "-i", str(maker.wav(f"{name}.wav", sound)), "-c:v", "copy", "-c:a", "flac", str(path),
    )  # fmt: skip
    return path


@pytest.mark.parametrize(("video_delay", "audio_delay"), [(0.0, 0.0), (0.0, 0.2), (0.08, 0.0)])
def test_an_impulse_lands_in_the_frame_of_its_time(
    video_delay: float, audio_delay: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, struck = (
        film(Maker(tmp_path), name, impulses, video_delay, audio_delay)
        for name, impulses in (("quiet", ()), ("struck", IMPULSES))
    )
    info = probe(struck)
    sounds = [decode_audio(one, origin_s=info.origin_s) for one in (quiet, struck)]
    due = [round(25 * (when + audio_delay - info.origin_s)) for when in IMPULSES]
    for features in ("whisper", "log-mel"):
        monkeypatch.setenv("LIKENESS_SPEECH_FEATURES", features)
        without, with_impulses = (in_the_middle(sound, FRAMES) for sound in sounds)
        changed = np.linalg.norm(with_impulses - without, axis=1)
        for frame in due:
            assert frame - 9 + int(changed[frame - 9 : frame + 10].argmax()) == frame, features
    for when, frame in zip(IMPULSES, due, strict=True):
        crop = (0, 0, WIDTH)
        shown = next(iter(decode_frames(struck, info, crop=crop, size=WIDTH, start_frame=frame, count=1)))
        assert number_of(shown) == round(25 * (when + audio_delay - video_delay)), "and its picture is shown then"


def test_a_recording_whose_picture_starts_late_is_heard_on_time(clips: Path) -> None:
    """`id02`'s picture begins 80 ms after its sound: its first frames repeat, and nothing is shifted."""
    video = clips / "pretrain" / "id02.mp4"
    info = probe(video)
    assert (info.audio_start_s, info.video_start_s) == pytest.approx((0.0, 0.08), abs=1e-3)
    first, second, third, fourth = decode_frames(video, info, crop=None, size=512, start_frame=0, count=4)
    assert np.array_equal(first, second) and np.array_equal(second, third) and not np.array_equal(third, fourth)
    sound = decode_audio(video, origin_s=info.origin_s)[: 16000 * 4]
    struck = sound.copy()
    struck[round(1.28 * 16000) :][:2] = 0.9
    changed = np.linalg.norm(in_the_middle(struck, FRAMES) - in_the_middle(sound, FRAMES), axis=1)
    assert int(changed.argmax()) == round(25 * 1.28)
