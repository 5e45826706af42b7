"""From speech to what drives each frame: which recorded frame stands behind it, and which speech window moves it.

Knows numbers only: no avatar, no pictures, no files.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FPS = 25
SAMPLE_RATE = 16_000


def frame_count(samples: int) -> int:
    """Frames that cover `samples` of 16 kHz speech: the picture outlasts the sound by less than one frame."""
    return max(1, math.ceil(samples * FPS / SAMPLE_RATE))


def ping_pong(count: int, recorded: int) -> npt.NDArray[np.int64]:
    """Which recorded frame stands behind each of `count` frames: forth and back, so that neighbours never jump.

    0, 1, ... n-1, n-2, ... 1, 0, 1, ...: each index differs from the one before by one (by none where n is 1).

    Args:
        count: frames to make, >= 0.
        recorded: frames there are, n >= 1.

    Returns:
        [count] indices in 0..n-1.
    """
    if recorded < 1:
        raise ValueError("a portrait has at least one frame")
    if recorded == 1:
        return np.zeros(count, np.int64)
    phase = np.arange(count, dtype=np.int64) % (2 * (recorded - 1))
    return np.minimum(phase, 2 * (recorded - 1) - phase)


def fade_to_silence(
    features: npt.NDArray[np.float32], gate: npt.NDArray[np.float32], silence: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Blend speech features toward those of silence where nobody speaks, so that the mouth closes.

    Args:
        features: [n, D] steps.
        gate: [n] 0..1, see `core.clip.voice`.
        silence: [D] the features of digital silence.

    Returns:
        [n, D]: gate * features + (1 - gate) * silence.
    """
    weight = gate[:, None]
    return (weight * features + (1 - weight) * silence).astype(np.float32)
