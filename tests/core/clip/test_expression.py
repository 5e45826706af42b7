"""The upper face in a person's own range."""

from __future__ import annotations

import numpy as np

from core.clip.expression import calibrated_expression, expression_range, raw_expression
from core.clip.landmarks import BLENDSHAPES, mouth_opening


def test_takes_the_documented_blendshapes_in_order() -> None:
    shapes = np.zeros((1, 52))
    shapes[0, BLENDSHAPES.index("browInnerUp")] = 0.3
    shapes[0, BLENDSHAPES.index("eyeBlinkLeft")] = 0.2
    shapes[0, BLENDSHAPES.index("eyeBlinkRight")] = 0.6
    assert np.allclose(raw_expression(shapes), [[0.3, 0, 0, 0, 0, 0.4]])


def test_a_persons_own_rest_is_zero_and_their_blink_is_one() -> None:
    raw = np.full((200, 6), 0.2)
    raw[50:60, 5] = 0.8
    found = calibrated_expression(raw, expression_range(raw))
    assert not found[:40].any() and np.allclose(found[55, 5], 1) and found.dtype == np.float32


def test_small_movements_are_not_blown_up() -> None:
    raw = 0.2 + 0.01 * np.random.default_rng(0).random((200, 6))
    assert calibrated_expression(raw, expression_range(raw)).max() < 0.05


def test_mouth_opening_is_in_units_of_the_eyes_distance() -> None:
    landmarks = np.zeros((2, 478, 3))
    landmarks[:, 33, 0], landmarks[:, 263, 0] = 0, 100
    for lower in (14, 87, 317):
        landmarks[1, lower, 1] = 25
    assert np.allclose(mouth_opening(landmarks), [0, 0.25])
