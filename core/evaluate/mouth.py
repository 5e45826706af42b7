"""How well the inside of the mouth is drawn, which landmarks do not see. Definition: docs/metrics.md.

Knows pictures and labels only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.clip.layout import Label


@dataclass
class MouthInside:
    """Squared error where the recording shows teeth, tongue or dark, over all frames together.

    Over all together, because most frames show a handful of pixels and a few show hundreds.
    """

    error: float = 0.0
    numbers: int = 0

    def add(
        self, rendered: npt.NDArray[np.uint8], recorded: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]
    ) -> None:
        """One frame: two [S, S, 3] pictures and the recorded labels [S, S]."""
        inside = labels == Label.MOUTH
        difference = (rendered[inside].astype(np.float64) - recorded[inside]) / 255
        self.error += float(np.square(difference).sum())
        self.numbers += difference.size

    @property
    def psnr(self) -> float | None:
        """Decibels; None where the mouth never opens, or all is equal."""
        if not self.error:
            return None
        return round(-10 * math.log10(self.error / self.numbers), 4)
