"""The background without the person, from the frames that reveal it. Knows frames and labels, and nothing of time."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from core.clip.layout import Label

Picture = npt.NDArray[np.uint8]

_SURE_PX = 5.0
"""At a side of 512: a background pixel this far from the person is taken as it is."""


def background_plate(frames: Iterable[tuple[Picture, Picture]]) -> tuple[Picture, npt.NDArray[np.bool_]]:
    """Each pixel from the frame in which it lies furthest from the person.

    Args:
        frames: pairs of picture [S, S, 3] and labels [S, S]; about 40, spread over the clip, are enough.

    Returns:
        plate: [S, S, 3].
        known: [S, S] where some frame showed it; the rest repeats the nearest known pixel, softened.
    """
    best: npt.NDArray[np.float32] | None = None
    plate = np.zeros(0, np.uint8)
    for frame, labels in frames:
        distance = cv2.distanceTransform((labels == Label.BACKGROUND).astype(np.uint8), cv2.DIST_L2, 5)
        if best is None:
            best, plate = np.zeros_like(distance), np.zeros_like(frame)
        better = distance > best
        best[better] = distance[better]
        plate[better] = frame[better]
    if best is None:
        raise ValueError("a plate needs at least one frame")
    known = best > _SURE_PX * plate.shape[0] / 512
    return _filled(plate, known), known


def _filled(plate: Picture, known: npt.NDArray[np.bool_]) -> Picture:
    """Invent what no frame showed: the nearest known pixel, softened the more the further it is."""
    if known.all():
        return plate
    if not known.any():
        return np.full_like(plate, 128)
    unknown = (~known).astype(np.uint8)
    distance, nearest = cv2.distanceTransformWithLabels(unknown, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    rows, columns = np.nonzero(known)
    source = np.zeros(int(nearest.max()) + 1, np.int64)
    source[nearest[rows, columns]] = np.arange(len(rows))
    copied = plate.copy()
    here = source[nearest[~known]]
    copied[~known] = plate[rows[here], columns[here]]
    soft = cv2.GaussianBlur(copied, (0, 0), 12 * plate.shape[0] / 512)
    share = np.clip(distance / (24 * plate.shape[0] / 512), 0, 1)[..., None]
    mixed = copied * (1 - share) + soft * share
    return np.asarray(np.where(known[..., None], plate, np.round(mixed)), np.uint8)
