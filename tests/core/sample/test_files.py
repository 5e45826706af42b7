"""The sample as files: whole, of the promised length, kept when finished, the same for the same seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from core.media import decode_audio, decode_frames, probe
from core.sample import Sample, generate_sample
from core.sample.motion import move
from core.sample.phones import TALK, speak

SECONDS, SIZE = 4.0, 256
"""What the fixture `made` asks for."""

Truth = Mapping[str, npt.NDArray[Any]]


def test_the_video_is_what_was_asked_for(made: Sample, truth: Truth) -> None:
    info = probe(made.video)
    assert (info.width, info.height, info.frame_count) == (SIZE, SIZE, SECONDS * 25)
    assert len(decode_audio(made.video)) == pytest.approx(SECONDS * 16000, abs=16000 / 25)
    for name in ("rotations", "translations", "labels", "landmarks", "points", "mouth_opening_px", "blink"):
        assert len(truth[name]) == SECONDS * 25, name


def test_the_speeches_are_as_long_as_their_truth(made: Sample) -> None:
    for sound, its_truth in ((made.speech_a, made.speech_a_truth), (made.speech_b, made.speech_b_truth)):
        with np.load(its_truth, allow_pickle=False) as file:
            opening = file["mouth_opening_m"]
        assert 3.5 < len(opening) / 25 < 9
        assert len(decode_audio(sound)) / 16000 == pytest.approx(len(opening) / 25, abs=0.05)
        assert opening.max() > 0.005


def test_a_finished_sample_is_kept(made: Sample) -> None:
    before = made.video.stat().st_mtime_ns
    assert generate_sample(made.folder, seconds=SECONDS, size=SIZE) == made
    assert made.video.stat().st_mtime_ns == before


def test_the_same_seed_gives_the_same_sample_and_another_seed_another(tmp_path: Path) -> None:
    first, again = (generate_sample(tmp_path / name, seconds=2, size=128, seed=3) for name in ("a", "b"))

    def pictures(sample: Sample) -> npt.NDArray[np.uint8]:
        return np.stack(list(decode_frames(sample.video, probe(sample.video), crop=None, size=128)))

    assert np.array_equal(pictures(first), pictures(again))
    assert first.speech_a.read_bytes() == again.speech_a.read_bytes()
    assert np.array_equal(decode_audio(first.video), decode_audio(again.video))
    with np.load(first.truth) as one, np.load(again.truth) as two:
        assert all(np.array_equal(one[name], two[name]) for name in one.files)
    tracks = [speak(TALK, 2.0, 0.4, 1.0, seed) for seed in (3, 4)]
    turns = [move(track, 50, 25, seed).turns for track, seed in zip(tracks, (3, 4), strict=True)]
    assert not np.allclose(turns[0], turns[1])


@pytest.mark.parametrize("wrong", [{"seconds": 1.0}, {"size": 100}, {"size": 255}, {"size": 1024}])
def test_refuses_arguments_out_of_range(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 2 s long"):
        generate_sample(tmp_path, **wrong)
