"""Which frames of a recording hold a voice: loud enough, and periodic as vowels are. Knows samples, no words.

Unvoiced sounds (s, f, t) count where voice is near. Noise of any level is not periodic; a steady tone or hum is, but
doesn't rise and fall as speech does. Music with a rhythm passes for a voice: it can't be told apart this way.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.clip.layout import FPS
from core.media import SILENCE_DBFS, SPEECH_RATE_HZ

FRAME = SPEECH_RATE_HZ // FPS
_WINDOW = 800
"""Samples that a frame is judged by: 50 ms, three periods of the lowest voice."""
_LAGS = slice(SPEECH_RATE_HZ // 400, SPEECH_RATE_HZ // 65)
"""Periods of voices, samples: 400 to 65 Hz."""
_PERIODIC = 0.45
"""Least share of a window's energy that repeats after a period. White noise reaches 0.25, vowels 0.7 and more."""
_BELOW_PEAK_DB = 35.0
_DRIFT = 0.98
_REACH = 3
"""Frames around a voiced one that count as speech too."""
_STEADY_DB = 2.0

Samples = npt.NDArray[np.float32]


def frame_levels(samples: Samples, count: int) -> npt.NDArray[np.float64]:
    """[count] level of each frame's sound in dBFS, at least -120; `samples` [n] begin with frame 0."""
    whole = np.zeros(count * FRAME)
    whole[: min(len(samples), len(whole))] = samples[: len(whole)]
    power = (whole.reshape(count, FRAME) ** 2).mean(1)
    return np.asarray(10 * np.log10(np.maximum(power, 1e-12)))


def voiced_frames(samples: Samples, count: int) -> npt.NDArray[np.bool_]:
    """[count] whether a voice is heard in each frame of 16 kHz `samples` [n], -1..1, that begin with frame 0."""
    levels = frame_levels(samples, count)
    loud = levels > max(SILENCE_DBFS, float(np.percentile(levels, 98)) - _BELOW_PEAK_DB)
    padded = np.zeros(count * FRAME + _WINDOW)
    before = (_WINDOW - FRAME) // 2
    there = min(len(samples), count * FRAME)
    padded[before : before + there] = samples[:there]
    padded[1:] -= _DRIFT * padded[:-1]  # rumble and wind are periodic for as long as a window
    voiced = np.zeros(count, np.bool_)
    for number in np.nonzero(loud)[0]:
        voiced[number] = _periodicity(padded[number * FRAME : number * FRAME + _WINDOW]) > _PERIODIC
    if voiced.sum() > 1 and levels[voiced].std() < _STEADY_DB and levels[loud].std() < _STEADY_DB:
        return np.zeros(count, np.bool_)
    near = np.convolve(voiced, np.ones(2 * _REACH + 1), "same") > 0
    return np.asarray(near & loud)


def _periodicity(window: npt.NDArray[np.float64]) -> float:
    """Highest normalised autocorrelation, 0..1, at the periods of a voice."""
    window = window - window.mean()
    spectrum = np.fft.rfft(window, 2 * len(window))
    raw = np.fft.irfft(np.abs(spectrum) ** 2)[: _LAGS.stop]
    energy = np.cumsum(window**2)
    lags = np.arange(1, _LAGS.stop)
    head, tail = energy[-1 - lags], energy[-1] - energy[lags - 1]
    return float((raw[1:] / np.sqrt(np.maximum(head * tail, 1e-12)))[_LAGS.start - 1 :].max())
