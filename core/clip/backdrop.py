"""What the head is composited over: the recorded frame without its head, the neck grown up to where the chin was.

Under the head lies the plate; below the jaw the neck's own skin goes on upward, so that no gap opens when the chin
moves. Knows one frame at a time.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, gaussian_filter1d, median_filter

from core.clip.layout import HEAD_LABELS, Label

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

# Lengths are in pixels of a 512-pixel frame.
_HALO = 9
"""Around the head, hair and background mix in the recording: there the plate is taken."""
_NECK_GROWTH = 60
_CLOTH_GROWTH = 8
_CLOTH_TAPER = 24
"""Over so many columns at either end of the jaw cloth grows less and less: there it would stand up beside the face."""
_DARKENING = 0.99
"""A pixel row further up under the chin is this much darker (the official code: 0.98)."""
_MIXED_ROWS = 3
"""Rows under the jaw that mix chin and neck: replaced too."""
_SAMPLED_ROWS = 8
_SPREAD = 5.0
_EVEN_COLUMNS = 41


def matte(labels: Picture) -> Floats:
    """Labels [S, S] -> [S, S] 0..1 how much of each pixel is head; soft over about two pixels."""
    head = np.isin(labels, HEAD_LABELS).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(head, (0, 0), max(0.5, 1.2 * labels.shape[0] / 512)), np.float32)


def backdrop(frame: Picture, labels: Picture, plate: Picture) -> Picture:
    """The frame [S, S, 3] with its head taken away.

    Args:
        frame: [S, S, 3] sRGB, the recorded picture.
        labels: [S, S] its parsing.
        plate: [S, S, 3] the background without the person.

    Returns:
        [S, S, 3]: recorded background and torso away from the head, the plate behind it, neck and torso grown upward
        where the head hid them.
    """
    unit = frame.shape[0] / 512
    head = np.isin(labels, HEAD_LABELS)
    torso = labels == Label.TORSO
    # The recording holds outside the head; beside it, the plate does.
    reach = cv2.distanceTransform((~head).astype(np.uint8), cv2.DIST_L2, 5) / unit
    behind = np.clip((2 * _HALO - reach) / _HALO, 0, 1)
    behind[torso] = 0
    behind = np.where(head, 1, cv2.GaussianBlur(behind, (0, 0), max(0.5, 0.8 * unit)))[..., None]
    picture = frame * (1 - behind) + plate * behind
    if torso.any() and head.any():
        share, colour = _growth(frame, labels, head, torso, unit)
        picture += share[..., None] * (colour - picture)
    return np.asarray(np.round(picture), np.uint8)


def _growth(
    frame: Picture, labels: Picture, head: npt.NDArray[np.bool_], torso: npt.NDArray[np.bool_], unit: float
) -> tuple[Floats, Floats]:
    """What grows upward from the jaw line, column by column: opacity [S, S] and colour [S, S, 3]."""
    side = len(labels)
    columns = np.arange(side)
    top = torso.argmax(0)
    gap = max(1, round(6 * unit))
    padded = np.pad(head.astype(np.int32).cumsum(0), ((1, 0), (0, 0)))
    above = padded[top, columns] - padded[np.maximum(top - gap, 0), columns]
    under = torso.any(0) & (above > 0)
    if not under.any():
        return np.zeros((side, side), np.float32), np.zeros((side, side, 3), np.float32)
    offsets = max(1, round(_MIXED_ROWS * unit)) + np.arange(max(1, round(_SAMPLED_ROWS * unit)))
    rows = np.minimum(top + offsets[:, None], side - 1)
    sampled = frame[rows, columns].astype(np.float32)
    weight = (torso[rows, columns] & under)[..., None].astype(np.float32)
    skin = _skin_likeness(frame, labels, sampled) * weight[..., 0]
    is_neck = skin.sum(0) > 0.5 * np.maximum(weight[..., 0].sum(0), 1e-6)
    is_neck = _longest_run(is_neck & under)
    colour = np.zeros((side, 3), np.float32)
    for group in (is_neck & under, under & ~is_neck):
        here = weight * group[None, :, None]
        blurred, total = _spread((sampled * here).sum(0), _SPREAD * unit), _spread(here.sum(0), _SPREAD * unit)
        colour = np.where(group[:, None], blurred / np.maximum(total, 1e-6), colour)
    height = _heights(top, is_neck & under, under, unit)
    up = (top[None] - columns[:, None]).astype(np.float32)
    share = np.clip((height[None] - up) / (4 * unit), 0, 1) * np.clip(
        (up + _MIXED_ROWS * unit) / (2 * unit) + 0.5, 0, 1
    )
    # Never beyond the head's own outline, or the neck would stand out beside the jaw.
    inside = cv2.dilate(head.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(1, round(2 * unit)))
    share = share * ((inside > 0) | torso) * under[None]
    share = cv2.GaussianBlur(share.astype(np.float32), (0, 0), max(0.5, 1.0 * unit)) * ((inside > 0) | torso)
    darker = _DARKENING ** (np.clip(up, 0, None) / unit)
    grown = np.asarray(colour[None] * darker[..., None], np.float32)
    softened = cv2.GaussianBlur(grown, (0, 0), max(0.5, 2.0 * unit))
    return np.asarray(share, np.float32), np.asarray(softened, np.float32)


def _heights(
    top: npt.NDArray[np.intp], neck: npt.NDArray[np.bool_], under: npt.NDArray[np.bool_], unit: float
) -> Floats:
    """How far each column under the head grows: the neck's up to an even line, so that a column that starts high sends
    up no spike; cloth a little, and at the ends of the jaw not at all."""
    inwards = np.asarray(distance_transform_edt(np.pad(under, 1)))[1:-1]
    height = (_CLOTH_GROWTH * unit * np.clip((inwards - 1) / (_CLOTH_TAPER * unit), 0, 1)).astype(np.float32)
    if neck.any():
        even = median_filter(top[neck], max(3, round(_EVEN_COLUMNS * unit) | 1), mode="reflect")
        height[neck] = np.maximum(top[neck] - even + _NECK_GROWTH * unit, 0)
    return height


def _longest_run(columns: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The longest run of true values, gaps of up to five columns closed: a neck is one piece."""
    closed = cv2.morphologyEx(columns.astype(np.uint8)[None], cv2.MORPH_CLOSE, np.ones((1, 7), np.uint8))
    _, parts, stats, _ = cv2.connectedComponentsWithStats(closed)
    if len(stats) < 2:
        return np.zeros_like(columns)
    return np.asarray(parts[0] == 1 + stats[1:, cv2.CC_STAT_AREA].argmax())


