"""The measure of the mouth's inside: only what the recording shows there counts, and every pixel the same."""

from __future__ import annotations

import numpy as np
import pytest

from core.clip.layout import Label
from core.evaluate.mouth import MouthInside

LABELS = np.full((32, 32), Label.SKIN, np.uint8)
LABELS[10:14, 8:24] = Label.MOUTH
RECORDED = np.full((32, 32, 3), 100, np.uint8)


def test_only_the_mouths_inside_counts() -> None:
    inside, outside = RECORDED.copy(), RECORDED.copy()
    inside[LABELS == Label.MOUTH] += 51
    outside[LABELS != Label.MOUTH] += 51
    mouth = MouthInside()
    mouth.add(inside, RECORDED, LABELS)
    assert mouth.psnr == pytest.approx(-20 * np.log10(51 / 255), abs=1e-3)
    elsewhere = MouthInside()
    elsewhere.add(outside, RECORDED, LABELS)
    assert elsewhere.psnr is None


def test_pixels_of_all_frames_weigh_the_same() -> None:
    narrow = np.where(np.arange(32)[:, None] == 10, LABELS, Label.SKIN)
    off = RECORDED + np.uint8(51)
    mouth = MouthInside()
    mouth.add(RECORDED, RECORDED, LABELS)
    mouth.add(off, RECORDED, narrow)
    assert mouth.psnr == pytest.approx(-10 * np.log10((51 / 255) ** 2 * 16 / (64 + 16)), abs=1e-3)


def test_a_mouth_that_never_opens_has_no_figure() -> None:
    mouth = MouthInside()
    mouth.add(RECORDED, RECORDED, np.full((32, 32), Label.SKIN, np.uint8))
    assert mouth.psnr is None
