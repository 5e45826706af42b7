"""Every figure is there, or null with its reason; a perfect rendering has perfect figures."""

from __future__ import annotations

import numpy as np
import pytest

from core.clip.landmarks import BLENDSHAPES, Face
from core.errors import MissingModelError
from core.evaluate.identity import FaceEmbedder
from core.evaluate.scores import LPIPS_EVERY, Scores
from core.perceptual import Lpips

COUNT = 90
BOX = (8, 8, 56, 56)
KEYS = {"frames", "psnr", "lpips", "ssim", "lmd_px", "mouth_open_corr", "mouth_open_sd_ratio", "av_lag_frames"} | {
    "jitter_ratio", "au_proxy", "identity_distance", "frames_without_face", "missing"
}  # fmt: skip


class CountingLpips(Lpips):
    """Test double of the network: counts, and answers the mean difference."""

    def __init__(self) -> None:
        self.calls = 0

    def distance(self, rendered: np.ndarray, recorded: np.ndarray) -> float:
        self.calls += 1
        return float(np.abs(rendered.astype(float) - recorded).mean())


class FirstPixelEmbedder(FaceEmbedder):
    """Test double of dlib: an embedding that is the picture's first pixel."""

    def __init__(self) -> None:
        pass

    def embedding(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        return np.resize(frame[0, 0].astype(float), 128)


def absent() -> CountingLpips:
    raise MissingModelError("model_missing", "The weights are missing.", "Fetch them.")


def no_dlib() -> FirstPixelEmbedder:
    raise MissingModelError("dlib_missing", "dlib is missing.", "Install it.")


def faces(count: int, delay: int = 0) -> list[Face]:
    opening = np.convolve(np.random.default_rng(5).random(count + 20), np.ones(5) / 5, "same")
    found = []
    for index in range(count):
        landmarks = np.zeros((478, 3), np.float32)
        landmarks[33, 0], landmarks[263, 0] = 20, 40
        landmarks[[14, 87, 317], 1] = 10 * opening[index + 10 - delay]
        blendshapes = np.full(len(BLENDSHAPES), opening[index + 10 - delay], np.float32)
        found.append(Face(landmarks, blendshapes, 1.0))
    return found


def pictures(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (COUNT, 64, 64, 3), np.uint8)


def test_a_perfect_rendering() -> None:
    network = CountingLpips()
    scores = Scores(BOX, COUNT, lambda: network, FirstPixelEmbedder)
    for picture, face in zip(pictures(0), faces(COUNT), strict=True):
        scores.add(picture, picture, face, face)
    report = scores.report()
    assert report.keys() == KEYS
    assert report["frames"] == COUNT
    assert report["psnr"] == {"A": 100.0, "F": 100.0}
    assert report["lpips"] == {"A": 0.0, "F": 0.0}
    assert report["ssim"] == {"F": 1.0}
    assert (report["lmd_px"], report["mouth_open_corr"], report["mouth_open_sd_ratio"]) == (0.0, 1.0, 1.0)
    assert report["av_lag_frames"] == 0
    assert report["au_proxy"] == {"upper": 0.0, "lower": 0.0}
    assert report["identity_distance"] == 0.0
    assert report["frames_without_face"] == 0
    assert report["missing"] == {}
    assert network.calls == 2 * len(range(0, COUNT, LPIPS_EVERY))


def test_a_wrong_rendering_is_wrong_in_its_own_figures() -> None:
    scores = Scores(BOX, COUNT, CountingLpips, FirstPixelEmbedder)
    for index, (late, face) in enumerate(zip(faces(COUNT, delay=3), faces(COUNT), strict=True)):
        recorded = pictures(0)[index] // 2
        rendered = recorded.copy()
        rendered[0, 0] += 9
        scores.add(rendered, recorded, late, face)
    report = scores.report()
    assert report["av_lag_frames"] == 3
    assert report["mouth_open_corr"] != 1.0
    assert report["psnr"]["F"] == 100.0  # type: ignore[index]
    assert report["psnr"]["A"] == pytest.approx(10 * np.log10(255**2 * 64 * 64 / 81), abs=1e-3)  # type: ignore[index]
    assert report["identity_distance"] == pytest.approx(9 * np.sqrt(128), rel=1e-4)


def test_absent_models_leave_their_figures_null_with_the_reason() -> None:
    scores = Scores(BOX, COUNT, absent, no_dlib)
    for picture, face in zip(pictures(0), faces(COUNT), strict=True):
        scores.add(picture, picture, face, face)
    report = scores.report()
    assert report["lpips"] == {"A": None, "F": None}
    assert report["identity_distance"] is None
    assert report["missing"] == {
        "lpips": "The weights are missing. Fetch them.",
        "identity_distance": "dlib is missing. Install it.",
    }
    assert report["mouth_open_corr"] == 1.0


def test_faces_that_are_not_found_leave_motion_null() -> None:
    scores = Scores(BOX, COUNT, CountingLpips, FirstPixelEmbedder)
    for index, (picture, face) in enumerate(zip(pictures(0), faces(COUNT), strict=True)):
        scores.add(picture, picture, face if index % 3 == 0 else None, face)
    report = scores.report()
    names = {"lmd_px", "mouth_open_corr", "mouth_open_sd_ratio", "av_lag_frames", "jitter_ratio", "au_proxy"}
    assert names == set(report["missing"])  # type: ignore[call-overload]
    assert report["au_proxy"] == {"upper": None, "lower": None}
    assert report["lmd_px"] is None
    assert report["frames_without_face"] == 60
    assert report["psnr"] == {"A": 100.0, "F": 100.0}


def test_a_frozen_mouth_has_no_correlation_and_says_so() -> None:
    scores = Scores(BOX, COUNT, CountingLpips, FirstPixelEmbedder)
    frozen = faces(COUNT)[0]
    for picture, face in zip(pictures(0), faces(COUNT), strict=True):
        scores.add(picture, picture, frozen, face)
    report = scores.report()
    assert report["mouth_open_corr"] is None
    assert report["mouth_open_sd_ratio"] == 0.0
    assert {"mouth_open_corr", "av_lag_frames"} == set(report["missing"])  # type: ignore[call-overload]


def test_a_crop_too_small_for_the_network_leaves_its_figure_null() -> None:
    scores = Scores((0, 0, 20, 20), COUNT, CountingLpips, FirstPixelEmbedder)
    for picture, face in zip(pictures(0), faces(COUNT), strict=True):
        scores.add(picture, picture, face, face)
    report = scores.report()
    assert report["lpips"] == {"A": 0.0, "F": None}
    assert set(report["missing"]) == {"lpips.F"}  # type: ignore[call-overload]
