"""Square pictures at another size. Knows nothing of what is in them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


def scaled_picture(picture: Picture, side: int) -> Picture:
    """[S, S, 3] -> [side, side, 3], each pixel the mean of what it covers."""
    if picture.shape[0] == side:
        return picture
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def scaled_labels(labels: Picture, side: int) -> Picture:
    """[S, S] -> [side, side], the label at each pixel's centre."""
    if labels.shape[0] == side:
        return labels
    return np.asarray(cv2.resize(labels, (side, side), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
