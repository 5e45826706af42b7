"""The visible disclosure mark: "AI-generated" in a corner of every frame, unless the user asks for none.

Knows no avatar, no video file and no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

TEXT = "AI-generated"
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class DisclosureLabel:
    """The mark, drawn once for a picture size: white text on a half-transparent dark box, bottom right."""

    top: int
    left: int
    keep: npt.NDArray[np.float32]
    """[h, w, 1] how much of the picture stays, 0..1."""
    add: npt.NDArray[np.float32]
    """[h, w, 3] what is added, 0..255."""

    @staticmethod
    def for_size(width: int, height: int) -> DisclosureLabel:
        """The mark for pictures of `width` x `height` pixels.

        Its text is about 1/28 of the smaller side high; drawn four times larger and scaled down, so that it stays
        legible in small pictures.
        """
        side, over = min(width, height), 4
        scale = max(side / 28.0, 7.0) / 22.0
        thickness = max(1, round(scale * over * 1.6))
        (text_width, text_height), base = cv2.getTextSize(TEXT, _FONT, scale * over, thickness)
        pad = text_height // 2
        box = (min(width, (text_width + 2 * pad) // over), min(height, (text_height + base + 2 * pad) // over))
        ink = np.zeros((text_height + base + 2 * pad, text_width + 2 * pad), np.uint8)
        cv2.putText(ink, TEXT, (pad, pad + text_height), _FONT, scale * over, 255, thickness, cv2.LINE_AA)
        alpha = (cv2.resize(ink, box, interpolation=cv2.INTER_AREA).astype(np.float32) / 255)[..., None]
        margin = side // 64
        keep = np.asarray((1 - alpha) * 0.5, np.float32)
        add = np.asarray(np.repeat(alpha * 245, 3, axis=2), np.float32)
        return DisclosureLabel(max(0, height - box[1] - margin), max(0, width - box[0] - margin), keep, add)

    def burn(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A copy of `frame` ([H, W, 3] uint8, of the size the mark was made for) with the mark on it."""
        marked = frame.copy()
        height, width = self.keep.shape[:2]
        region = marked[self.top : self.top + height, self.left : self.left + width]
        region[:] = np.clip(region * self.keep + self.add + 0.5, 0, 255).astype(np.uint8)
        return marked
