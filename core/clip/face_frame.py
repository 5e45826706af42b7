"""A frame of reference that moves with the face in the picture: where up is, how tall the face is, where a pixel lies.

Knows landmarks in pixels; must not know labels or colours.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from core.clip.canonical import CHIN, FOREHEAD, RIGID_INDICES

Floats = npt.NDArray[np.float32]

_HAIR_ROOT = 0.2
"""In face heights: hair that reaches no higher than this does not grow on the head."""


def face_coordinates(landmarks: npt.NDArray[np.floating], height: int, width: int) -> tuple[Floats, Floats]:
    """Every pixel's place in units of the face's height: (right, up), both [height, width].

    Up is 0.5 at the forehead's top and -0.5 at the chin; right is 0 on the line between them.
    """
    top, chin = landmarks[FOREHEAD, :2].astype(np.float32), landmarks[CHIN, :2].astype(np.float32)
    tall = max(float(np.linalg.norm(top - chin)), 1.0)
    up = (top - chin) / tall
    right = np.array([-up[1], up[0]], np.float32)
    centre = (top + chin) / 2
    x = np.arange(width, dtype=np.float32)[None] - centre[0]
    y = np.arange(height, dtype=np.float32)[:, None] - centre[1]
    return (x * right[0] + y * right[1]) / tall, (x * up[0] + y * up[1]) / tall


def shoulder_height(right: Floats) -> Floats:
    """How high up clothes can reach, in face heights, at each place `right`: higher beside the face than below."""
    return np.asarray(-0.3 + 0.3 * np.clip((np.abs(right) - 0.45) / 0.3, 0, 1), np.float32)


def skin_reach(up: Floats) -> Floats:
    """How far to the side the face's skin, ears included, can reach at each height `up`: less below the ears."""
    return np.asarray(0.75 + np.clip(up + 0.1, -0.35, 0), np.float32)


def similarity(source: npt.NDArray[np.floating], target: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """[2, 3] the turn, scale and shift that brings the rigid landmarks of one face [478, 2+] onto another's."""
    index = list(RIGID_INDICES)
    one, other = source[index, :2].astype(np.float64), target[index, :2].astype(np.float64)
    a, b = one - one.mean(0), other - other.mean(0)
    first, second = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
    factor = (second * first.conj()).sum() / (np.abs(first) ** 2).sum()
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.concatenate([turn, (other.mean(0) - turn @ one.mean(0))[:, None]], 1)


def polygon(
    landmarks: npt.NDArray[np.floating], indices: tuple[int, ...], height: int, width: int
) -> npt.NDArray[np.bool_]:
    """[height, width] the pixels whose centres (at +0.5) lie inside a closed line of landmarks (even-odd rule)."""
    points = np.asarray(landmarks, np.float64)[list(indices), :2]
    first = max(0, int(np.ceil(points[:, 1].min() - 0.5)))
    last = min(height, int(np.floor(points[:, 1].max() - 0.5)) + 1)
    mask = np.zeros((height, width), np.bool_)
    if last <= first:
        return mask
    middle = np.arange(first, last)[:, None] + 0.5
    (x0, y0), (x1, y1) = points.T, np.roll(points, -1, axis=0).T
    row, edge = np.nonzero((y0 <= middle) != (y1 <= middle))
    share = (middle[row, 0] - y0[edge]) / (y1[edge] - y0[edge])
    crossing = x0[edge] + share * (x1[edge] - x0[edge])
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    toggles = np.bincount(row * (width + 1) + column, minlength=(last - first) * (width + 1))
    mask[first:last] = toggles.reshape(last - first, width + 1)[:, :width].cumsum(1) % 2 == 1
    return mask


def hanging_hair(hair: npt.NDArray[np.bool_], up: Floats) -> npt.NDArray[np.bool_]:
    """The part of a hair mask [H, W] that hangs together with the hair above the eyes.

    What does not is a collar or a shoulder of hair's colour, or a rim of mixed pixels along the cheek: strands thinner
    than three pixels don't connect.
    """
    solid = cv2.erode(hair.astype(np.uint8), np.ones((3, 3), np.uint8))
    _, parts = cv2.connectedComponents(solid)
    keep = np.unique(parts[(up > _HAIR_ROOT) & (solid > 0)])
    kept = np.isin(parts, keep) & (solid > 0)
    return hair & (cv2.dilate(kept.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)
