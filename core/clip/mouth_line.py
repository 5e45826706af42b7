"""Where the lips end and the mouth's interior begins: the landmarks' inner line, moved to where the colours change.

Landmarks put the line up to two pixels off, and between closed lips they leave a slit. Teeth, tongue and cavity have
other colours than this person's lips, which a few frames of the clip tell. Knows one frame at a time.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from core.clip.face_frame import polygon
from core.clip.landmarks import LIPS_INNER, LIPS_OUTER

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_BINS = 24
_LAB_LOW = np.array([0, -20, -20], np.float32)
_LAB_HIGH = np.array([100, 50, 50], np.float32)
_MARGIN_PX = 6
_SURE_PX = 1.5
"""At a side of 512: colours are learned this far from the landmarks' line on either side."""
_LEAST_PIXELS = 200
"""Of each kind, in all key frames; with fewer the line stays where the landmarks put it."""
_TRUST_PER_PX = 0.6
"""Log odds for each pixel (at 512) that a place lies inside or outside the landmarks' line."""
_SHRINK_PX = 0.25
_MOST_ODDS = 3.0
"""Colour moves the line by at most five pixels (at 512)."""
_BLUR_PX = 0.8


class _Mouth:
    """The lips of one frame, cut out."""

    def __init__(self, picture: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating]) -> None:
        side = len(picture)
        self.unit = side / 512
        outline = landmarks[list(LIPS_OUTER), :2]
        left, top = np.clip(np.floor(outline.min(0)) - _MARGIN_PX, 0, side - 1).astype(int)
        right, bottom = np.clip(np.ceil(outline.max(0)) + _MARGIN_PX, 1, side).astype(int)
        self.window = slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))
        cut = np.ascontiguousarray(picture[self.window])
        height, width = cut.shape[:2]
        placed = landmarks[:, :2] - np.array([left, top], np.float32)
        inner = polygon(placed, LIPS_INNER, height, width)
        self.lips = polygon(placed, LIPS_OUTER, height, width)
        inside = cv2.distanceTransform(inner.astype(np.uint8), cv2.DIST_L2, 5)
        outside = cv2.distanceTransform((~inner).astype(np.uint8), cv2.DIST_L2, 5)
        self.depth: Floats = np.asarray(inside - outside, np.float32) / np.float32(self.unit)
        """[h, w] how far inside the landmarks' inner line, pixels at 512; negative outside."""
        lab = cv2.cvtColor(cut.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        place = np.clip((lab - _LAB_LOW) / (_LAB_HIGH - _LAB_LOW) * _BINS, 0, _BINS - 1).astype(np.int32)
        self.bins = (place[..., 0] * _BINS + place[..., 1]) * _BINS + place[..., 2]


def fit_mouth(pictures: list[npt.NDArray[np.uint8]], landmarks: list[npt.NDArray[np.floating]]) -> Floats:
    """What key frames tell of the colours inside the mouth and on the lips.

    Args:
        pictures: [S, S, 3] each, sRGB.
        landmarks: [478, 2+] of each, pixels.

    Returns:
        [24^3] log odds of the mouth's interior for each LAB bin; zeros where too little of it was seen.
    """
    counts = np.zeros((_BINS**3, 2), np.float64)
    for picture, points in zip(pictures, landmarks, strict=True):
        mouth = _Mouth(picture, points)
        kinds = mouth.depth > _SURE_PX, mouth.lips & (mouth.depth < -_SURE_PX)
        for number, kind in enumerate(kinds):
            counts[:, number] += np.bincount(mouth.bins[kind], minlength=_BINS**3)
    total = counts.sum(0)
    if total.min() < _LEAST_PIXELS:
        return np.zeros(_BINS**3, np.float32)
    share = gaussian_filter(counts.reshape(_BINS, _BINS, _BINS, 2), (1, 1, 1, 0)).reshape(-1, 2) / total + 1e-5
    return np.asarray(np.log(share[:, 0] / share[:, 1]), np.float32)


def mouth_interior(colours: Floats, picture: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating]) -> Mask:
    """[S, S] the mouth's interior in a picture [S, S, 3]; always inside the outer lip line.

    Args:
        colours: what `fit_mouth` returned.
        picture: sRGB.
        landmarks: [478, 2+] pixels.
    """
    mouth = _Mouth(picture, landmarks)
    odds = np.clip(colours[mouth.bins], -_MOST_ODDS, _MOST_ODDS)
    odds = np.asarray(cv2.GaussianBlur(odds, (0, 0), max(0.4, _BLUR_PX * mouth.unit)), np.float32)
    shrink = _SHRINK_PX if colours.any() else 0.0
    interior = np.zeros(picture.shape[:2], np.bool_)
    interior[mouth.window] = mouth.lips & (odds + _TRUST_PER_PX * (mouth.depth - shrink) > 0)
    return interior
