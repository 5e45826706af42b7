"""The person's own blink: how far each place about the eyes moves when the lids shut, from the tracked landmarks.

A regression of the lids' landmarks on the blink coefficient, drawn toward lids that meet near the lower one, so that a
clip without a blink has eyes that close too. Knows no pictures.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.interpolate import LinearNDInterpolator
from torch import Tensor

from core.avatar.lids import COLUMNS, EXTENT, ROWS
from core.clip.face_texture import EYES
from core.learn.motion_track import MotionTrack

Floats = npt.NDArray[np.float64]

UPPER, LOWER = tuple(eye[:8:-1] for eye in EYES), tuple(eye[1:8] for eye in EYES)
"""Margins of the lids of both eyes, outer corner to inner, those above each other at the same place."""
FOLD = ((247, 30, 29, 27, 28, 56, 190), (467, 260, 259, 257, 258, 286, 414))
"""The next line above the upper lid's margin."""
CORNERS = tuple((eye[0], eye[8]) for eye in EYES)
MEETING = 0.12
"""Where lids meet: how far the lower one comes up, of the opening."""
FOLLOWING = 0.15
"""How far the fold comes down, of the opening."""
PRIOR_FRAMES = 2.0
"""The prior counts as this many frames with shut lids."""
OPEN, BLINKING = 0.2, 0.2
"""Blink coefficients up to which lids count as open, and from which they say how they close."""
NEAR, FAR = 0.004, 0.012
"""Metres from the margins up to which landmarks move as they were seen to, and from which they are held still."""
BEHIND = 0.002
"""Metres by which the eye lies behind lids that have shut over it."""


def fit_lids(track: MotionTrack, vertices: npt.NDArray[np.floating]) -> Tensor:
    """The map of `core.avatar.lids` for one person.

    Args:
        track: the person's clip.
        vertices: [468, 3] canonical mesh, metres.
    """
    blink = np.asarray(track.expression[:, -1], np.float64)
    moved = np.asarray(track.displacement, np.float64)
    opened = blink <= OPEN if (blink <= OPEN).any() else blink <= np.median(blink)
    rest = moved[opened].mean(0)
    places = vertices[:, :2] + rest[:, :2]
    prior = _prior(places)
    shut = np.where(blink >= BLINKING, blink, 0)
    seen = np.einsum("t,tni->ni", shut, moved - rest)
    closing = (seen + PRIOR_FRAMES * prior) / ((shut**2).sum() + PRIOR_FRAMES)
    closing *= _nearness(places)[:, None]
    closing[:, 2] = 0
    return torch.from_numpy(_drawn(places, closing))


def _prior(places: Floats) -> Floats:
    """[468, 3] displacement of each landmark, were lids to meet `MEETING` above the lower one's margin."""
    closing = np.zeros((len(places), 3))
    for upper, lower, fold in zip(UPPER, LOWER, FOLD, strict=True):
        opening = places[list(upper), 1] - places[list(lower), 1]
        closing[list(upper), 1] = -(1 - MEETING) * opening
        closing[list(lower), 1] = MEETING * opening
        closing[list(fold), 1] = -FOLLOWING * opening
    return closing


def _nearness(places: Floats) -> Floats:
    """[468] 1 at the lids' margins, 0 away from them."""
    margins = places[[i for eye in EYES for i in eye]]
    distance = np.linalg.norm(places[:, None] - margins, axis=2).min(1)
    return np.asarray(np.clip((FAR - distance) / (FAR - NEAR), 0, 1))


def _drawn(places: Floats, closing: Floats) -> npt.NDArray[np.float32]:
    """[3, ROWS, COLUMNS] displacements between the landmarks, and how far the eye lies behind."""
    left, bottom, right, top = EXTENT
    x, y = np.meshgrid(np.linspace(left, right, COLUMNS), np.linspace(bottom, top, ROWS))
    where = np.stack([x, y], axis=-1)
    drawn = LinearNDInterpolator(places, closing, fill_value=0.0)(where)
    for upper, lower, (outer, inner) in zip(UPPER, LOWER, CORNERS, strict=True):
        drawn[..., 2] -= BEHIND * _between(x, y, places[[outer, *upper, inner]], places[[outer, *lower, inner]])
    return np.ascontiguousarray(drawn.transpose(2, 0, 1), dtype=np.float32)


def _between(x: Floats, y: Floats, upper: Floats, lower: Floats) -> Floats:
    """1 in the middle between two lines [n, 2], 0 on and outside them."""
    high, low = (np.interp(x, *line[np.argsort(line[:, 0])].T) for line in (upper, lower))
    inside = (x > upper[:, 0].min()) & (x < upper[:, 0].max())
    opening = np.maximum(high - low, 1e-6)
    return np.where(inside, np.clip(4 * (y - low) * (high - y) / opening**2, 0, 1), 0)
