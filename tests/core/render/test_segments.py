"""A speech rendered in segments, by whom and in what order it may be, shows the pictures of one render."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.media.decode import decode_frames
from core.media.encode import GROUP_FRAMES
from core.media.probe import probe, probe_picture
from core.progress import StageContext
from core.render import render_speech
from core.render.scene import Look
from core.render.segments import join_segments, listen, segment_borders, synthesise_segment
from tests.core.render.conftest import write_speech

CONTEXT = StageContext()


def shown(video: Path) -> np.ndarray:
    return np.stack(list(decode_frames(video, probe_picture(video), crop=None, size=64)))


def test_segments_joined_show_the_frames_of_one_render(small_bundle: Path, speech: Path, tmp_path: Path) -> None:
    del speech  # skips where its encoder is absent
    audio = write_speech(tmp_path / "long.wav", 5.0)
    whole = tmp_path / "whole.mp4"
    render_speech(small_bundle, audio, whole, size=None, background=None, label=True, context=CONTEXT)
    frames = listen(small_bundle, audio, tmp_path / "speech", Look(), CONTEXT)
    borders = segment_borders(frames, segment_seconds=2.0)
    assert borders == [0, 50, 100, 125]
    films = [tmp_path / f"{number}.mp4" for number in range(3)]
    stretches = list(zip(films, pairwise(borders), strict=True))
    measured = {
        film: synthesise_segment(small_bundle, tmp_path / "speech", film, first, last, Look(), CONTEXT)
        for film, (first, last) in reversed(stretches)
    }
    joined = tmp_path / "joined.mp4"
    result = join_segments(films, [measured[film] for film in films], audio, joined)
    assert result["frames"] == 125
    assert np.array_equal(shown(joined), shown(whole))
    assert probe(joined).duration_s == pytest.approx(probe(whole).duration_s, abs=1e-3)


@pytest.mark.parametrize("frames", [1, 49, 50, 51, 1000, 45_000])
@pytest.mark.parametrize("seconds", [0.1, 2.0, 30.0])
def test_borders_cover_the_speech_and_stand_at_key_frames(frames: int, seconds: float) -> None:
    borders = segment_borders(frames, seconds)
    assert (borders[0], borders[-1]) == (0, frames)
    assert all(a < b for a, b in pairwise(borders))
    assert all(border % GROUP_FRAMES == 0 for border in borders[:-1])
