"""A film encoded in pieces shows the very pictures of one encoded whole, at the same times, under one sound."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import LikenessError
from core.media.decode import decode_frames
from core.media.encode import GROUP_FRAMES, VideoWriter
from core.media.join import join_films
from core.media.probe import probe, probe_picture
from tests.core.media.conftest import run_ffmpeg

SIDE, COUNT = 96, 3 * GROUP_FRAMES + 17


def pictures(start: int, stop: int) -> Iterator[np.ndarray]:
    """Noise that grows and shrinks, a moving disc, and a hard cut: what would make an encoder remember."""
    for number in range(start, stop):
        generator = np.random.default_rng(number)
        noise = generator.normal(0, 8 * (1 + np.sin(number / 30)), (SIDE, SIDE, 1))
        picture = np.full((SIDE, SIDE, 3), 40 if number < 130 else 200, np.uint8)
        cv2.circle(picture, (48 + round(20 * np.sin(number / 9)), 48), 20, (number % 255, 100, 50), -1)
        yield np.clip(picture + noise, 0, 255).astype(np.uint8)


def write(path: Path, start: int, stop: int) -> Path:
    with VideoWriter(path, SIDE, SIDE, joinable=True) as writer:
        for picture in pictures(start, stop):
            writer.write(picture)
    return path


def shown(path: Path) -> np.ndarray:
    return np.stack(list(decode_frames(path, probe_picture(path), crop=None, size=SIDE)))


def test_pieces_show_what_the_whole_shows(tmp_path: Path) -> None:
    sound = tmp_path / "sound.wav"
    run_ffmpeg("-f", "lavfi", "-i", f"sine=duration={COUNT / 25}", str(sound))
    whole = write(tmp_path / "whole.mp4", 0, COUNT)
    borders = [0, GROUP_FRAMES, 3 * GROUP_FRAMES, COUNT]
    parts = [write(tmp_path / f"it's {start}.mp4", start, stop) for start, stop in pairwise(borders)]
    joined = tmp_path / "joined.mp4"
    join_films(parts, COUNT, joined, sound)
    assert np.array_equal(shown(joined), shown(whole))
    info = probe(joined)
    assert info.frame_count == COUNT
    assert not info.variable_frame_rate
    assert info.has_audio
    assert {path.name for path in tmp_path.iterdir()} == {joined.name, whole.name, sound.name, *(p.name for p in parts)}


def test_a_damaged_piece_leaves_no_film(tmp_path: Path) -> None:
    part = tmp_path / "part.mp4"
    part.write_bytes(b"nothing")
    with pytest.raises(LikenessError) as failed:
        join_films([part], 5, tmp_path / "joined.mp4", None)
    assert failed.value.code == "encode_failed"
    assert [path.name for path in tmp_path.iterdir()] == ["part.mp4"]
