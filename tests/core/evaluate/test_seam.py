"""The seam measure: equal pictures have none, a line drawn along the neck has one, and only the neck counts."""

from __future__ import annotations

import cv2
import numpy as np

from core.clip.layout import Label
from core.evaluate.seam import Seam, neck_border

SIZE = 128
LABELS = np.full((SIZE, SIZE), Label.BACKGROUND, np.uint8)
LABELS[20:80, 40:90] = Label.SKIN
LABELS[80:, 30:100] = Label.TORSO


def soft_noise(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 4)


def test_the_border_is_where_head_meets_torso_and_nowhere_else() -> None:
    border = neck_border(LABELS)
    rows, columns = np.nonzero(border)
    assert set(rows) == {79, 80}
    assert columns.min() == 39
    assert columns.max() == 90


def test_a_picture_like_the_recording_has_the_ratio_one() -> None:
    seam = Seam()
    seam.add(soft_noise(0), soft_noise(0), LABELS)
    assert seam.ratio == 1


def test_a_step_along_the_neck_is_a_seam_and_one_elsewhere_is_none() -> None:
    seam, elsewhere = Seam(), Seam()
    recorded = soft_noise(0)
    stepped, lined = recorded.copy(), recorded.copy()
    stepped[80:] = np.minimum(255, stepped[80:].astype(int) + 60).astype(np.uint8)
    lined[:10] = 0
    seam.add(stepped, recorded, LABELS)
    elsewhere.add(lined, recorded, LABELS)
    assert seam.ratio is not None
    assert seam.ratio > 3
    assert elsewhere.ratio == 1


def test_a_head_without_a_neck_has_no_figure() -> None:
    seam = Seam()
    seam.add(soft_noise(0), soft_noise(0), np.where(LABELS == Label.TORSO, Label.BACKGROUND, LABELS))
    assert seam.ratio is None
