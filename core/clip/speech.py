"""From sound to what the motion field hears: Whisper's encoder at 50 Hz, windows around frames, 64 numbers a step.

Knows audio as an array of samples; must not know files, video or lips.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.clip.layout import SPEECH_RATE
from core.clip.log_mel import SAMPLE_RATE, log_mel
from core.models import locate

Floats = npt.NDArray[np.float32]

SPEECH_FEATURES = "whisper-tiny.en-encoder-2s"
SPEECH_DIMENSION = 384
REDUCED_DIMENSION = 64
REDUCED_LIMIT = 6.0
WINDOWS = 8
"""Windows of one video frame f: centred at frames f-4 ... f+3."""
WINDOW_STEPS = 16
"""Steps of one window of frame g: 2g-8 ... 2g+7."""

_STEP_SAMPLES = SAMPLE_RATE // SPEECH_RATE
_HEARD = 100
"""Steps that the encoder hears at once: 2 s."""
_HOP = 25
_BATCH = 8
_PROJECTION = Path(__file__).parent / "data" / "speech_pca64.safetensors"


@cache
def _encoder(folder: str, threads: int) -> Any:
    import ctranslate2

    return ctranslate2.models.Whisper(folder, device="cpu", compute_type="int8", intra_threads=threads)


def encode_speech(audio: Floats, threads: int | None = None) -> Floats:
    """[samples] mono at 16 kHz -> [ceil(samples / 320), 384] at 50 Hz; step i is centred at 20 i ms.

    What Whisper's encoder says of a moment depends on where in its 30 s window the moment lies (cosine 0.6 between two
    places), which a motion field can't know. So it hears 2 s at a time, every half second, and each step is the
    weighted mean of the four times it was heard: the same sound gives the same features wherever it comes, no border
    can be seen, and lips follow them better (docs/clip.md).

    Args:
        audio: [samples], -1..1.
        threads: of the encoder; None takes two where the machine has them.

    Raises:
        MissingModelError: the encoder is not on this machine.
    """
    import ctranslate2

    steps = -(-len(audio) // _STEP_SAMPLES)
    if steps == 0:
        return np.zeros((0, SPEECH_DIMENSION), np.float32)
    encoder = _encoder(str(locate("whisper_tiny_en")), threads or min(2, os.cpu_count() or 1))
    padded = np.pad(np.asarray(audio, np.float32), (0, (steps + 2) * _STEP_SAMPLES - len(audio)))
    spectrogram = log_mel(padded)[:, : 2 * steps]
    lead = _HEARD - _HOP
    total = np.zeros((steps + 2 * _HEARD, SPEECH_DIMENSION), np.float32)
    weight = np.zeros((steps + 2 * _HEARD, 1), np.float32)
    silence = ((0, 0), (2 * lead, 2 * _HEARD))
    surrounded = np.pad(spectrogram, silence, constant_values=float(spectrogram.min()))
    fade = (np.hanning(_HEARD + 2)[1:-1, None] ** 2).astype(np.float32)
    starts = range(0, steps + lead, _HOP)
    for first in range(0, len(starts), _BATCH):
        batch = starts[first : first + _BATCH]
        heard = np.stack([surrounded[:, 2 * start : 2 * (start + _HEARD)] for start in batch])
        encoded = encoder.encode(ctranslate2.StorageView.from_array(heard), to_cpu=True)
        for start, features in zip(batch, np.array(encoded, np.float32), strict=True):
            total[start : start + _HEARD] += fade * features
            weight[start : start + _HEARD] += fade
    inside = slice(lead, lead + steps)
    return np.asarray(total[inside] / weight[inside], np.float32)


def speech_windows(features: Floats, zero: int, frames: npt.NDArray[np.integer], lag: int = 0) -> Floats:
    """What is heard around each frame: features [n, D] at 50 Hz -> [F, 8, 16, D] (facts sheet, section 1.2).

    Args:
        features: speech features, reduced or not.
        zero: index in `features` of the step at time 0.
        frames: [F] video frame numbers at 25 fps; may lie outside the features (zeros are heard there).
        lag: the speech of frame f is taken at frame f + lag.
    """
    centres = np.asarray(frames)[:, None] + lag + np.arange(-WINDOWS // 2, WINDOWS // 2)
    index = zero + 2 * centres[:, :, None] + np.arange(-WINDOW_STEPS // 2, WINDOW_STEPS // 2)
    inside = (index >= 0) & (index < len(features))
    if not len(features):
        return np.zeros((*index.shape, features.shape[1]), np.float32)
    return np.asarray(features[np.clip(index, 0, len(features) - 1)] * inside[..., None].astype(np.float32))


@cache
def _projection() -> tuple[Floats, Floats]:
    from safetensors.numpy import load_file

    arrays = load_file(_PROJECTION)
    return arrays["mean"], arrays["projection"]


def reduce_speech(features: Floats) -> Floats:
    """[n, 384] -> [n, 64]: a fixed projection, whitened in part, clipped to +-6 (docs/models.md, `speech_pca64`)."""
    mean, projection = _projection()
    return np.clip((features - mean) @ projection, -REDUCED_LIMIT, REDUCED_LIMIT).astype(np.float32)
