"""A Clip as the training loops want it: tensors by frame, crop boxes, and which frames show what. Learns nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.camera import Camera
from core.clip.landmarks import LIPS_OUTER, mouth_opening
from core.clip.layout import HEAD_LABELS, Clip, Label
from core.clip.poses import to_pixels
from core.clip.speech import reduce_speech, speech_windows

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; sides are multiples of 4."""


class Pictures(Protocol):
    """T pictures: an array, or something that reads them from disk one by one (core.learn.filmed)."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...

    def __getitem__(self, key: Any, /) -> Any: ...


class Windows(Protocol):
    """T frames' speech windows: a tensor, or something that cuts them out when they are asked for."""

    def __getitem__(self, key: int, /) -> Tensor: ...


@dataclass(frozen=True)
class TrainingSet:
    """The learnable frames of one clip, in order."""

    camera: Camera
    frames: Pictures
    """[T, S, S, 3] uint8."""
    labels: Pictures
    """[T, S, S] uint8, values of `Label`."""
    poses: Tensor
    """[T, 4, 4] head space -> camera space."""
    windows: Windows
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

    def project(self, index: int, points: npt.NDArray[np.float64], camera: Camera) -> npt.NDArray[np.float64]:
        """Head-space points [n, 3] in one frame's pose -> [n, 2] pixels of `camera`: the clip's own or a scaled one."""
        pose = self.poses[index].double().numpy()
        return to_pixels(points @ pose[:3, :3].T + pose[:3, 3], camera)

    def crop(self, index: int, box: Box) -> tuple[Tensor, npt.NDArray[np.uint8]]:
        """Frame [3, h, w] float 0..1 and labels [h, w] inside a box."""
        left, top, right, bottom = box
        return as_picture(self.frames[index, top:bottom, left:right]), self.labels[index, top:bottom, left:right]


def as_picture(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """[h, w, 3] bytes -> [3, h, w] float 0..1, plane by plane; turned as bytes, which is four times as fast."""
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().to(torch.float32).div_(255)


def training_set(clip: Clip) -> TrainingSet:
    """Everything the loops need of a clip, its invalid frames left out."""
    keep = np.nonzero(clip.valid)[0]
    windows = speech_windows(
        reduce_speech(clip.speech, clip.speech_features), clip.speech_zero, keep, clip.reference.lag_frames
    )
    heard = torch.from_numpy(np.ascontiguousarray(windows, dtype=np.float32))
    return described(clip, keep, np.asarray(clip.frames)[keep], np.asarray(clip.labels)[keep], heard)


def described(
    clip: Clip, keep: npt.NDArray[np.int64], frames: Pictures, labels: Pictures, windows: Windows
) -> TrainingSet:
    """A clip's training set around its pictures and its speech; labels are looked at one by one.

    Args:
        clip: the clip.
        keep: [T] its frames that are learned from.
        frames: theirs.
        labels: theirs.
        windows: theirs.
    """
    size = clip.size
    poses = torch.eye(4).repeat(len(keep), 1, 1)
    poses[:, :3, :3] = torch.from_numpy(clip.rotations[keep])
    poses[:, :3, 3] = torch.from_numpy(clip.translations[keep])
    landmarks = clip.landmarks[keep][..., :2].astype(np.float64)
    seen = [
        (mask_box(np.isin(mine, HEAD_LABELS), 6 * size // 512, size), (mine == Label.MOUTH).sum()) for mine in labels
    ]
    return TrainingSet(
        camera=clip.camera,
        frames=frames,
        labels=labels,
        poses=poses,
        windows=windows,
        expression=torch.from_numpy(clip.expression[keep]),
        head_boxes=[box for box, _ in seen],
        lip_boxes=[lip_box(points[list(LIPS_OUTER)], 14 * size // 512, size) for points in landmarks],
        opening=mouth_opening(landmarks),
        mouth_area=np.array([area for _, area in seen], np.int64),
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
