"""What `likeness bench preprocess` measures, and the long films that it makes for that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.clip.benchmark import bench_preprocess, lengthened
from core.errors import LikenessError
from core.media import decode_audio, decode_chosen, decode_frames_full, find_shots, probe
from core.sample import Sample


def test_a_short_shot_is_played_to_and_fro_without_a_cut(sample: Sample, tmp_path: Path) -> None:
    path = lengthened(sample.video, tmp_path, 12.0)
    info = probe(path)
    assert info.frame_count == 300 and info.width == 256
    (shot,) = find_shots(decode_frames_full(path, info, 128))
    assert shot.count == 300 and shot.jumps == ()
    assert len(decode_audio(path)) == pytest.approx(12 * 16000, abs=640)
    once, back, again = (np.asarray(picture, float) for picture in decode_chosen(path, info, 256, [20, 229, 270]))
    assert np.abs(once - back).mean() < 3, "125 frames on, 125 back"
    assert np.abs(once - again).mean() < 3


def test_a_shot_that_is_long_enough_stays_as_it_is(sample: Sample, tmp_path: Path) -> None:
    assert lengthened(sample.video, tmp_path, 4.0) == sample.video


def test_measures_each_part_in_a_process_of_its_own(sample: Sample) -> None:
    (found,) = bench_preprocess([sample.video], 3.0, 128, [1])
    assert (found.video, found.width, found.seconds_of_clip, found.threads, found.size) == (
        "sample.mp4",
        256,
        3,
        1,
        128,
    )
    assert {"shots", "frames, landmarks", "tracking", "labels", "plate"} < set(found.parts)
    assert 0 < sum(found.parts.values()) - found.parts["speech, beside the pictures"] < found.seconds * 1.01
    assert 100 < found.peak_mb < 1500 and found.longest_silence_s > 0


def test_a_video_that_is_refused_is_refused_here_too(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no film")
    with pytest.raises(LikenessError) as caught:
        bench_preprocess([tmp_path / "a.mp4"], 3.0, 128, [1])
    assert caught.value.code == "not_a_video"
