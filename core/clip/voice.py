"""When somebody speaks: an energy gate, by which silence closes the mouth. Knows samples; no words and no lips."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_closing, binary_dilation, uniform_filter1d

from core.clip.layout import FPS, SPEECH_RATE
from core.clip.log_mel import SAMPLE_RATE

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


def loudness(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Level at each 20 ms step, dBFS (full-scale square wave = 0), over 40 ms around it; -120 for digital silence.

    Returns:
        [ceil(n / 320)]: step i is centred at 20 i ms, as the speech features' are.
    """
    hop = SAMPLE_RATE // SPEECH_RATE
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


def frame_voice(
    gate: npt.NDArray[np.float32], frames: npt.NDArray[np.integer], lag: int = 0
) -> npt.NDArray[np.float32]:
    """Voice activity of video frames: the gate's mean over the 40 ms that each is shown.

    Args:
        gate: [n] what `voice_gate` says of a recording from time 0 on.
        frames: [F] numbers at 25 fps; where the recording has no sound, nobody speaks.
        lag: the speech of frame f is found at frame f + lag.

    Returns:
        [F] 0..1.
    """
    each = SPEECH_RATE // FPS
    steps = each * (np.asarray(frames)[:, None] + lag) + np.arange(each)
    inside = (steps >= 0) & (steps < len(gate))
    heard = gate[np.clip(steps, 0, len(gate) - 1)] * inside if len(gate) else np.zeros(steps.shape)
    return np.asarray(heard.mean(1), np.float32)
