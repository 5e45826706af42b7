"""Long sound through an encoder that hears a few seconds at a time, so that no border shows. Knows no encoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_BATCH = 8


def heard_in_pieces(steps: int, dimension: int, heard: int, hop: int, encode: Callable[[list[int]], Floats]) -> Floats:
    """Features [steps, dimension] as weighted means of overlapping pieces; a piece counts most in its middle.

    Args:
        steps: of the whole sound.
        dimension: numbers a step.
        heard: steps of a piece.
        hop: steps from one piece to the next, at most half of `heard`.
        encode: first steps of some pieces (from hop - heard on; sound outside the recording is silence) -> their
            features, [pieces, heard, dimension].
    """
    lead = heard - hop
    total = np.zeros((steps + 2 * heard, dimension), np.float32)
    weight = np.zeros((steps + 2 * heard, 1), np.float32)
    fade = (np.hanning(heard + 2)[1:-1, None] ** 2).astype(np.float32)
    starts = list(range(-lead, steps, hop))
    for first in range(0, len(starts), _BATCH):
        batch = starts[first : first + _BATCH]
        for start, features in zip(batch, encode(batch), strict=True):
            total[start + lead : start + lead + heard] += fade * features
            weight[start + lead : start + lead + heard] += fade
    inside = slice(lead, lead + steps)
    return np.asarray(total[inside] / weight[inside], np.float32)
