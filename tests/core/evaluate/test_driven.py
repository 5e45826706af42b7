"""Other speech: what counts as silence, as closed, as drift; and the whole measure on a drawn clip."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from core.bundle import read_bundle
from core.clip.layout import Clip
from core.errors import MissingModelError
from core.evaluate.driven import CLOSING_FRAMES, DRIFT_FRAMES, MINUTE, drift, is_closed, judged_silence, measure_driven
from core.models import locate
from core.progress import StageContext


def test_only_the_inside_of_long_silences_is_judged() -> None:
    voice = np.ones(100, np.float32)
    voice[10:24], voice[40:60], voice[90:] = 0, 0, 0
    judged = np.nonzero(judged_silence(voice))[0]
    assert judged.tolist() == list(range(40 + CLOSING_FRAMES, 60 - CLOSING_FRAMES))


def test_closed_is_near_the_recorded_mouths_lowest() -> None:
    recorded = np.linspace(0.1, 0.3, 101)
    assert is_closed(np.array([0.0, 0.1, 0.145, 0.147, 0.3]), recorded).tolist() == [True, True, True, False, False]


def test_no_drift_where_last_and_first_minute_are_alike() -> None:
    opening = np.tile(np.sin(np.arange(250)) + 1, DRIFT_FRAMES // 250)
    still = np.full(len(opening), 30.0)
    assert drift(opening, still) == {"opening_range_ratio": 1.0, "still_psnr_change": 0.0}
    assert drift(opening[:-1], still[:-1]) is None


def test_a_mouth_that_opens_less_and_less_and_a_picture_that_gets_worse_drift() -> None:
    opening = np.tile(np.sin(np.arange(250)) + 1, DRIFT_FRAMES // 250)
    opening[-MINUTE:] *= 0.5
    opening[10] = np.nan
    still = np.full(len(opening), 30.0)
    still[-MINUTE:] = 28.5
    found = drift(opening, still)
    assert found is not None
    assert found["opening_range_ratio"] == pytest.approx(0.5, abs=0.01)
    assert found["still_psnr_change"] == -1.5


def test_a_drawn_avatar_speaks_and_figures_without_a_face_are_null(
    small_bundle: Path, small_clip: Clip, tmp_path: Path
) -> None:
    try:
        locate("face_landmarker"), locate("whisper_tiny_en")
    except MissingModelError:
        pytest.skip("the models are not on this machine: likeness models fetch")
    speech = tmp_path / "voice.wav"
    with wave.open(str(speech), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((8000 * np.sin(np.arange(24_000) / 12)).astype("<i2").tobytes())
    found = measure_driven(read_bundle(small_bundle), small_clip, speech, StageContext())
    assert found == {
        "speech": "voice.wav",
        "frames": 38,
        "frames_without_face": 38,
        "opening_corr_predicted": None,
        "opening_range_ratio": None,
        "closed_in_silence": None,
        "silent_frames": 0,
        "drift": None,
    }
