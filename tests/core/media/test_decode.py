"""Decoding: which picture is frame f, where its pixels come from, and that nothing is left behind."""

from __future__ import annotations

import gc
import itertools
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from core.errors import InputRefusedError, UsageError
from core.media import (
    MediaInfo,
    decode_chosen,
    decode_frames,
    decode_frames_full,
    fence,
    probe,
    probe_picture,
    scaled_size,
)

from .conftest import BLOCK, HEIGHT, WIDTH, Maker, coded, number_of, run_ffmpeg


def numbers(path: Path, info: MediaInfo | None = None, **options: int) -> list[int]:
    info = info or probe_picture(path)
    return [number_of(frame) for frame in decode_frames_full(path, info, WIDTH, **options)]


def test_twenty_five_stays_as_it_is(plain_video: Path) -> None:
    assert numbers(plain_video) == list(range(50))


@pytest.mark.parametrize("name", ["v.mkv", "v.avi", "v.ts", "v.mov"])
def test_every_container_gives_every_picture(maker: Maker, name: str) -> None:
    path = maker.video(name, click_at=None)
    assert numbers(path) == list(range(50))


@pytest.mark.parametrize(("name", "fps"), [("v.mp4", 30.0), ("v.mkv", 30.0), ("v.mp4", 60.0), ("v.mp4", 12.5)])
def test_frame_f_is_the_picture_shown_at_f_over_25(maker: Maker, name: str, fps: float) -> None:
    path = maker.video(name, frames=60, fps=fps)
    expected = [int(f / 25 * fps + 0.06) for f in range(round(60 / fps * 25))]
    assert numbers(path) == expected


