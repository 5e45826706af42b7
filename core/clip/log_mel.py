"""Log-mel spectrogram exactly as Whisper defines it, in numpy. Knows no network and no file."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16000
_WINDOW = 400
_HOP = 160
_BANDS = 80
_BLOCK = 4096

Floats = npt.NDArray[np.float32]


def _mel_from_hertz(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Slaney's scale: linear to 1 kHz (15 mel), logarithmic above."""
    above = 15 + np.log(np.maximum(hertz, 1e-9) / 1000) * (27 / np.log(6.4))
    return np.where(hertz < 1000, hertz * 3 / 200, above)


def _hertz_from_mel(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


@cache
def mel_filters() -> Floats:
    """[80, 201] triangles from 0 to 8 kHz, each of unit area (Slaney)."""
    bins = np.linspace(0, SAMPLE_RATE / 2, _WINDOW // 2 + 1)
    top = _mel_from_hertz(np.array([SAMPLE_RATE / 2]))[0]
    edges = _hertz_from_mel(np.linspace(0, top, _BANDS + 2))
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (edges[2:] - edges[:-2]))[:, None], np.float32)


def log_mel(audio: Floats, peak: float | None = None) -> Floats:
    """[n] samples at 16 kHz -> [80, n // 160], Whisper's scale (about -1..1.5); column j is centred at 10 j ms.

    Args:
        audio: [n] mono, -1..1.
        peak: the floor lies 8 decades below it. None, as in Whisper, is the loudest value of this audio, so that what a
            window sees depends on the whole of it.
    """
    padded = np.pad(audio.astype(np.float32), _WINDOW // 2, mode="reflect")
    hann = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP][: len(audio) // _HOP]
    energy = np.empty((_BANDS, len(frames)), np.float32)
    for start in range(0, len(frames), _BLOCK):
        spectrum = np.fft.rfft(frames[start : start + _BLOCK] * hann, axis=1)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        energy[:, start : start + _BLOCK] = mel_filters() @ power.T
    decades = np.log10(np.maximum(energy, 1e-10))
    return np.asarray((np.maximum(decades, (decades.max() if peak is None else peak) - 8) + 4) / 4, np.float32)
