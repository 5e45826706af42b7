"""The disclosure mark is there, legible, in its corner, and leaves the rest of the picture alone."""

from __future__ import annotations

import numpy as np
import pytest

from core.provenance.label import DisclosureLabel


@pytest.mark.parametrize("size", [64, 256, 512, 1024, 2048])
@pytest.mark.parametrize("shade", [0, 128, 255])
def test_the_mark_shows_on_any_ground_and_only_in_its_corner(size: int, shade: int) -> None:
    ground = np.full((size, size, 3), shade, np.uint8)
    marked = DisclosureLabel.for_size(size, size).burn(ground)
    assert (ground == shade).all()
    changed = (marked != ground).any(2)
    rows, columns = np.nonzero(changed)
    assert rows.min() > 0.85 * size or size == 64
    assert columns.min() > 0.3 * size or size == 64
    box = marked[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(int)
    assert box.max() - box.min() > 80
    assert columns.max() - columns.min() > 0.2 * size


def test_white_text_stands_on_a_darkened_box() -> None:
    marked = DisclosureLabel.for_size(512, 512).burn(np.full((512, 512, 3), 200, np.uint8))
    values = np.unique(marked)
    assert 100 in values
    assert values.max() >= 240


def test_a_wide_picture_is_marked_at_its_right_edge() -> None:
    marked = DisclosureLabel.for_size(640, 320).burn(np.full((320, 640, 3), 255, np.uint8))
    assert np.nonzero((marked != 255).any(2))[1].min() > 320