def test_a_variable_rate_holds_each_picture_until_the_next(maker: Maker) -> None:
    path = maker.video("v.mp4", "-vf", "select=not(mod(n\\,4))+gt(n\\,30)")
    assert numbers(path) == [f if f > 30 else f // 4 * 4 for f in range(50)]


def test_a_picture_that_starts_late_is_padded_with_its_first(maker: Maker) -> None:
    path = maker.video("v.mp4", video_delay_s=0.08)
    assert numbers(path, probe(path)) == [0, 0, *range(50)]


def test_sound_that_starts_late_changes_nothing(maker: Maker) -> None:
    path = maker.video("v.mp4", audio_delay_s=0.3)
    assert numbers(path, probe(path)) == list(range(50))


@pytest.mark.parametrize("name", ["v.mp4", "v.ts"])
def test_any_part_is_the_same_as_in_the_whole(maker: Maker, name: str) -> None:
    path = maker.video(name, "-g", "25", "-bf", "2", frames=180, fps=30, video_delay_s=0.08)
    info = probe(path)
    whole = numbers(path, info)
    assert len(whole) == info.frame_count
    late = info.video_start_s - info.origin_s
    assert late > 0.06
    assert whole == [min(179, max(0, int((f / 25 - late) * 30 + 0.06))) for f in range(len(whole))]
    for start, count in ((0, 3), (1, 2), (60, 5), (75, 1), (133, 4), (150, 2), (152, 0)):
        assert numbers(path, info, start_frame=start, count=count) == whole[start : start + count]


def test_asking_for_frames_that_are_not_there_is_a_usage_error(plain_video: Path) -> None:
    info = probe(plain_video)
    for start, count in ((-1, 1), (0, 51), (51, None)):
        with pytest.raises(UsageError) as caught:
            next(decode_frames(plain_video, info, crop=None, size=64, start_frame=start, count=count))
        assert caught.value.code == "frame_out_of_range"


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_undone(maker: Maker, rotation: int) -> None:
    """The recorder stores the picture turned and says by how much; decoded, the code reads from left to right again."""
    turn = {90: "transpose=clock", 180: "hflip,vflip", 270: "transpose=cclock"}[rotation]
    stored = maker.video("v.mp4", "-vf", turn, frames=10, click_at=None)
    path = maker.folder / "t.mp4"
    run_ffmpeg("-display_rotation", str(rotation), "-i", str(stored), "-c", "copy", str(path))
    assert numbers(path) == list(range(10))


def test_a_size_that_changes_on_the_way_keeps_the_time_line(maker: Maker) -> None:
    parts = [
        maker.video("a.ts", frames=25, click_at=None),
        maker.video("b.ts", frames=25, size=(384, 256), click_at=None),
    ]
    shifted = maker.folder / "c.ts"
    run_ffmpeg("-i", str(parts[1]), "-c", "copy", "-output_ts_offset", "1", str(shifted))
    path = maker.folder / "both.ts"
    path.write_bytes(parts[0].read_bytes() + shifted.read_bytes())
    found = numbers(path)
    assert found[:25] == list(range(25))
    assert found[-20:] == list(range(5, 25))


def lossless(maker: Maker, picture: npt.NDArray[np.uint8]) -> Path:
    path = maker.folder / "still.mkv"
    size = f"{picture.shape[1]}x{picture.shape[0]}"
    words = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-framerate", "25", "-i", "pipe:0")
    coding = ("-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv444p")
    run_ffmpeg(*words, *coding, str(path), data=picture.tobytes() * 3)
    return path


def gradient(width: int, height: int) -> npt.NDArray[np.uint8]:
    """Red grows to the right, green downwards: a pixel's colour is its place."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.full_like(x, 128)], -1).astype(np.uint8)


@pytest.mark.parametrize("crop", [(0, 0, 96), (33, 17, 61), (-20, -7, 110), (101, 60, 99), (-40, -40, 300)])
def test_the_crop_takes_just_these_pixels_and_repeats_the_border(maker: Maker, crop: tuple[int, int, int]) -> None:
    picture = gradient(200, 150)
    path = lossless(maker, picture)
    left, top, side = crop
    rows = np.clip(np.arange(top, top + side), 0, 149)
    columns = np.clip(np.arange(left, left + side), 0, 199)
    expected = picture[rows][:, columns].astype(int)
    for frame in decode_frames(path, probe_picture(path), crop=crop, size=side):
        assert frame.shape == (side, side, 3)
        assert np.abs(frame.astype(int) - expected).max() <= 3  # YUV rounds


@pytest.mark.parametrize("size", [40, 160])
def test_scaling_keeps_pixel_centres(maker: Maker, size: int) -> None:
    path = lossless(maker, gradient(200, 150))
    frame = next(decode_frames(path, probe_picture(path), crop=(20, 10, 80), size=size))
    centres = (np.arange(size) + 0.5) * 80 / size - 0.5
    inner = slice(4, -4)
    assert np.abs(frame[size // 2, inner, 0] - (20 + centres[inner])).max() < 2.5
    assert np.abs(frame[inner, size // 2, 1] - (10 + centres[inner])).max() < 2.5


def test_without_a_crop_the_largest_centred_square_is_taken(plain_video: Path) -> None:
    frame = next(decode_frames(plain_video, probe(plain_video), crop=None, size=HEIGHT))
    expected = coded(0)[:, (WIDTH - HEIGHT) // 2 : (WIDTH + HEIGHT) // 2]
    assert np.abs(frame.astype(int) - expected)[4:12, ::BLOCK].mean() < 6


def test_a_crop_beside_the_picture_is_a_usage_error(plain_video: Path) -> None:
    for crop in ((500, 0, 50), (0, -60, 50), (0, 0, 0)):
        with pytest.raises(UsageError) as caught:
            next(decode_frames(plain_video, probe(plain_video), crop=crop, size=64))
        assert caught.value.code == "crop_out_of_picture"


def test_whole_pictures_keep_their_aspect_and_are_never_enlarged(plain_video: Path) -> None:
    info = probe(plain_video)
    assert scaled_size(info, 96) == (96, 64)
    assert next(decode_frames_full(plain_video, info, 96)).shape == (64, 96, 3)
    assert next(decode_frames_full(plain_video, info, 1000)).shape == (HEIGHT, WIDTH, 3)


def test_four_k_is_read(maker: Maker) -> None:
    path = maker.video("v.mp4", frames=3, size=(3840, 2160))
    info = probe(path)
    assert (info.width, info.height, info.frame_count) == (3840, 2160, 3)
    small = list(decode_frames_full(path, info, 960))
    assert [number_of(picture) for picture in small] == [0, 1, 2] and small[0].shape == (540, 960, 3)
    corner = next(decode_frames(path, info, crop=(0, 1840, 320), size=320))
    assert np.abs(corner.astype(int) - (220, 30, 30)).max() < 12, "the red block at the bottom left"


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p"])
def test_odd_sizes_are_read(maker: Maker, pixels: str) -> None:
    words = ("-vf", f"scale=193:131,format={pixels}", "-pix_fmt", pixels, "-c:v", "libvpx-vp9", "-b:v", "1M")
    path = maker.video("v.mkv", *words, frames=4)
    info = probe(path)
    assert (info.width, info.height) == (193, 131)
    assert [number_of(picture) for picture in decode_frames_full(path, info, 193)] == [0, 1, 2, 3]
    cropped = next(decode_frames(path, info, crop=(62, 0, 131), size=131)).astype(int)
    whole = next(decode_frames_full(path, info, 193)).astype(int)
    assert np.abs(cropped - whole[:, 62:]).mean() < 2, "to the last row and column"


@pytest.mark.parametrize("name", ["v.mp4", "v.ts"])
def test_chosen_frames_are_those_of_the_whole(maker: Maker, name: str) -> None:
    path = maker.video(name, "-g", "25", frames=120, click_at=None)
    info = probe_picture(path)
    chosen = [0, 1, 60, 61, 119]
    assert [number_of(picture) for picture in decode_chosen(path, info, 192, chosen)] == chosen
    late = [70, 90]
    assert [number_of(picture) for picture in decode_chosen(path, info, 192, late)] == late
    with pytest.raises(UsageError) as caught:
        next(decode_chosen(path, info, 192, [100, 120]))
    assert caught.value.code == "frame_out_of_range"


def test_pictures_that_run_out_are_reported(maker: Maker) -> None:
    """Pictures that the packet list promises but the decoder does not give."""
    path = maker.video("v.mp4", "-movflags", "+faststart", frames=100)
    info = probe(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputRefusedError) as caught:
        list(decode_frames_full(path, info, 96))
    assert caught.value.code == "media_truncated"


def fenced_pids(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    pids: list[int] = []
    original = fence.subprocess.Popen

    def remember(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = original(*arguments, **options)  # type: ignore[call-overload]
        pids.append(process.pid)
        return process

    monkeypatch.setattr(fence.subprocess, "Popen", remember)
    return pids


@pytest.mark.parametrize("ending", ["close", "forget", "throw"])
def test_stopping_early_leaves_no_process(
    maker: Maker, monkeypatch: pytest.MonkeyPatch, is_running: Callable[[int], bool], ending: str
) -> None:
    path = maker.video("v.mp4", frames=200)
    info = probe(path)
    pids = fenced_pids(monkeypatch)
    frames: Iterator[npt.NDArray[np.uint8]] | None = decode_frames(path, info, crop=None, size=512)
    assert frames is not None
    list(itertools.islice(frames, 3))
    assert is_running(pids[0])
    if ending == "throw":
        with pytest.raises(KeyError):
            frames.throw(KeyError())  # type: ignore[attr-defined]
    elif ending == "close":
        frames.close()  # type: ignore[attr-defined]
    frames = None
    gc.collect()
    assert not is_running(pids[0])


def test_memory_does_not_grow_with_length(maker: Maker) -> None:
    path = maker.folder / "big.mp4"
    words = ("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=12", "-c:v", "libx264", "-preset", "ultrafast")
    run_ffmpeg(*words, str(path))
    info = probe_picture(path)
    frames = decode_frames_full(path, info, 320)
    for _ in range(20):
        next(frames)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in frames) == 280
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 20_000  # KiB; all of it would be 64 MB


def test_a_slow_reader_is_not_punished(plain_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.media.decode._LIMITS", fence.Limits(wall_s=5))
    frames = decode_frames(plain_video, probe(plain_video), crop=None, size=512, count=6)
    for _ in frames:
        time.sleep(0.1)


def test_real_clip_with_a_late_picture(clips: Path) -> None:
    path = clips / "pretrain" / "id02.mp4"
    first = list(decode_frames(path, probe(path), crop=None, size=64, count=6))
    assert (first[0] == first[1]).all() and (first[1] == first[2]).all()
    assert not (first[2] == first[3]).all()


def test_a_killed_decoder_does_not_make_the_video_a_damaged_one(plain_video: Path) -> None:
    pictures = decode_frames(plain_video, probe(plain_video), crop=None, size=512)
    next(pictures)
    for child in psutil.Process().children():
        child.kill()
    with pytest.raises(fence.ProcessKilledError):
        list(pictures)
