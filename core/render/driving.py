"""From speech to what drives each frame: which recorded frame stands behind it, and which speech window moves it.

Knows numbers only: no avatar, no pictures, no files.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_closing, binary_dilation, uniform_filter1d

FPS = 25
SAMPLE_RATE = 16_000
STEPS_PER_SECOND = 50
SILENT_DBFS = -50.0
"""A step below this is silent whatever the rest of the recording is like."""
DYNAMIC_RANGE_DB = 32.0
"""A step this far below the recording's loud steps is silent too: room noise, breath."""
HOLD_STEPS = 6
"""120 ms: speech counts as on so long before and after, so that a closure (p, t, k) stays speech."""
BRIDGED_STEPS = 10
"""200 ms: silences that are then as short are bridged, so that the mouth does not flicker."""
FADE_STEPS = 5
"""100 ms from full speech to full silence."""


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


def loudness(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Level at each 20 ms step, dBFS (full-scale square wave = 0), over 40 ms around it; -120 for digital silence.

    Returns:
        [ceil(n / 320)]: step i is centred at 20 i ms, as the speech features' are.
    """
    hop = SAMPLE_RATE // STEPS_PER_SECOND
    steps = max(1, math.ceil(len(samples) / hop))
    padded = np.zeros(hop * (steps + 1), np.float64)
    padded[hop : hop + len(samples)] = samples
    power = np.square(padded).reshape(steps + 1, hop).mean(1)
    return np.asarray(10 * np.log10(np.maximum((power[:-1] + power[1:]) / 2, 1e-12)))


def voice_gate(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """How much each 20 ms step counts as speech, by energy alone: 1 in speech, 0 in silence, linear fades between.

    Args:
        samples: [n] float32, 16 kHz mono, -1..1.

    Returns:
        [ceil(n / 320)] in 0..1.
    """
    level = loudness(samples)
    threshold = max(SILENT_DBFS, float(np.percentile(level, 95)) - DYNAMIC_RANGE_DB)
    speech = binary_dilation(level > threshold, iterations=HOLD_STEPS)
    bridge = BRIDGED_STEPS // 2
    speech = binary_closing(np.pad(speech, bridge, mode="edge"), iterations=bridge)[bridge:-bridge]
    return np.asarray(uniform_filter1d(speech.astype(np.float32), FADE_STEPS, mode="nearest").clip(0, 1), np.float32)


def fade_to_silence(
    features: npt.NDArray[np.float32], gate: npt.NDArray[np.float32], silence: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Blend speech features toward those of silence where nobody speaks, so that the mouth closes.

    Args:
        features: [n, D] steps.
        gate: [n] 0..1, see `voice_gate`.
        silence: [D] the features of digital silence.

    Returns:
        [n, D]: gate * features + (1 - gate) * silence.
    """
    weight = gate[:, None]
    return (weight * features + (1 - weight) * silence).astype(np.float32)
