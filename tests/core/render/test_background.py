"""Another background stands behind the person, and only there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import InputRefusedError, UsageError
from core.render.background import load_background, replace_background, resize_square


@pytest.mark.parametrize(
    ("choice", "colour"),
    [("#ff8000", (255, 128, 0)), ("00B140", (0, 177, 64)), ("white", (255, 255, 255)), ("Black", (0, 0, 0))],
)
def test_a_colour_fills_the_frame(choice: str, colour: tuple[int, int, int]) -> None:
    picture = load_background(choice, 8)
    assert picture.shape == (8, 8, 3)
    assert (picture == colour).all()


def test_a_picture_is_cropped_at_its_centre_and_keeps_its_channels(tmp_path: Path) -> None:
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = (200, 100, 50)
    path = tmp_path / "wall.png"
    cv2.imwrite(str(path), wide[..., ::-1])
    assert (load_background(str(path), 64) == (200, 100, 50)).all()


@pytest.mark.parametrize("choice", ["#12345", "no such file.png", "", "mauve"])
def test_neither_colour_nor_file_is_a_usage_error(choice: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_background(choice, 8)
    assert caught.value.code == "background_unknown"


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_text("text")
    with pytest.raises(InputRefusedError) as caught:
        load_background(str(path), 8)
    assert caught.value.code == "image_refused"


def test_the_matte_decides_pixel_by_pixel() -> None:
    generator = np.random.default_rng(0)
    backdrop, background = generator.integers(0, 256, (2, 16, 16, 3), np.uint8)
    matte = generator.integers(0, 256, (16, 16), np.uint8)
    matte[0], matte[1] = 0, 255
    mixed = replace_background(backdrop, matte, background)
    weight = matte[..., None] / 255.0
    exact = weight * backdrop + (1 - weight) * background
    assert np.abs(mixed - exact).max() <= 0.51
    np.testing.assert_array_equal(mixed[0], background[0])
    np.testing.assert_array_equal(mixed[1], backdrop[1])


def test_resizing_to_the_same_size_copies_nothing() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    assert resize_square(picture, 32) is picture
    assert resize_square(picture, 64).shape == (64, 64, 3)
    assert resize_square(picture[..., 0], 16).shape == (16, 16)
