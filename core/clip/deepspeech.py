"""DeepSpeech's acoustic model as speech features, where a user brings it as TorchScript: coefficients in, logits out.

Its input is what DeepSpeech 0.1 was trained on: 26 mel-frequency cepstral coefficients every 20 ms, nine neighbours on
either side. Knows audio as an array of samples.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.fft import dct

from core.clip.layout import SPEECH_RATE
from core.clip.log_mel import SAMPLE_RATE
from core.clip.overlap import heard_in_pieces
from core.clip.torchscript import TorchScript

Floats = npt.NDArray[np.float32]

COEFFICIENTS = 26
CONTEXT = 9
"""Steps on either side that the model is shown with each."""
_STEP_SAMPLES = SAMPLE_RATE // SPEECH_RATE
_WINDOW = 400
_TRANSFORM = 512
_EMPHASIS = 0.97
_LIFTER = 22
_FULL_SCALE = 32768.0
_TINY = float(np.finfo(float).eps)
_BLOCK = 4096


def _filters() -> npt.NDArray[np.float64]:
    """[26, 257] triangles on the mel scale 2595 log10(1 + f / 700), their corners at whole bins."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, COEFFICIENTS + 2) / 2595) - 1)
    corner = np.floor((_TRANSFORM + 1) * hertz / SAMPLE_RATE)[:, None]
    bins = np.arange(_TRANSFORM // 2 + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rising = (bins - corner[:-2]) / (corner[1:-1] - corner[:-2])
        falling = (corner[2:] - bins) / (corner[2:] - corner[1:-1])
    up = (bins >= corner[:-2]) & (bins < corner[1:-1])
    down = (bins >= corner[1:-1]) & (bins < corner[2:])
    return np.where(up, rising, np.where(down, falling, 0.0))


def cepstral_coefficients(
    audio: Floats, steps: int, hop: int = _STEP_SAMPLES, count: int = COEFFICIENTS, centred: bool = True
) -> Floats:
    """[samples] at 16 kHz, -1..1 -> [steps, count] mel-frequency cepstra; silence lies around the recording.

    The first is the window's log energy. No window function, pre-emphasis 0.97, lifter 22.

    Args:
        audio: the sound.
        steps: how many.
        hop: samples from one step to the next.
        count: at most 26, the first ones.
        centred: step i is centred at sample i hop; False lets its window of 25 ms begin there.
    """
    before = _WINDOW // 2 if centred else 0
    sound = np.pad(np.asarray(audio, np.float64) * _FULL_SCALE, (before, steps * hop + _WINDOW))
    sound[1:] -= _EMPHASIS * sound[:-1]
    windows = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::hop][:steps]
    filters, found = _filters().T, np.empty((steps, count))
    order = np.arange(count)
    lift = 1 + _LIFTER / 2 * np.sin(np.pi * order / _LIFTER)
    for start in range(0, steps, _BLOCK):
        power = np.abs(np.fft.rfft(windows[start : start + _BLOCK], _TRANSFORM)) ** 2 / _TRANSFORM
        bands = np.log(np.maximum(power @ filters, _TINY))
        found[start : start + _BLOCK] = dct(bands, axis=1, norm="ortho")[:, :count] * lift
        found[start : start + _BLOCK, 0] = np.log(np.maximum(power.sum(1), _TINY))
    return found.astype(np.float32)


class DeepSpeechEncoder:
    """Logits of the letters, 8 s at a time, every 4 s: the model hears both ways in time."""

    _HEARD = 400
    _HOP = 200

    def __init__(self, model: TorchScript, name: str) -> None:
        """Take the model, [1, n, 19 * 26] -> [1, n, letters].

        Raises:
            MissingModelError: `own_model_unusable`.
        """
        self._model, self.name = model, name
        silence = np.zeros((self._HEARD, (2 * CONTEXT + 1) * COEFFICIENTS), np.float32)
        self.dimension = int(self._heard(silence).shape[1])

    def _heard(self, shown: Floats) -> Floats:
        answer = self._model.run(shown[None])
        fits = answer.ndim == 3 and answer.shape[:2] == (1, len(shown))
        return np.asarray(self._model.expect(answer, fits)[0], np.float32)

    def encode(self, audio: Floats, threads: int | None = None) -> Floats:
        """See `core.clip.speech_encoders.SpeechEncoder.encode`."""
        del threads
        steps = -(-len(audio) // _STEP_SAMPLES)
        if steps == 0:
            return np.zeros((0, self.dimension), np.float32)
        told = np.pad(cepstral_coefficients(audio, steps), ((CONTEXT, CONTEXT), (0, 0)))
        shown = np.lib.stride_tricks.sliding_window_view(told, 2 * CONTEXT + 1, axis=0).transpose(0, 2, 1)
        shown = shown.reshape(steps, -1)
        shown = (shown - shown.mean()) / max(float(shown.std()), 1e-6)
        surrounded = np.pad(shown, ((self._HEARD, 2 * self._HEARD), (0, 0)))

        def encode(starts: list[int]) -> Floats:
            at = [start + self._HEARD for start in starts]
            return np.stack([self._heard(surrounded[first : first + self._HEARD]) for first in at])

        return heard_in_pieces(steps, self.dimension, self._HEARD, self._HOP, encode)
