"""From sound to what the motion field hears: features at 50 Hz, windows around frames, 64 numbers a step.

Which features, the settings say (`core.clip.speech_encoders`); by default Whisper's. Knows audio as an array of
samples; must not know video or lips.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.clip.speech_encoders import SpeechEncoder, open_encoder
from core.clip.whisper import WHISPER_FEATURES
from core.errors import UsageError
from core.settings import load_own_models

Floats = npt.NDArray[np.float32]

REDUCED_DIMENSION = 64
REDUCED_LIMIT = 6.0
WINDOWS = 8
"""Windows of one video frame f: centred at frames f-4 ... f+3."""
WINDOW_STEPS = 16
"""Steps of one window of frame g: 2g-8 ... 2g+7."""

_PROJECTION = Path(__file__).parent / "data" / "speech_pca64.safetensors"


def speech_encoder() -> SpeechEncoder:
    """The encoder in use.

    Raises:
        UsageError: `bad_settings`.
        MissingModelError: `own_model_missing`, `own_model_unusable`, `transformers_missing`.
    """
    return open_encoder(load_own_models())


def encode_speech(audio: Floats, threads: int | None = None) -> Floats:
    """[samples] mono at 16 kHz -> [ceil(samples / 320), D] at 50 Hz; step i is centred at 20 i ms.

    Args:
        audio: [samples], -1..1.
        threads: of the encoder; None takes two where the machine has them.

    Raises:
        MissingModelError: the encoder is not on this machine.
    """
    return speech_encoder().encode(audio, threads)


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


def reduce_speech(features: Floats, name: str | None = None) -> Floats:
    """[n, D] -> [n, 64]: a fixed projection, whitened in part, clipped to +-6 (docs/models.md, `speech_pca64`).

    Args:
        features: of the encoder in use.
        name: whose features they are, where they come out of a file.

    Raises:
        UsageError: `speech_features_differ`: they are another encoder's; `speech_projection_unusable`.
    """
    encoder = speech_encoder()
    if name not in (None, encoder.name) or features.shape[-1] != encoder.dimension:
        raise UsageError(
            "speech_features_differ",
            f"The clip was made with {name or 'other'} speech features; the ones in use are {encoder.name}.",
            "Make it again, or set LIKENESS_SPEECH_FEATURES as it was.",
        )
    configured = load_own_models().speech_projection
    path = _PROJECTION if encoder.name == WHISPER_FEATURES else configured
    mean, projection = _projection(path, encoder.name, encoder.dimension)
    return np.clip((features - mean) @ projection, -REDUCED_LIMIT, REDUCED_LIMIT).astype(np.float32)


@cache
def _projection(path: Path | None, name: str, dimension: int) -> tuple[Floats, Floats]:
    from safetensors import SafetensorError, safe_open

    unusable = UsageError(
        "speech_projection_unusable",
        f"LIKENESS_SPEECH_PROJECTION names no projection of {name} features.",
        "Make one with `python -m core.clip.fit_speech_projection` under the same settings (docs/models.md).",
    )
    if path is None or not path.is_file():
        raise unusable
    try:
        with safe_open(path, framework="numpy") as file:
            mean, projection = file.get_tensor("mean"), file.get_tensor("projection")
            whose = (file.metadata() or {}).get("features")
    except SafetensorError as error:
        raise unusable from error
    if whose != name or projection.shape != (dimension, REDUCED_DIMENSION):
        raise unusable
    return mean, projection
