"""Where one continuous shot ends and the next begins, from small pictures of the 25 fps time line. Knows no faces.

A cut is a step between two frames that is far above all steps around it. Steps of two strengths are told apart: a cut
ends a shot; a *jump* (a cut between two nearly like pictures, as editors make where a speaker paused) is kept inside
it and named, so that whoever smooths over time does not smooth across it. Dissolves and fades are not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from core.errors import InputRefusedError
from core.media.probe import FPS

MIN_SHOT_FRAMES = 3 * FPS
_THUMB_SIDE = 48
_REACH = 12
"""Steps on either side that a step is compared with: half a second."""
_OUTSTANDING = 4.0
"""A step this many times the third largest around it is no motion. One-shot clips reach 3.1, jump cuts 6 and more."""
_NOISE = 0.3
"""Grey levels added to the surroundings, so that one noisy frame in a still picture stays unremarkable."""
_LEAST_CHANGE = 4.0
"""Grey levels by which two moments of a clip differ at least, as far as the strength of a step is concerned."""
_CUT_STRENGTH = 1.35
"""A step this large, against two distant moments of the calmer shot beside it, leaves that shot's range: a cut. A
smaller one stays inside the range: a jump. Seen: cuts 1.8 and 2.0, jumps 0.96 and 1.02."""
_NEW_COLOURS = 0.3
"""A step that changes this share of the colour histogram is a cut, whatever surrounds it. One-shot clips reach 0.04."""


_BLUR = 0.5 * np.eye(6) + 0.25 * (np.eye(6, k=1) + np.eye(6, k=-1)) + 0.25 * np.diag([1, 0, 0, 0, 0, 1])


@dataclass(frozen=True)
class Shot:
    """Frames `start` <= f < `stop` of the 25 fps time line, filmed without a cut."""

    start: int
    stop: int
    jumps: tuple[int, ...] = ()
    """Frames inside at which the picture jumps a little: a jump cut between two nearly like pictures."""

    @property
    def count(self) -> int:
        """Number of frames."""
        return self.stop - self.start


def find_shots(frames: Iterable[npt.NDArray[np.uint8]]) -> list[Shot]:
    """Split a video into shots.

    Args:
        frames: uint8 [H, W, 3] each, in order, all of one size; 128 a side are enough. 8 KB are kept of each.

    Returns:
        shots in order; together they cover all frames. Empty for no frames.
    """
    thumbs, histograms = [], []
    for frame in frames:
        thumb = _thumb(frame)
        thumbs.append(thumb)
        histograms.append(_histogram(thumb))
    if not thumbs:
        return []
    pictures = np.stack(thumbs)
    steps = np.array([_difference(pictures[k - 1], pictures[k]) for k in range(1, len(pictures))])
    colours = np.array([0.5 * np.abs(a - b).sum() for a, b in pairwise(histograms)])
    found = [
        k + 1
        for k in range(len(steps))
        if (_outstanding(steps, k) or colours[k] > _NEW_COLOURS) and not _is_flash(pictures, k + 1, float(steps[k]))
    ]
    edges = [0, *found, len(pictures)]
    typical = [_typical_difference(pictures[a:b]) for a, b in pairwise(edges)]
    cuts: list[int] = []
    jumps: list[int] = []
    for place, where in enumerate(found):
        calmer = max(_LEAST_CHANGE, min(typical[place], typical[place + 1]))
        strong = steps[where - 1] > _CUT_STRENGTH * calmer or colours[where - 1] > _NEW_COLOURS
        (cuts if strong else jumps).append(where)
    edges = [0, *cuts, len(pictures)]
    return [Shot(start, stop, tuple(jump for jump in jumps if start < jump < stop)) for start, stop in pairwise(edges)]


def longest_shot(shots: Sequence[Shot]) -> Shot:
    """The longest shot, the first of equals.

    Raises:
        InputRefusedError: `clip_too_short`, where it is shorter than 3 s.
    """
    best = max(shots, key=lambda shot: shot.count, default=Shot(0, 0))
    if best.count < MIN_SHOT_FRAMES:
        raise InputRefusedError(
            "clip_too_short",
            f"The longest continuous shot lasts {best.count / FPS:.1f} s; 3 s is the least, 5 s or more are better.",
            "Record at least 5 seconds in one go, without cuts.",
        )
    return best


def _thumb(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    factor = _THUMB_SIDE / max(frame.shape[:2])
    size = (max(1, round(frame.shape[1] * factor)), max(1, round(frame.shape[0] * factor)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def _histogram(thumb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Shares of a 6x6x6 RGB histogram, [216], with bins blurred into their neighbours so that none flips on noise."""
    counts = cv2.calcHist([thumb], [0, 1, 2], None, [6, 6, 6], [0, 256, 0, 256, 0, 256])
    for _ in range(3):  # each turn blurs the first axis and puts it last
        counts = np.tensordot(counts, _BLUR, axes=(0, 0))
    return np.asarray(counts.ravel() / counts.sum(), np.float32)


def _difference(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    """Mean absolute difference in levels of 0..255."""
    return float(cv2.norm(a, b, cv2.NORM_L1)) / a.size


def _outstanding(steps: npt.NDArray[np.float64], k: int) -> bool:
    around = np.concatenate([steps[max(0, k - _REACH) : k], steps[k + 1 : k + 1 + _REACH]])
    third = float(np.sort(around)[-3]) if len(around) >= 3 else 0.0
    return bool(steps[k] > _OUTSTANDING * (third + _NOISE) and steps[k] > 0.5 * _LEAST_CHANGE)


def _is_flash(pictures: npt.NDArray[np.uint8], frame: int, step: float) -> bool:
    """Whether the picture soon returns to what it was before `frame`, or was already like it shortly before."""
    last = len(pictures) - 1
    around = ((frame - 1, min(last, frame + 2)), (max(0, frame - 3), frame))
    return any(_difference(pictures[a], pictures[b]) < 0.4 * step for a, b in around if b - a > 1)


def _typical_difference(pictures: npt.NDArray[np.uint8]) -> float:
    """Median difference of moments of one shot that are at least half a second apart; 0 where it is shorter."""
    generator = np.random.default_rng(0)
    pairs = generator.integers(0, len(pictures), (300, 2))
    far = [_difference(pictures[a], pictures[b]) for a, b in pairs if abs(int(a) - int(b)) > _REACH]
    return float(np.median(far)) if far else 0.0
