"""Whether picture and sound of a clip are apart, and by how much: does the mouth open when the voice says it should?

A linear predictor, trained on the pre-training corpus, says from speech features how far a mouth is open; the lag at
which it agrees best with the mouth that is seen is the clip's. A measure of our own: it is no SyncNet, and bears
another name. Knows arrays only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

LARGEST_LAG = 12
"""Frames, either way: recordings that are 8 frames off are found whatever their own lag is."""
REACH = 5
"""Steps on either side of a frame that the predictor hears."""
_PREDICTOR = Path(__file__).parent / "data" / "lag_predictor.safetensors"
_SURE_CORRELATION = 0.5
_SURE_LEAD = 0.12
"""How far the best lag must stand above every lag more than two frames away."""
_LEAST_FRAMES = 75


@dataclass(frozen=True)
class LagPredictor:
    """Mouth opening, in its own standard deviations, as a linear function of the speech around a frame."""

    mean: Floats
    """[11 * 64] of the speech."""
    weights: Floats
    """[11 * 64]"""

    def __call__(self, heard: Floats) -> npt.NDArray[np.float64]:
        """[T, 11 * 64] -> [T]."""
        return np.asarray((heard - self.mean) @ self.weights, np.float64)


@dataclass(frozen=True)
class Lag:
    """What was measured."""

    frames: int
    """The speech of frame f is found at frame f + `frames`."""
    correlation: float
    """Between predicted and seen opening at that lag, -1..1."""
    lead: float
    """By how much that exceeds the best of all lags more than two frames away."""

    @property
    def sure(self) -> bool:
        """Whether to act on it. In 97 five-second parts of people it was not trained on, it then lay within a
        frame of what the whole recording says each time, and on it in 88 (docs/clip.md)."""
        return self.correlation >= _SURE_CORRELATION and self.lead >= _SURE_LEAD and abs(self.frames) < LARGEST_LAG


def heard_around(reduced: Floats, zero: int, frames: npt.NDArray[np.integer], lag: int) -> npt.NDArray[np.float64]:
    """Reduced speech [n, 64] at 50 Hz -> [T, 11 * 64]: the steps around each frame, zeros beyond the ends."""
    index = zero + 2 * (np.asarray(frames)[:, None] + lag) + np.arange(-REACH, REACH + 1)
    inside = (index >= 0) & (index < len(reduced))
    heard = np.asarray(reduced, np.float64)[np.clip(index, 0, len(reduced) - 1)] * inside[..., None]
    return np.asarray(heard.reshape(len(index), -1))


def correlations(
    predictor: LagPredictor, reduced: Floats, zero: int, opening: Floats, seen: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """[25] correlation of predicted and seen opening at the lags -12 ... 12."""
    frames = np.nonzero(seen)[0]
    there = np.asarray(opening, np.float64)[frames]
    found = np.zeros(2 * LARGEST_LAG + 1)
    for number, lag in enumerate(range(-LARGEST_LAG, LARGEST_LAG + 1)):
        said = predictor(heard_around(reduced, zero, frames, lag))
        if said.std() > 1e-9 and there.std() > 1e-9:
            found[number] = np.corrcoef(said, there)[0, 1]
    return found


def measure_lag(
    reduced: Floats,
    zero: int,
    opening: Floats,
    seen: npt.NDArray[np.bool_],
    predictor: LagPredictor | None = None,
) -> Lag:
    """Find the lag of a clip.

    Args:
        reduced: [n, 64] reduced speech at 50 Hz.
        zero: index of the clip's time 0 in it.
        opening: [T] mouth opening of each frame, in any unit.
        seen: [T] which of them count.
        predictor: None takes the one that ships with the product.
    """
    if seen.sum() < _LEAST_FRAMES:
        return Lag(0, 0.0, 0.0)
    found = correlations(predictor or shipped_predictor(), reduced, zero, opening, seen)
    best = int(found.argmax())
    away = np.abs(np.arange(len(found)) - best) > 2
    return Lag(best - LARGEST_LAG, float(found[best]), float(found[best] - found[away].max()))


@cache
def shipped_predictor() -> LagPredictor:
    """The one that `core.clip.fit_lag_predictor` made of the pre-training corpus."""
    from safetensors.numpy import load_file

    arrays = load_file(_PREDICTOR)
    return LagPredictor(arrays["mean"], arrays["weights"])
