"""Whether the drawn head shows a seam where it meets the recorded neck and clothes. Definition: docs/metrics.md.

Knows pictures and labels only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from core.clip.layout import HEAD_LABELS, Label

BAND = 2
"""Pixels, at 512, on either side of the border."""


@dataclass
class Seam:
    """Mean gradients across the border of head and torso, frame by frame."""

    rendered: list[float] = field(default_factory=list)
    recorded: list[float] = field(default_factory=list)

    def add(
        self, rendered: npt.NDArray[np.uint8], recorded: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]
    ) -> None:
        """One frame: two [S, S, 3] pictures and the recorded labels [S, S]. Without such a border nothing is added."""
        band = neck_border(labels)
        if band.any():
            self.rendered.append(float(_steepness(rendered)[band].mean()))
            self.recorded.append(float(_steepness(recorded)[band].mean()))

    @property
    def ratio(self) -> float | None:
        """Rendered over recorded gradient; None where the head never meets the torso."""
        if not self.recorded or not np.mean(self.recorded):
            return None
        return round(float(np.mean(self.rendered) / np.mean(self.recorded)), 4)


def neck_border(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """The pixels within `BAND` of both head and torso."""
    reach = 2 * max(1, BAND * labels.shape[0] // 512) + 1
    near = np.ones((reach, reach), np.uint8)
    head, torso = np.isin(labels, HEAD_LABELS).astype(np.uint8), (labels == Label.TORSO).astype(np.uint8)
    return np.logical_and(cv2.dilate(head, near), cv2.dilate(torso, near))


def _steepness(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """[S, S] length of the brightness gradient, levels a pixel."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8)
    return np.asarray(np.hypot(across, down), np.float32)
