"""The upper face as six numbers, from blendshapes, in the person's own range. Knows no pictures.

A stand-in for OpenFace's action units, whose weights are not free: brow inner up ~ AU1, brow down ~ AU4, brow outer up
~ AU2, eye wide ~ AU5, eye squint ~ AU7, blink ~ AU45. It is a proxy, and is reported as one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.clip.landmarks import BLENDSHAPES

EXPRESSIONS = (
    ("browInnerUp",),
    ("browDownLeft", "browDownRight"),
    ("browOuterUpLeft", "browOuterUpRight"),
    ("eyeWideLeft", "eyeWideRight"),
    ("eyeSquintLeft", "eyeSquintRight"),
    ("eyeBlinkLeft", "eyeBlinkRight"),
)
"""Blendshapes whose mean is each of the six, in the order of `Clip.expression`."""
_LEAST_RANGE = 0.35
"""A person who moves a brow less than this is not blown up to full scale: that would be noise."""
_LOW, _HIGH = 5.0, 99.0
"""Percentiles that count as rest and as full expression."""


def raw_expression(blendshapes: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """[T, 52] -> [T, 6], uncalibrated 0..1."""
    groups = [[BLENDSHAPES.index(name) for name in names] for names in EXPRESSIONS]
    return np.stack([np.asarray(blendshapes, np.float64)[:, group].mean(1) for group in groups], 1)


def expression_range(raw: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[T, 6] -> [2, 6]: what counts as 0 and as 1 for this person."""
    low, high = np.percentile(raw, [_LOW, _HIGH], axis=0)
    return np.stack([low, np.maximum(high, low + _LEAST_RANGE)])


def calibrated_expression(raw: npt.NDArray[np.float64], limits: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """[T, 6] raw and [2, 6] limits -> [T, 6], clipped to 0..1."""
    return np.asarray(np.clip((raw - limits[0]) / (limits[1] - limits[0]), 0, 1), np.float32)
