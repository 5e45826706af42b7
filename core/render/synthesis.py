"""From speech features and a portrait to frames, one at a time. Knows no files, no encoder and no bundle.

The synthesiser is passed in, so that this file needs no torch of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Frame = npt.NDArray[np.uint8]


class FrameSynthesiser(Protocol):
    """What turns one moment into a picture; `core.avatar.Synthesiser` is one."""

    def frame(
        self,
        windows: Tensor,
        expression: Tensor,
        rotation: npt.NDArray[np.floating],
        translation: npt.NDArray[np.floating],
        backdrop: Frame,
    ) -> Frame:
        """One picture [S, S, 3] from windows [8, 16, 64], expression [6], pose [3, 3] and [3], backdrop [S, S, 3]."""
        ...


@dataclass(frozen=True)
class Motion:
    """What moves the head over T recorded frames."""

    rotations: npt.NDArray[np.float64]
    """[T, 3, 3]"""
    translations: npt.NDArray[np.float64]
    """[T, 3]"""
    expression: npt.NDArray[np.float32]
    """[T, 6]"""


@dataclass
class Stopwatch:
    """Seconds spent inside the synthesiser alone, and frames made."""

    seconds: float = 0.0
    frames: int = 0

    @property
    def fps(self) -> float | None:
        """Frames a second, or None before the first frame."""
        return self.frames / self.seconds if self.seconds > 0 else None


def synthesise(
    synthesiser: FrameSynthesiser,
    motion: Motion,
    order: npt.NDArray[np.integer],
    windows: Callable[[int], npt.NDArray[np.float32]],
    backdrop: Callable[[int], Frame],
    stopwatch: Stopwatch,
) -> Iterator[Frame]:
    """The frames of one speech.

    Args:
        synthesiser: the avatar with its camera.
        motion: the recorded poses and expression.
        order: [F] which recorded frame stands behind each frame of the output.
        windows: output frame number -> [8, 16, 64] reduced speech around it.
        backdrop: recorded frame number -> [S, S, 3] picture without the head.
        stopwatch: counts the synthesiser's own time; speech, backdrops and encoding are not in it.

    Yields:
        [S, S, 3] sRGB, F of them.
    """
    for number, recorded in enumerate(order):
        behind = backdrop(int(recorded))
        speech = torch.from_numpy(np.ascontiguousarray(windows(number), np.float32))
        expression = torch.from_numpy(np.ascontiguousarray(motion.expression[recorded], np.float32))
        start = time.perf_counter()
        picture = synthesiser.frame(
            speech, expression, motion.rotations[recorded], motion.translations[recorded], behind
        )
        stopwatch.seconds += time.perf_counter() - start
        stopwatch.frames += 1
        yield picture
