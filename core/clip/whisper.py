"""Whisper tiny.en's encoder as speech features at 50 Hz: the default. Knows audio as an array of samples."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from core.clip.layout import SPEECH_RATE
from core.clip.log_mel import SAMPLE_RATE, log_mel
from core.clip.overlap import heard_in_pieces
from core.models import locate

Floats = npt.NDArray[np.float32]

WHISPER_FEATURES = "whisper-tiny.en-encoder-2s"
_STEP_SAMPLES = SAMPLE_RATE // SPEECH_RATE
_HEARD = 100
"""Steps that the encoder hears at once: 2 s."""
_HOP = 25


@cache
def _encoder(folder: str, threads: int) -> Any:
    import ctranslate2

    return ctranslate2.models.Whisper(folder, device="cpu", compute_type="int8", intra_threads=threads)


class WhisperEncoder:
    """Whisper's encoder, 2 s at a time.

    What it says of a moment depends on where in its 30 s window the moment lies (cosine 0.6 between two places), which
    a motion field can't know. So it hears 2 s at a time, every half second, and each step is the weighted mean of the
    four times it was heard: the same sound gives the same features wherever it comes, no border can be seen, and lips
    follow them better (docs/clip.md).
    """

    name = WHISPER_FEATURES
    dimension = 384

    def encode(self, audio: Floats, threads: int | None = None) -> Floats:
        """[samples] mono at 16 kHz, -1..1 -> [ceil(samples / 320), 384] at 50 Hz; step i is centred at 20 i ms.

        Args:
            audio: [samples].
            threads: of the encoder; None takes two where the machine has them.

        Raises:
            MissingModelError: the encoder is not on this machine.
        """
        import ctranslate2

        steps = -(-len(audio) // _STEP_SAMPLES)
        if steps == 0:
            return np.zeros((0, self.dimension), np.float32)
        encoder = _encoder(str(locate("whisper_tiny_en")), threads or min(2, os.cpu_count() or 1))
        padded = np.pad(np.asarray(audio, np.float32), (0, (steps + 2) * _STEP_SAMPLES - len(audio)))
        spectrogram = log_mel(padded)[:, : 2 * steps]
        silence = ((0, 0), (2 * _HEARD, 2 * _HEARD))
        surrounded = np.pad(spectrogram, silence, constant_values=float(spectrogram.min()))

        def encode(starts: list[int]) -> Floats:
            heard = np.stack([surrounded[:, 2 * (start + _HEARD) : 2 * (start + 2 * _HEARD)] for start in starts])
            encoded = encoder.encode(ctranslate2.StorageView.from_array(heard), to_cpu=True)
            return np.array(encoded, np.float32)

        return heard_in_pieces(steps, self.dimension, _HEARD, _HOP, encode)
