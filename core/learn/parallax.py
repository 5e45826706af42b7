"""How far back a head goes beside the face mesh, by what moves when it turns: a plane sweep over the clip's own frames.

No mesh knows hair, ears and neck; their start shell is a guess, and what lies centimetres wrong in depth slides by
pixels when the head turns. A point that lies at its true depth looks the same wherever it is projected to, so each is
moved along its line of sight and compared, together with its neighbours, at many depths. A clip that hardly turns says
little, and leaves the guess. Knows pictures and poses; must not know Gaussians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from core.clip.layout import WORKING_SIDE
from core.clip.skin import Contrast, contrast
from core.learn.training_set import TrainingSet

Points = npt.NDArray[np.float64]

FRAMES = 32
"""Evenly over the clip, that every point is looked for in."""
OFFSETS = np.arange(-0.04, 0.1001, 0.005)
"""Metres further back than the guess that are tried."""
SPREAD = 0.015
"""Metres: how far off the guess is (one standard deviation)."""
NEIGHBOURS = 180
"""Points, over all views, that are taken to be as far off as their middle one."""
EVIDENCE = 32.0
"""Independent observations in them, halved: neighbours and successive frames tell much the same."""
MOST_UNLIKE = 1.0
"""Squared difference of contrast at which a point counts as hidden."""


@dataclass(frozen=True)
class Sight:
    """Points seen in one frame."""

    frame: int
    points: Points
    """[n, 3] head space, metres: the guess."""
    back: Points
    """[n, 3] along each line of sight, one metre further back in head space."""


def depth_offsets(data: TrainingSet, sights: Sequence[Sight]) -> list[Points]:
    """Metres [n] that the points of each sight lie further back than guessed."""
    frames = np.linspace(0, data.count - 1, min(FRAMES, data.count)).astype(int)
    looks = {frame: _look(data, frame) for frame in {*frames.tolist(), *(sight.frame for sight in sights)}}
    unlike = np.concatenate([_unlikeness(data, sight, looks, frames) for sight in sights], 1)
    across = np.concatenate([sight.points[:, :2] for sight in sights])
    if not len(across):
        return [np.zeros(0) for _ in sights]
    near = cKDTree(across).query(across, min(NEIGHBOURS, len(across)))[1].reshape(len(across), -1)
    cost = EVIDENCE * np.log(unlike[:, near].mean(2) + 1e-6) + (OFFSETS**2 / (2 * SPREAD**2))[:, None]
    offsets = _lowest(cost)[near].mean(1)
    return np.split(offsets, np.cumsum([len(sight.points) for sight in sights])[:-1])


def _look(data: TrainingSet, frame: int) -> Contrast:
    smoother = cv2.INTER_AREA if data.size > WORKING_SIDE else cv2.INTER_LINEAR
    picture = cv2.resize(np.asarray(data.frames[frame]), (WORKING_SIDE, WORKING_SIDE), interpolation=smoother)
    return contrast(np.asarray(picture, np.uint8), np.array([[0.0, 0.0], [WORKING_SIDE, WORKING_SIDE]]))


def _unlikeness(data: TrainingSet, sight: Sight, looks: dict[int, Contrast], frames: npt.NDArray[np.int64]) -> Points:
    """[D, n] mean squared difference between a point's look in its own frame and in the others, for each offset."""
    if not len(sight.points):
        return np.zeros((len(OFFSETS), 0))
    camera = data.camera.scaled(WORKING_SIDE / data.size)
    own = looks[sight.frame].values_at(data.project(sight.frame, sight.points, camera))
    total = np.zeros((len(OFFSETS), len(own)))
    others = [int(frame) for frame in frames if frame != sight.frame]
    for frame in others:
        for index, offset in enumerate(OFFSETS):
            seen = looks[frame].values_at(data.project(frame, sight.points + offset * sight.back, camera))
            total[index] += np.minimum((seen - own) ** 2, MOST_UNLIKE)
    return total / max(len(others), 1)


def _lowest(cost: Points) -> Points:
    """[n] the offset of least cost [D, n], between the samples by a parabola."""
    best = np.clip(cost.argmin(0), 1, len(OFFSETS) - 2)
    before, here, after = (np.take_along_axis(cost, best[None] + step, 0)[0] for step in (-1, 0, 1))
    bend = np.maximum(before - 2 * here + after, 1e-9)
    share = np.clip((before - after) / (2 * bend), -1, 1)
    return np.asarray(OFFSETS[best] + share * (OFFSETS[1] - OFFSETS[0]))
