"""Shots: cuts are found where they were made, and motion is not taken for one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from core.errors import InputRefusedError
from core.media import Shot, decode_frames_full, find_shots, longest_shot, probe_picture

Picture = npt.NDArray[np.uint8]


def scene(seed: int) -> Picture:
    """A smooth random background, 96x96."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (96, 96), interpolation=cv2.INTER_CUBIC), np.uint8)


def talking(count: int, background: Picture, place: float = 48, seed: int = 0, sway: float = 6) -> list[Picture]:
    """A head-like ellipse that sways and nods over `background`, with sensor noise and a blinking mouth."""
    generator = np.random.default_rng(seed)
    frames = []
    for k in range(count):
        frame = background.copy()
        x = place + sway * np.sin(k / 9) + 2 * np.sin(k / 2.3)
        y = 50 + 3 * np.sin(k / 5)
        centre = (round(x * 16), round(y * 16))
        cv2.ellipse(frame, centre, (22 * 16, 30 * 16), 0, 0, 360, (205, 150, 120), -1, cv2.LINE_AA, 4)
        mouth = (round(x * 16), round((y + 14) * 16))
        cv2.ellipse(
            frame, mouth, (8 * 16, round(16 * (1 + 3 * abs(np.sin(k / 3))))), 0, 0, 360, (90, 20, 20), -1, 16, 4
        )
        noise = generator.normal(0, 2, frame.shape)
        frames.append(np.clip(frame + noise, 0, 255).astype(np.uint8))
    return frames


def test_one_shot_is_one_shot() -> None:
    assert find_shots(talking(200, scene(1), sway=14)) == [Shot(0, 200)]


def test_nothing_is_no_shot() -> None:
    assert find_shots([]) == []
    assert find_shots(talking(1, scene(1))) == [Shot(0, 1)]


def test_cuts_between_scenes_are_found_to_the_frame() -> None:
    frames = talking(90, scene(1)) + talking(60, scene(2)) + talking(100, scene(3))
    assert find_shots(iter(frames)) == [Shot(0, 90), Shot(90, 150), Shot(150, 250)]


def test_a_jump_cut_in_the_same_scene_is_found() -> None:
    frames = talking(120, scene(4), place=40, sway=2) + talking(130, scene(4), place=62, sway=2, seed=5)
    assert [shot.stop for shot in find_shots(frames)] == [120, 250]


def test_a_weak_jump_is_named_but_does_not_end_the_shot() -> None:
    frames = talking(300, scene(4), sway=10)
    del frames[140:150]
    assert [(shot.start, shot.stop) for shot in find_shots(frames)] == [(0, 290)]
    (shot,) = find_shots(frames)
    assert shot.jumps in ((), (140,))


def test_a_flash_is_no_cut() -> None:
    frames = talking(150, scene(6))
    for k in (70, 71):
        frames[k] = np.clip(frames[k].astype(int) + 90, 0, 255).astype(np.uint8)
    assert find_shots(frames) == [Shot(0, 150)]


def test_a_still_picture_with_noise_is_one_shot() -> None:
    generator = np.random.default_rng(0)
    still = scene(7).astype(int)
    frames = [np.clip(still + generator.normal(0, 3, still.shape), 0, 255).astype(np.uint8) for _ in range(100)]
    assert find_shots(frames) == [Shot(0, 100)]


def test_repeated_pictures_are_no_cuts() -> None:
    """A 12.5 fps recording on the 25 fps time line: every second step is zero."""
    frames = [frame for frame in talking(100, scene(8), sway=10) for _ in range(2)]
    assert find_shots(frames) == [Shot(0, 200)]


def test_the_longest_shot_and_its_least_length() -> None:
    assert longest_shot([Shot(0, 80), Shot(80, 300), Shot(300, 400)]) == Shot(80, 300)
    assert longest_shot([Shot(0, 75)]) == Shot(0, 75)
    for shots in ([], [Shot(0, 74)], [Shot(0, 60), Shot(60, 130)]):
        with pytest.raises(InputRefusedError) as caught:
            longest_shot(shots)
        assert caught.value.code == "clip_too_short"


def shots_of(path: Path) -> list[Shot]:
    return find_shots(decode_frames_full(path, probe_picture(path), 128))


def test_jump_cuts_of_a_real_clip(clips: Path) -> None:
    shots = shots_of(clips / "adapt" / "id01.mp4")
    assert [(shot.start, shot.stop) for shot in shots] == [(0, 176), (176, 1429), (1429, 1779)]
    assert longest_shot(shots).jumps == (702, 953)


def test_real_clips_of_one_shot(clips: Path) -> None:
    names = ("adapt/id03", "pretrain/id11", "pretrain/id25")
    for name in names:
        path = clips / f"{name}.mp4"
        assert shots_of(path) == [Shot(0, probe_picture(path).frame_count)], name
