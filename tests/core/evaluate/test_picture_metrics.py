"""PSNR and SSIM against scikit-image; crop F against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from core.evaluate.pictures import IDENTICAL_DB, cut, face_box, psnr, ssim


def picture(seed: int, shape: tuple[int, ...] = (60, 47, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("strength", [1, 10, 100])
def test_psnr_is_scikit_images(strength: int) -> None:
    a = picture(0)
    b = np.clip(a + np.random.default_rng(1).normal(0, strength, a.shape), 0, 255).astype(np.uint8)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(b, a, data_range=255), abs=1e-9)


def test_psnr_of_a_known_error() -> None:
    a = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(a + 10, a) == pytest.approx(28.1308, abs=1e-4)
    assert psnr(a, a) == IDENTICAL_DB


@pytest.mark.parametrize("strength", [0, 5, 60])
def test_ssim_is_scikit_images(strength: int) -> None:
    a = picture(0)
    b = np.clip(a + np.random.default_rng(1).normal(0, strength, a.shape), 0, 255).astype(np.uint8)
    expected = structural_similarity(
        a, b, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(a, b) == pytest.approx(expected, abs=1e-9)


def test_the_box_is_the_median_face_with_its_margin() -> None:
    landmarks = np.zeros((5, 478, 3), np.float32)
    landmarks[:, 0, :2], landmarks[:, 1, :2] = (60, 70), (180, 190)
    landmarks[:, 2:, :2] = 100
    landmarks[4, 0, :2] = -500
    landmarks[:, 470:, :2] = 250
    assert face_box(landmarks, 256) == (50, 60, 190, 200)


def test_the_box_stays_inside_the_frame() -> None:
    landmarks = np.zeros((3, 478, 3), np.float32)
    landmarks[:, 1] = 127
    assert face_box(landmarks, 128) == (0, 0, 128, 128)


def test_cutting_takes_columns_left_to_right_and_rows_top_to_bottom() -> None:
    frame = picture(2, (20, 30, 3))
    np.testing.assert_array_equal(cut(frame, (3, 5, 10, 9)), frame[5:9, 3:10])
