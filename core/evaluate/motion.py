"""Motion metrics on landmarks and blendshapes: lips, lag, action-unit proxy. Definitions: docs/metrics.md.

Knows no pictures, no avatar and no torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from core.clip.canonical import RIGID_INDICES
from core.clip.landmarks import BLENDSHAPES, LIPS_INNER, LIPS_OUTER

MAX_LAG = 8
"""Frames; lags are searched in -8..8."""

UPPER_FACE: Mapping[str, tuple[str, ...]] = {
    "AU1": ("browInnerUp",),
    "AU2": ("browOuterUpLeft", "browOuterUpRight"),
    "AU4": ("browDownLeft", "browDownRight"),
    "AU5": ("eyeWideLeft", "eyeWideRight"),
    "AU6": ("cheekSquintLeft", "cheekSquintRight"),
    "AU7": ("eyeSquintLeft", "eyeSquintRight"),
    "AU9": ("noseSneerLeft", "noseSneerRight"),
    "AU45": ("eyeBlinkLeft", "eyeBlinkRight"),
}
LOWER_FACE: Mapping[str, tuple[str, ...]] = {
    "AU10": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "AU12": ("mouthSmileLeft", "mouthSmileRight"),
    "AU14": ("mouthDimpleLeft", "mouthDimpleRight"),
    "AU15": ("mouthFrownLeft", "mouthFrownRight"),
    "AU17": ("mouthShrugLower",),
    "AU20": ("mouthStretchLeft", "mouthStretchRight"),
    "AU23": ("mouthPressLeft", "mouthPressRight"),
    "AU25": ("mouthLowerDownLeft", "mouthLowerDownRight"),
    "AU26": ("jawOpen",),
}
"""Blendshapes that stand for an action unit: a proxy, since no open weights for action units come in a package."""


def lip_distance(rendered: npt.NDArray[np.float32], recorded: npt.NDArray[np.float32]) -> float:
    """LMD: mean distance in pixels of the 40 lip landmarks, after each frame's lips were centred at their mean.

    Args:
        rendered: [T, 478, 3] landmarks in pixels.
        recorded: [T, 478, 3].
    """
    points = [*LIPS_OUTER, *LIPS_INNER]
    a, b = (x[:, points, :2] - x[:, points, :2].mean(1, keepdims=True) for x in (rendered, recorded))
    return float(np.linalg.norm(a - b, axis=2).mean())


def correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float | None:
    """Pearson correlation, or None where one of the two does not move."""
    if len(a) < 3 or min(a.std(), b.std()) < 1e-9:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def opening_lag(rendered: npt.NDArray[np.float64], recorded: npt.NDArray[np.float64]) -> int | None:
    """Frames by which the rendered mouth comes after the recorded one: where their correlation over -8..8 is highest.

    None where one of the two does not move, or the test is shorter than 3 s.
    """
    if len(rendered) < 75:
        return None
    scores: dict[int, float] = {}
    count = len(rendered)
    for lag in range(-MAX_LAG, MAX_LAG + 1):
        later = rendered[max(0, lag) : count + min(0, lag)]
        earlier = recorded[max(0, -lag) : count + min(0, -lag)]
        score = correlation(later, earlier)
        if score is None:
            return None
        scores[lag] = score
    return max(scores, key=lambda lag: (scores[lag], -abs(lag)))


def jitter(landmarks: npt.NDArray[np.float32]) -> float:
    """How restless the head is: RMS over frames and rigid points of their second difference, pixels a frame squared.

    Args:
        landmarks: [T, 478, 3] in pixels, T at least 3.
    """
    points = landmarks[:, list(RIGID_INDICES), :2].astype(np.float64)
    return float(np.sqrt(np.square(np.diff(points, 2, axis=0)).sum(2).mean()))


def action_unit_error(
    rendered: npt.NDArray[np.float32], recorded: npt.NDArray[np.float32], units: Mapping[str, tuple[str, ...]]
) -> float:
    """AUE's form on a proxy: for each unit the mean squared difference over frames, summed over units.

    Args:
        rendered: [T, 52] blendshapes 0..1 in the order of `core.clip.landmarks.BLENDSHAPES`.
        recorded: [T, 52] those of the recording.
        units: `UPPER_FACE` or `LOWER_FACE`; a unit's value is the mean of its blendshapes.
    """
    total = 0.0
    for names in units.values():
        columns = [BLENDSHAPES.index(name) for name in names]
        a, b = (track[:, columns].astype(np.float64).mean(1) for track in (rendered, recorded))
        total += float(np.square(a - b).mean())
    return total
