"""What a clip is judged by, gathered from its pictures and its sound. Judges nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.clip.appearance import Appearance, frames_to_look_at, look_at_frames
from core.clip.intake import FRAME_SAMPLES, Plan
from core.clip.tracking import Track


@dataclass(frozen=True)
class Evidence:
    """All that a clip is judged by, but for its lag."""

    plan: Plan
    landmarks: npt.NDArray[np.float32]
    """[T, 478, 3] pixels of the 512-pixel crop."""
    seen: npt.NDArray[np.bool_]
    """[T]"""
    track: Track
    appearance: Appearance

    @property
    def sound(self) -> npt.NDArray[np.float32]:
        """[n] of the frames that are used, 16 kHz."""
        return self.plan.audio[self.plan.start * FRAME_SAMPLES : (self.plan.start + self.plan.count) * FRAME_SAMPLES]


def gather_evidence(
    plan: Plan,
    landmarks: npt.NDArray[np.float32],
    seen: npt.NDArray[np.bool_],
    track: Track,
    picture_of: Callable[[int], npt.NDArray[np.uint8]],
    tick: Callable[[float], None],
) -> Evidence:
    """Look at some of a clip's frames.

    Args:
        plan: of the clip.
        landmarks: [T, 478, 3] pixels of the 512-pixel crop.
        seen: [T] whether there is a face; at least one has.
        track: the head's poses.
        picture_of: gives the picture [512, 512, 3] of a frame that `frames_to_look_at` names.
        tick: told the share done, 0..1, many times a second.
    """
    looks = look_at_frames(picture_of, frames_to_look_at(seen), landmarks, tick)
    return Evidence(plan, landmarks, seen, track, looks)
