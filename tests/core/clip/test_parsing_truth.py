"""Labels of the generated sample against its truth, and what steadies them."""

from __future__ import annotations

import numpy as np
import pytest

from core.clip.layout import HEAD_LABELS, Label
from core.clip.parsing import fit_parsing, parse_film
from core.clip.person import PersonSegmenter
from core.media import decode_frames, probe
from core.sample import Sample, generate_sample
from tests.core.clip.measure_parsing import OPEN_PX, flicker, overlap

SPAN = range(8, 50)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Two seconds at the size at which the figures are promised: at half of it a mouth is three pixels tall."""
    return generate_sample(tmp_path_factory.mktemp("sample512"), seconds=2, size=512)


@pytest.fixture(scope="module")
def truth(sample: Sample) -> dict[str, np.ndarray]:
    with np.load(sample.truth) as file:
        return {name: file[name] for name in ("labels", "landmarks", "mouth_opening_px")}


@pytest.fixture(scope="module")
def film(sample: Sample) -> np.ndarray:
    """[T, 512, 512, 3]"""
    return np.stack(
        list(decode_frames(sample.video, probe(sample.video), crop=None, size=512, start_frame=0, count=50))
    )


@pytest.fixture(scope="module")
def landmarks(film: np.ndarray) -> np.ndarray:
    from core.clip.landmarks import Landmarker

    with Landmarker(tracking=True) as landmarker:
        return np.stack([landmarker.detect(frame)[0].landmarks for frame in film])


@pytest.fixture(scope="module")
def segmenter() -> PersonSegmenter:
    return PersonSegmenter()


@pytest.fixture(scope="module")
def model(film, landmarks, segmenter):
    keys = range(0, 50, 5)
    return fit_parsing([film[key] for key in keys], [landmarks[key] for key in keys], segmenter)


@pytest.fixture(scope="module")
def labels(film, landmarks, model, segmenter) -> np.ndarray:
    return np.stack(list(parse_film(model, film, landmarks, SPAN, segmenter)))


def test_head_mouth_and_lips_are_where_the_truth_has_them(labels, truth) -> None:
    found, true = labels, truth["labels"][SPAN.start : SPAN.stop]
    assert overlap(found, true, HEAD_LABELS) > 0.95
    is_open = truth["mouth_opening_px"][SPAN.start : SPAN.stop] > OPEN_PX
    assert is_open.sum() > 15
    assert overlap(found[is_open], true[is_open], [Label.MOUTH]) > 0.8
    assert overlap(found[is_open], true[is_open], [Label.LIPS]) > 0.7
    assert overlap(found, true, [Label.HAIR]) > 0.88 and overlap(found, true, [Label.TORSO]) > 0.92


def test_neighbours_steady_the_labels_of_a_noisy_film(film, landmarks, model, segmenter) -> None:
    generator = np.random.default_rng(0)
    noisy = np.clip(film[:14] + generator.normal(0, 14, (14, 512, 512, 1)), 0, 255).astype(np.uint8)
    alone = np.stack(
        [
            next(parse_film(model, frame[None], here[None], range(1), segmenter))
            for frame, here in zip(noisy, landmarks, strict=False)
        ]
    )
    steady = np.stack(list(parse_film(model, noisy, landmarks[:14], range(14), segmenter)))
    assert flicker(steady, landmarks[:14]) < 0.85 * flicker(alone, landmarks[:14])


def test_where_a_span_begins_and_ends_changes_nothing(film, landmarks, model, segmenter, labels) -> None:
    again = [*parse_film(model, film, landmarks, SPAN[:3], segmenter)]
    again += parse_film(model, film, landmarks, SPAN[3:6], segmenter)
    assert np.array_equal(np.stack(again), labels[:6])
