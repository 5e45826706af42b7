"""The protocol end to end on a clip whose truth is known, short of a real face (those tests need the real clips)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.bundle import read_bundle
from core.clip.layout import Clip
from core.errors import InputRefusedError, MissingModelError, UsageError
from core.evaluate import evaluate
from core.evaluate.pictures import psnr
from core.evaluate.protocol import measure
from core.media.decode import decode_frames
from core.media.probe import probe_picture
from core.models import locate
from core.progress import StageContext


@pytest.fixture(autouse=True)
def _needs_landmarks() -> None:
    try:
        locate("face_landmarker")
    except MissingModelError:
        pytest.skip("the landmark model is not on this machine: likeness models fetch")


@pytest.mark.parametrize("frames", ["first:10", "last:", "last:0", "last:24", "last:99999", "301", ""])
def test_a_choice_of_frames_that_is_none_is_refused(small_bundle: Path, tmp_path: Path, frames: str) -> None:
    with pytest.raises(UsageError) as caught:
        evaluate(small_bundle, tmp_path / "v.mp4", frames=frames, context=StageContext())
    assert caught.value.code == "frames_unknown"


def test_figures_of_a_drawn_clip_and_the_film_beside_it(small_bundle: Path, small_clip: Clip, tmp_path: Path) -> None:
    valid = small_clip.valid.copy()
    valid[[3, 4]] = False
    clip = replace(small_clip, valid=valid, start_frame=20)
    film = tmp_path / "beside.mp4"
    figures = measure(read_bundle(small_bundle), clip, film, StageContext())
    assert figures["frames"] == 28
    assert figures["train_overlap_frames"] == 17
    assert figures["lmd_px"] is None
    assert figures["frames_without_face"] == 28
    assert {"lmd_px", "mouth_open_corr", "identity_distance"} <= figures["missing"].keys()  # type: ignore[attr-defined]
    assert float(str(figures["fps_model"])) > 0
    pictures = list(decode_frames(film, probe_picture(film), crop=(0, 0, 64), size=64))
    assert len(pictures) == 28
    recorded = np.delete(small_clip.frames, [3, 4], axis=0)
    assert np.mean([psnr(a, b) for a, b in zip(pictures, recorded, strict=True)]) > 28


def test_a_test_without_a_face_is_refused(small_bundle: Path, small_clip: Clip) -> None:
    blind = replace(small_clip, valid=np.zeros(small_clip.count, bool))
    with pytest.raises(InputRefusedError) as caught:
        measure(read_bundle(small_bundle), blind, None, StageContext())
    assert caught.value.code == "no_face"
