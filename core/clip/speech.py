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

SPEECH_FEATURES = "whisper-tiny.en-encoder"
SPEECH_DIMENSION = 384
REDUCED_DIMENSION = 64
REDUCED_LIMIT = 6.0
WINDOWS = 8
"""Windows of one video frame f: centred at frames f-4 ... f+3."""
WINDOW_STEPS = 16
"""Steps of one window of frame g: 2g-8 ... 2g+7."""

_STEP_SAMPLES = SAMPLE_RATE // SPEECH_RATE
_CHUNK = 1500
_OVERLAP = 500
_UNTRUSTED = 100
"""Steps at a chunk's border that hear too little of their surroundings to be used where a neighbour hears more."""
_PROJECTION = Path(__file__).parent / "data" / "speech_pca64.safetensors"


@cache
def _encoder(folder: str, threads: int) -> Any:
    import ctranslate2

    return ctranslate2.models.Whisper(folder, device="cpu", compute_type="int8", intra_threads=threads)


def encode_speech(audio: Floats, threads: int | None = None) -> Floats:
    """[samples] mono at 16 kHz -> [ceil(samples / 320), 384] at 50 Hz; step i is centred at 20 i ms.

    Audio longer than 30 s is encoded in chunks that overlap by 10 s and are cross-faded where both hear enough.

    Raises:
        MissingModelError: the encoder is not on this machine.
    """
    steps = -(-len(audio) // _STEP_SAMPLES)
    if steps == 0:
        return np.zeros((0, SPEECH_DIMENSION), np.float32)
    encoder = _encoder(str(locate("whisper_tiny_en")), threads or min(2, os.cpu_count() or 1))
    padded = np.pad(np.asarray(audio, np.float32), (0, steps * _STEP_SAMPLES - len(audio) + 2 * _STEP_SAMPLES))
    spectrogram = log_mel(padded)[:, : 2 * steps]
    total = np.zeros((steps, SPEECH_DIMENSION), np.float32)
    weight = np.zeros((steps, 1), np.float32)
    start = 0
    while True:
        end = min(steps, start + _CHUNK)
        fade = _fade(start, end, steps)
        total[start:end] += fade * _encode_chunk(encoder, spectrogram[:, 2 * start : 2 * end])
        weight[start:end] += fade
        if end == steps:
            return total / weight
        start += _CHUNK - _OVERLAP


def _encode_chunk(encoder: Any, spectrogram: Floats) -> Floats:
    """[80, 2 n] with n <= 1500 -> [n, 384]; what is missing to 30 s is silence."""
    import ctranslate2

    window = np.full((1, spectrogram.shape[0], 2 * _CHUNK), spectrogram.min(), np.float32)
    window[0, :, : spectrogram.shape[1]] = spectrogram
    encoded = encoder.encode(ctranslate2.StorageView.from_array(window), to_cpu=True)
    return np.array(encoded, np.float32)[0, : spectrogram.shape[1] // 2]


def _fade(start: int, end: int, steps: int) -> Floats:
    """[end - start, 1] weights of a chunk: 1 inside, a ramp over the middle of each overlap, almost 0 at its border."""
    position = np.arange(end - start, dtype=np.float32)
    width = _OVERLAP - 2 * _UNTRUSTED
    rising = np.clip((position - _UNTRUSTED) / width, 1e-6, 1) if start else np.ones_like(position)
    falling = np.clip((_CHUNK - _UNTRUSTED - position) / width, 1e-6, 1) if end < steps else np.ones_like(position)
    return np.asarray(np.minimum(rising, falling)[:, None], np.float32)


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
