"""A Clip as the training loops want it: tensors by frame, crop boxes, and which frames show what. Learns nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.camera import Camera
from core.clip.landmarks import LIPS_OUTER, mouth_opening
from core.clip.layout import HEAD_LABELS, Clip, Label
from core.clip.speech import reduce_speech, speech_windows

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; sides are multiples of 4."""


@dataclass(frozen=True)
class TrainingSet:
    """The learnable frames of one clip, in order."""

    camera: Camera
    frames: npt.NDArray[np.uint8]
    """[T, S, S, 3]"""
    labels: npt.NDArray[np.uint8]
    """[T, S, S]"""
    poses: Tensor
    """[T, 4, 4] head space -> camera space."""
    windows: Tensor
    """[T, 8, 16, 64] reduced speech."""
    expression: Tensor
    """[T, 6]"""
    head_boxes: list[Box]
    lip_boxes: list[Box]
    opening: npt.NDArray[np.float64]
    """[T] inner-lip opening over the distance of the eye corners."""
    mouth_area: npt.NDArray[np.int64]
    """[T] pixels of the mouth's interior."""

    @property
    def count(self) -> int:
        """T."""
        return len(self.head_boxes)

    @property
    def size(self) -> int:
        """S."""
        return self.camera.width

    def view(self, box: Box) -> Camera:
        """The camera of one crop box."""
        left, top, right, bottom = box
        return self.camera.cropped(left, top, right - left, bottom - top)

    def crop(self, index: int, box: Box) -> tuple[Tensor, npt.NDArray[np.uint8]]:
        """Frame [3, h, w] float 0..1 and labels [h, w] inside a box."""
        left, top, right, bottom = box
        pixels = torch.from_numpy(np.ascontiguousarray(self.frames[index, top:bottom, left:right]))
        return pixels.permute(2, 0, 1).to(torch.float32).div_(255), self.labels[index, top:bottom, left:right]


def training_set(clip: Clip) -> TrainingSet:
    """Everything the loops need of a clip, its invalid frames left out."""
    keep = np.nonzero(clip.valid)[0]
    frames = np.asarray(clip.frames)[keep]
    labels = np.asarray(clip.labels)[keep]
    size = clip.size
    poses = torch.eye(4).repeat(len(keep), 1, 1)
    poses[:, :3, :3] = torch.from_numpy(clip.rotations[keep])
    poses[:, :3, 3] = torch.from_numpy(clip.translations[keep])
    windows = speech_windows(
        reduce_speech(clip.speech, clip.speech_features), clip.speech_zero, keep, clip.reference.lag_frames
    )
    landmarks = clip.landmarks[keep][..., :2].astype(np.float64)
    head = np.isin(labels, HEAD_LABELS)
    return TrainingSet(
        camera=clip.camera,
        frames=frames,
        labels=labels,
        poses=poses,
        windows=torch.from_numpy(np.ascontiguousarray(windows, dtype=np.float32)),
        expression=torch.from_numpy(clip.expression[keep]),
        head_boxes=[mask_box(mask, 6 * size // 512, size) for mask in head],
        lip_boxes=[lip_box(points[list(LIPS_OUTER)], 14 * size // 512, size) for points in landmarks],
        opening=mouth_opening(landmarks),
        mouth_area=(labels == Label.MOUTH).sum((1, 2)),
    )


def mask_box(mask: npt.NDArray[np.bool_], pad: int, size: int) -> Box:
    """The box around a mask, padded; the whole frame where the mask is empty."""
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    if len(rows) == 0:
        return 0, 0, size, size
    return _aligned(columns[0] - pad, rows[0] - pad, columns[-1] + 1 + pad, rows[-1] + 1 + pad, size)


def lip_box(outer_lip: npt.NDArray[np.float64], pad: int, size: int) -> Box:
    """The outer lip line [n, 2] squared about its centre (facts sheet, section 1.1), padded."""
    centre = outer_lip.mean(0)
    half = np.abs(outer_lip - centre).max() + pad
    return _aligned(centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half, size)


def _aligned(left: float, top: float, right: float, bottom: float, size: int) -> Box:
    def down(x: float) -> int:
        return min(max(0, int(x)), size - 8) // 4 * 4

    def up(x: float, low: int) -> int:
        return max(low + 8, min(size, -(-int(np.ceil(x)) // 4) * 4))

    x0, y0 = down(left), down(top)
    return x0, y0, up(right, x0), up(bottom, y0)