def _spread(values: Floats, sigma: float) -> Floats:
    """Blur [n, c] along n."""
    return np.asarray(gaussian_filter1d(values, sigma, axis=0, mode="nearest"), np.float32)


def _skin_likeness(frame: Picture, labels: Picture, colours: Floats) -> Floats:
    """[..., 3] RGB -> 0 or 1: whether it has the face's chroma, in light or shade."""
    face = frame[labels == Label.SKIN][::17]
    if len(face) < 50:
        return np.zeros(colours.shape[:-1], np.float32)
    lab = cv2.cvtColor(face[None], cv2.COLOR_RGB2LAB)[0].astype(np.float32)
    middle, spread = np.median(lab, 0), lab.std(0) + np.array([25.0, 3.0, 3.0], np.float32)
    flat = colours.reshape(1, -1, 3).astype(np.uint8)
    other = cv2.cvtColor(flat, cv2.COLOR_RGB2LAB)[0].astype(np.float32)
    offset = (other - middle) / spread
    # Shade darkens a neck; nothing lights it up, but a white collar is bright.
    offset[:, 0] *= np.where(offset[:, 0] > 0, 2.5, 1.0)
    far = (offset**2).sum(-1)
    return np.asarray((far < 9).reshape(colours.shape[:-1]), np.float32)
