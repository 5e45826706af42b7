"""What one clip teaches about motion: tracked displacements beside the speech they go with. Knows no field.

The arrays may be memory-mapped files: only what is asked for is read, so memory does not grow with a corpus.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.camera import Camera
from core.clip.speech import speech_windows

Floats = npt.NDArray[np.float32]

WRONG_AUDIO_FRAMES = 97
"""By how much speech is rotated for a control that must not do well."""


@dataclass(frozen=True)
class MotionTrack:
    """T frames of one clip."""

    identity: str
    speech: Floats
    """[n, 64] reduced speech at 50 Hz."""
    zero: int
    """Index in `speech` of the step at frame 0."""
    lag: int
    """The speech of frame f is found at frame f + lag."""
    frames: npt.NDArray[np.int64]
    """[T] the frames' numbers."""
    expression: Floats
    """[T, 6]"""
    rotations: Floats
    """[T, 3, 3] head space -> camera space."""
    displacement: Floats
    """[T, 468, 3] metres in head space, of mesh vertices against the rigid head; none along the line of sight."""
    opening: npt.NDArray[np.float64]
    """[T] inner-lip distance over inter-ocular distance."""
    pixels_per_metre: Floats
    """[T] how large a metre at the head's place looks at 512 pixels."""

    @property
    def count(self) -> int:
        """T."""
        return len(self.frames)

    def heard(self, chosen: npt.NDArray[np.int64], shift: int = 0) -> Tensor:
        """[B, 8, 16, 64] windows of speech around frames `chosen` [B] (0..T-1), or `shift` frames after them."""
        windows = speech_windows(self.speech, self.zero, self.frames[chosen], self.lag + shift)
        return torch.from_numpy(np.ascontiguousarray(windows, dtype=np.float32))

    def expressed(self, chosen: npt.NDArray[np.int64]) -> Tensor:
        """[B, 6] of frames `chosen`."""
        return torch.from_numpy(np.asarray(self.expression[chosen], np.float32))

    def moved(self, chosen: npt.NDArray[np.int64], vertices: npt.NDArray[np.int64]) -> Tensor:
        """[B, V, 3] displacement of some vertices in frames `chosen`."""
        return torch.from_numpy(np.asarray(self.displacement[chosen[:, None], vertices[None]], np.float32))

    def turned(self, chosen: npt.NDArray[np.int64]) -> Tensor:
        """[B, 3, 3] rotations of frames `chosen`."""
        return torch.from_numpy(np.asarray(self.rotations[chosen], np.float32))

    def part(self, start: int, stop: int) -> MotionTrack:
        """Frames start ... stop - 1."""
        return replace(
            self,
            frames=self.frames[start:stop],
            expression=self.expression[start:stop],
            rotations=self.rotations[start:stop],
            displacement=self.displacement[start:stop],
            opening=self.opening[start:stop],
            pixels_per_metre=self.pixels_per_metre[start:stop],
        )

    def with_wrong_audio(self) -> MotionTrack:
        """The same motion beside speech from `WRONG_AUDIO_FRAMES` later; the clip's end is followed by its start."""
        return replace(self, frames=np.roll(self.frames, -WRONG_AUDIO_FRAMES))


def displacements(
    landmarks: npt.NDArray[np.float32],
    rotations: npt.NDArray[np.float64],
    translations: npt.NDArray[np.float64],
    camera: Camera,
    vertices: npt.NDArray[np.float64],
) -> Floats:
    """How far each tracked vertex is from where the rigid head would put it.

    Args:
        landmarks: [T, >=468, 3] pixels.
        rotations: [T, 3, 3] head space -> camera space.
        translations: [T, 3] metres.
        camera: of the landmarks' pixels.
        vertices: [468, 3] canonical mesh, metres.

    Returns:
        [T, 468, 3] metres in head space.
    """
    seen = np.einsum("tij,nj->tni", rotations, vertices) + translations[:, None]
    focal, centre = np.array([camera.fx, camera.fy]), np.array([camera.cx, camera.cy])
    projected = focal * seen[..., :2] / seen[..., 2:] + centre
    offset = (landmarks[:, : len(vertices), :2] - projected) * seen[..., 2:] / focal
    offset = np.concatenate([offset, np.zeros_like(offset[..., :1])], axis=-1)
    return np.asarray(np.einsum("tji,tnj->tni", rotations, offset), np.float32)
