"""Choice of frames and crop, and every refusal, with the code that people will look up."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from core.clip import ClipOptions, inspect_clip
from core.clip.intake import choose_crop, choose_frames
from core.errors import InputRefusedError, UsageError
from core.media import Shot, ffmpeg_path
from core.progress import StageContext

SHOT = Shot(100, 500)
TONE = "sine=frequency=220:sample_rate=16000:duration=4"


def test_frames_are_counted_inside_the_shot() -> None:
    assert choose_frames(SHOT, ClipOptions(start_s=2, seconds=5)) == (150, 125)
    assert choose_frames(SHOT, ClipOptions(seconds=None)) == (100, 400)
    assert choose_frames(SHOT, ClipOptions(start_s=12, seconds=10)) == (400, 100)
    assert choose_frames(SHOT, ClipOptions(last_frames=301)) == (199, 301)


def test_a_start_outside_the_shot_is_wrong_usage() -> None:
    with pytest.raises(UsageError) as caught:
        choose_frames(SHOT, ClipOptions(start_s=16))
    assert caught.value.code == "start_beyond_shot"


def test_too_little_left_is_refused() -> None:
    with pytest.raises(InputRefusedError) as caught:
        choose_frames(SHOT, ClipOptions(start_s=14))
    assert caught.value.code == "clip_too_short"


def test_a_square_portrait_is_kept_whole() -> None:
    assert choose_crop(np.array([[150, 130, 390, 420]]), 270, 512, 512) == (0, 0, 512)


def test_a_wide_picture_is_cropped_about_the_head_with_room_for_hair_and_shoulders() -> None:
    boxes = np.array([[900, 300, 1140, 580], [910, 305, 1150, 585]])
    left, top, side = choose_crop(boxes, 275, 1920, 1080)
    assert left <= 1025 - 0.9 * 275 and left + side >= 1025 + 0.9 * 275
    assert top <= 300 - 0.5 * 275 and top + side >= 585 + 0.4 * 275
    assert left >= 0 and left + side <= 1920 and top >= 0 and top + side <= 1080
    assert 0.35 < 275 / side < 0.55


def test_a_crop_stays_inside_the_picture_where_it_fits() -> None:
    left, top, side = choose_crop(np.array([[5, 20, 245, 300]]), 270, 1280, 720)
    assert left == 0 and top == 0 and side <= 720


def video(path: Path, *arguments: str) -> Path:
    command = [
        ffmpeg_path(),
        "-v",
        "error",
        "-y",
        *arguments,
        "-t",
        "3.6",
        "-pix_fmt",
        "yuv420p",
        "-shortest",
        str(path),
    ]
    subprocess.run(command, check=True)
    return path


def code_of(path: Path) -> str:
    with pytest.raises(InputRefusedError) as caught:
        inspect_clip(path, ClipOptions(), StageContext())
    assert caught.value.hint
    return caught.value.code


def test_a_clip_without_a_face_is_refused(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-f", "lavfi", "-i", TONE)
    assert code_of(path) == "no_face"


def test_a_silent_clip_is_refused_before_any_face_is_looked_for(tmp_path: Path) -> None:
    silence = "anullsrc=sample_rate=16000:channel_layout=mono"
    path = video(tmp_path / "a.mp4", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-f", "lavfi", "-i", silence)
    assert code_of(path) == "audio_silent"


def test_a_short_clip_is_refused(tmp_path: Path) -> None:
    source = ("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-f", "lavfi", "-i", TONE, "-t", "2.0")
    command = [ffmpeg_path(), "-v", "error", "-y", *source, "-pix_fmt", "yuv420p", str(tmp_path / "a.mp4")]
    subprocess.run(command, check=True)
    assert code_of(tmp_path / "a.mp4") == "clip_too_short"


@pytest.mark.clips
def test_two_faces_of_like_size_are_refused(clips: Path, tmp_path: Path) -> None:
    source = str(clips / "adapt" / "id03.mp4")
    twice = "[0:v]scale=320:320[a];[a]split[b][c];[c]hflip[d];[b][d]hstack[v]"
    path = video(tmp_path / "a.mp4", "-i", source, "-filter_complex", twice, "-map", "[v]", "-map", "0:a")
    assert code_of(path) == "several_faces"


@pytest.mark.clips
def test_a_face_of_few_pixels_is_refused(clips: Path, tmp_path: Path) -> None:
    small = "scale=140:140,pad=480:360:160:100:gray"
    path = video(tmp_path / "a.mp4", "-i", str(clips / "adapt" / "id03.mp4"), "-vf", small)
    assert code_of(path) == "face_too_small"


@pytest.mark.clips
def test_a_face_cut_by_the_border_is_refused(clips: Path, tmp_path: Path) -> None:
    cut = "crop=512:340:0:0"
    path = video(tmp_path / "a.mp4", "-i", str(clips / "adapt" / "id03.mp4"), "-vf", cut)
    assert code_of(path) == "face_leaves_frame"
