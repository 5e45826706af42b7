"""The video writer: what comes out is what went in, as long as it, whole or not at all."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from core.errors import InputRefusedError, LikenessError, UsageError
from core.media import VideoWriter, decode_audio, decode_frames_full, probe, probe_audio, probe_picture
from core.media.binary import ffmpeg_path

from .conftest import WIDTH, Maker, click_times, clicks, coded, number_of


def write(path: Path, frames: int, audio: Path | None = None, **options: int) -> Path:
    with VideoWriter(path, WIDTH, 128, audio=audio, **options) as writer:
        for number in range(frames):
            writer.write(coded(number))
        assert writer.count == frames
    return path


def test_every_frame_comes_back_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", 60)
    info = probe_picture(path)
    assert (info.frame_count, info.fps, info.has_audio) == (60, 25.0, False)
    assert [number_of(frame) for frame in decode_frames_full(path, info, WIDTH)] == list(range(60))


@pytest.mark.parametrize("frames", [1, 7, 50, 75])
def test_sound_is_cut_or_goes_on_as_silence_to_match_the_pictures(maker: Maker, frames: int) -> None:
    audio = maker.wav("a.wav", clicks(2, [0.02, 1.5]))
    path = write(maker.folder / "v.mp4", frames, audio)
    info = probe(path)
    assert info.frame_count == frames
    assert info.video_start_s == info.audio_start_s == 0
    assert probe_audio(path).duration_s == pytest.approx(frames / 25, abs=0.001)
    samples = decode_audio(path, rate=48000)
    assert samples.size == frames * 1920
    expected = [time for time in (0.02, 1.5) if time < frames / 25]
    assert click_times(samples, 48000) == pytest.approx(expected, abs=0.0005)


def test_sound_can_begin_later_in_its_file(maker: Maker) -> None:
    audio = maker.wav("a.wav", clicks(2, [1.5]))
    with VideoWriter(maker.folder / "v.mp4", WIDTH, 128, audio=audio, audio_start_s=1.0) as writer:
        for number in range(25):
            writer.write(coded(number))
    assert click_times(decode_audio(maker.folder / "v.mp4"), 16000) == pytest.approx([0.5], abs=0.001)


def test_any_sound_file_will_do_and_any_rate(maker: Maker) -> None:
    audio = maker.wav("a.wav", clicks(1, [0.5])[::3], rate=16000)
    path = write(maker.folder / "v.mp4", 25, audio)
    assert click_times(decode_audio(path), 16000) == pytest.approx([0.5], abs=0.002)


def test_a_browser_can_play_it(maker: Maker) -> None:
    path = write(maker.folder / "v.mp4", 30, maker.wav("a.wav", clicks(2, [1])))
    told = subprocess.run([ffmpeg_path(), "-hide_banner", "-i", str(path)], capture_output=True, text=True).stderr
    assert "h264 (High)" in told
    assert "yuv420p(tv, bt709, progressive)" in told
    assert "aac (LC)" in told
    data = path.read_bytes()
    assert data[4:8] == b"ftyp"
    assert data.index(b"moov") < data.index(b"mdat")


def test_colours_survive(tmp_path: Path) -> None:
    """BT.709 there and back: flat patches of strong colours differ by rounding only."""
    frame = np.zeros((64, 192, 3), np.uint8)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (200, 140, 120), (10, 10, 10)]
    for k, colour in enumerate(colours):
        frame[:, k * 32 : (k + 1) * 32] = colour
    with VideoWriter(tmp_path / "v.mp4", 192, 64, crf=4) as writer:
        for _ in range(3):
            writer.write(frame)
    back = next(decode_frames_full(tmp_path / "v.mp4", probe_picture(tmp_path / "v.mp4"), 192))
    for k, colour in enumerate(colours):
        assert np.abs(back[32, k * 32 + 16].astype(int) - colour).max() <= 4


def test_an_exception_leaves_neither_file_nor_process(tmp_path: Path, is_running: Callable[[int], bool]) -> None:
    with pytest.raises(KeyError), VideoWriter(tmp_path / "v.mp4", WIDTH, 128) as writer:
        writer.write(coded(0))
        process = writer._process
        assert process is not None and is_running(process.pid)
        raise KeyError
    assert not is_running(process.pid)
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), VideoWriter(path, WIDTH, 128) as writer:
        writer.write(coded(0))
        raise KeyError
    assert path.read_bytes() == b"old"
    write(path, 3)
    assert probe_picture(path).frame_count == 3


def test_a_killed_encoder_is_reported_as_worth_another_try(tmp_path: Path) -> None:
    with pytest.raises(LikenessError) as caught, VideoWriter(tmp_path / "v.mp4", WIDTH, 128) as writer:
        assert writer._process is not None
        writer._process._process.kill()
        for number in range(200):
            writer.write(coded(number))
    assert (caught.value.code, caught.value.retryable) == ("process_killed", True)
    assert list(tmp_path.iterdir()) == []


def test_wrong_use_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        VideoWriter(tmp_path / "v.mp4", 191, 128)
    assert caught.value.code == "frame_size_odd"
    with pytest.raises(UsageError) as caught, VideoWriter(tmp_path / "v.mp4", 192, 128):
        pass
    assert caught.value.code == "no_frames"
    with pytest.raises(UsageError) as caught, VideoWriter(tmp_path / "none" / "v.mp4", 192, 128):
        pass
    assert caught.value.code == "folder_not_found"
    with pytest.raises(UsageError) as caught:
        VideoWriter(tmp_path / "v.mp4", 192, 128, audio=tmp_path / "none.wav")
    assert caught.value.code == "file_not_found"
    fake = tmp_path / "fake.wav"
    fake.write_text("ffconcat version 1.0\nfile /etc/hostname\n")
    with pytest.raises(InputRefusedError):
        VideoWriter(tmp_path / "v.mp4", 192, 128, audio=fake)
    wrong: npt.NDArray[np.uint8] = np.zeros((128, 190, 3), np.uint8)
    with pytest.raises(ValueError, match="190"), VideoWriter(tmp_path / "v.mp4", 192, 128) as writer:
        writer.write(wrong)
