"""How well a face field moves lips that it did not learn from: opening correlation and lip distance, without pictures.

These are figures of tracked against predicted motion, not of rendered frames (docs/metrics.md has those).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.avatar import FaceField
from core.clip.canonical import LIPS_INNER, LIPS_OUTER
from core.learn.motion_track import MotionTrack

UPPER_LIP = (0, 11, 12, 13, 37, 267, 72, 302)
LOWER_LIP = (14, 15, 16, 17, 84, 314, 85, 315)
LIPS = np.array([*LIPS_OUTER, *LIPS_INNER], dtype=np.int64)
_BATCH = 64


@dataclass(frozen=True)
class LipScore:
    """One judgement."""

    opening_correlation: float
    """Pearson correlation of predicted and tracked mouth opening; 0 where either stands still."""
    lmd_px: float
    """Mean distance of the 40 lip points, each frame's set centred, in pixels of a 512-pixel frame."""


def judge(field: FaceField | None, seen: MotionTrack, unseen: MotionTrack, vertices: Tensor) -> LipScore:
    """Judge a field on frames it has not learned from.

    Args:
        field: None for a mouth that stands still.
        seen: frames of the same person that only tell the mouth's rest: the mean of tracked minus predicted points.
        unseen: the frames that are judged.
        vertices: [468, 3] canonical mesh, metres.
    """
    points = torch.from_numpy(LIPS)
    every, rest_frames = np.arange(unseen.count), np.arange(seen.count)
    rest = (seen.moved(rest_frames, LIPS) - _lips(field, seen, vertices[points])).mean(0)
    error = unseen.moved(every, LIPS) - _lips(field, unseen, vertices[points]) - rest
    across = torch.einsum("bij,bnj->bni", unseen.turned(every), error)[..., :2]
    across = (across - across.mean(1, keepdim=True)) * torch.tensor(unseen.pixels_per_metre)[:, None, None]
    correlation = 0.0 if field is None else opening_correlation(field, unseen, vertices)
    return LipScore(correlation, float(across.norm(dim=2).mean()))


def _lips(field: FaceField | None, track: MotionTrack, points: Tensor) -> Tensor:
    if field is None:
        return torch.zeros(track.count, len(points), 3)
    return predicted(field, track, points)


@torch.no_grad()
def predicted(field: FaceField, track: MotionTrack, points: Tensor) -> Tensor:
    """[T, N, 3] metres by which a field alone would move points [N, 3] in every frame of a track."""
    features = field.features(points)
    found = []
    for start in range(0, track.count, _BATCH):
        chosen = np.arange(start, min(start + _BATCH, track.count))
        moved = field.translated(features, track.heard(chosen), track.expressed(chosen))
        found.append(moved.view(len(chosen), len(points), 3))
    return torch.cat(found)


def predicted_opening(field: FaceField, track: MotionTrack, vertices: Tensor) -> npt.NDArray[np.float64]:
    """[T] how far the field alone would open the mouth: upper against lower lip, metres."""
    vertical = predicted(field, track, vertices[list(UPPER_LIP + LOWER_LIP)])[..., 1]
    upper, lower = vertical.view(track.count, 2, len(UPPER_LIP)).mean(2).unbind(1)
    return (upper - lower).double().numpy()


def opening_correlation(field: FaceField, track: MotionTrack, vertices: Tensor) -> float:
    """Pearson correlation of predicted and tracked mouth opening over a track; 0 where either stands still."""
    found = predicted_opening(field, track, vertices)
    if min(found.std(), track.opening.std()) < 1e-9:
        return 0.0
    return float(np.corrcoef(found, track.opening)[0, 1])
