"""The face followed in segments: as one long run would follow it, and the same whatever the number of threads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from core.clip.landmarks import Landmarker
from core.clip.sighting import SEGMENT, Sighting, film_start, follow_face, segments
from core.errors import InputRefusedError
from core.media import decode_frames, probe
from core.sample import Sample

COUNT = SEGMENT + 8


@pytest.fixture(scope="module")
def pictures(sample: Sample) -> list[npt.NDArray[np.uint8]]:
    return list(decode_frames(sample.video, probe(sample.video), crop=None, size=512, count=COUNT))


@pytest.fixture(scope="module")
def followed(pictures: list[npt.NDArray[np.uint8]]) -> Sighting:
    return follow_face(pictures, COUNT)


def test_a_segment_begins_where_one_long_run_would_be(
    pictures: list[npt.NDArray[np.uint8]], followed: Sighting
) -> None:
    with Landmarker(tracking=True) as landmarker:
        run = np.stack([landmarker.detect(picture)[0].landmarks for picture in pictures])
    apart = np.linalg.norm((run - followed.landmarks)[..., :2], axis=-1).mean(1)
    assert followed.seen.all() and not apart[:SEGMENT].any(), "the first segment is that run"
    assert apart[SEGMENT:].max() < 0.15, "pixels; landmarks jitter by more than half of one"


def test_neither_threads_nor_known_segments_change_anything(
    pictures: list[npt.NDArray[np.uint8]], followed: Sighting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKENESS_THREADS", "1")
    part = {name: value[:SEGMENT] for name, value in vars(followed).items()}
    kept: list[int] = []
    known = {0: Sighting(**part)}
    again = follow_face(
        pictures[film_start(known) :], COUNT, known=known, keep=lambda number, found: kept.append(number)
    )
    assert kept == [1], "only what was missing"
    for name, value in vars(followed).items():
        assert np.array_equal(getattr(again, name), value), name


def test_frames_without_a_face_take_the_nearest_ones(pictures: list[npt.NDArray[np.uint8]]) -> None:
    blank = np.zeros_like(pictures[0])
    found = follow_face([*pictures[:3], blank, blank, *pictures[3:5]], 7)
    assert found.seen.tolist() == [True, True, True, False, False, True, True]
    assert np.array_equal(found.landmarks[3], found.landmarks[2])
    assert np.array_equal(found.landmarks[4], found.landmarks[5])
    with pytest.raises(InputRefusedError) as caught:
        follow_face([blank, blank], 2)
    assert caught.value.code == "no_face"


def test_segments_cover_the_film() -> None:
    assert segments(120) == [range(0, 50), range(50, 100), range(100, 120)]
    assert [frame for part in segments(301) for frame in part] == list(range(301))
