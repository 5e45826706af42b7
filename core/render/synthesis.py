"""From speech features and a portrait to frames, in order. Knows no files, no encoder and no bundle."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.splat.library import run_alone, threads

Frame = npt.NDArray[np.uint8]


class FrameSynthesiser(Protocol):
    """What turns one moment into a picture, on any thread; `core.avatar.Synthesiser` is one."""

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
    """Time inside the synthesiser alone, and frames made."""

    busy_seconds: float = 0.0
    """Summed over all threads."""
    frames: int = 0
    threads: int = 1

    @property
    def seconds(self) -> float:
        """What the frames take with all threads at work."""
        return self.busy_seconds / self.threads

    @property
    def fps(self) -> float | None:
        """Frames a second with all threads at work, or None before the first frame."""
        return self.frames / self.seconds if self.busy_seconds > 0 else None


def synthesise(
    synthesiser: FrameSynthesiser,
    motion: Motion,
    order: npt.NDArray[np.integer],
    windows: Callable[[int], npt.NDArray[np.float32]],
    backdrop: Callable[[int], Frame],
    stopwatch: Stopwatch,
) -> Iterator[Frame]:
    """The frames of one speech, as many at a time as the kernels have threads: a frame on each thread.

    Args:
        synthesiser: the avatar with its camera.
        motion: the recorded poses and expression.
        order: [F] which recorded frame stands behind each frame of the output.
        windows: output frame number -> [8, 16, 64] reduced speech around it.
        backdrop: recorded frame number -> [S, S, 3] picture without the head.
        stopwatch: counts the synthesiser's own time; speech, backdrops and encoding are not in it.

    Yields:
        [S, S, 3] sRGB, F of them, in order; the same whatever the number of threads.
    """
    stopwatch.threads = threads()

    def draw(speech: Tensor, recorded: int, behind: Frame) -> tuple[Frame, float]:
        start = time.perf_counter()
        expression = torch.from_numpy(np.ascontiguousarray(motion.expression[recorded], np.float32))
        rotation, translation = motion.rotations[recorded], motion.translations[recorded]
        picture = synthesiser.frame(speech, expression, rotation, translation, behind)
        return picture, time.perf_counter() - start

    pending: deque[Future[tuple[Frame, float]]] = deque()
    with ThreadPoolExecutor(stopwatch.threads, "synthesis", initializer=run_alone) as pool:
        try:
            for number, recorded in enumerate(order):
                speech = torch.from_numpy(np.ascontiguousarray(windows(number), np.float32))
                pending.append(pool.submit(draw, speech, int(recorded), backdrop(int(recorded))))
                if len(pending) > stopwatch.threads:
                    yield _next(pending, stopwatch)
            while pending:
                yield _next(pending, stopwatch)
        finally:
            for future in pending:
                future.cancel()


def _next(pending: deque[Future[tuple[Frame, float]]], stopwatch: Stopwatch) -> Frame:
    picture, seconds = pending.popleft().result()
    stopwatch.busy_seconds += seconds
    stopwatch.frames += 1
    return picture
