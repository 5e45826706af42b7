"""From a phone track to how jaw and lips move: smooth, coarticulated, in step with the sound. Knows no pictures.

Each sound pulls jaw and lips towards its own target with its own weight; a symmetric Gaussian over time (no lag) blends
the pulls. Lip closure is blended over a much shorter time, so that p, b and m really shut the mouth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from core.sample.phones import PAUSE, PHONES, TimedPhone

Float = npt.NDArray[np.float64]

RATE = 400
"""Steps a second of the tracks."""
JAW_BLEND = 0.034
"""Seconds (standard deviation) over which sounds share the jaw."""
JAW_SCALE = 1.15
"""This speaker opens her mouth a little more than the inventory's average."""
WIDE_BLEND = 0.042
PART_BLEND = 0.014


@dataclass(frozen=True)
class Articulation:
    """Tracks at RATE."""

    jaw: Float
    """[n] metres that the jaw drops."""
    part: Float
    """[n] 0 lips together .. 1 lips part with the jaw."""
    wide: Float
    """[n] -1 rounded .. 1 spread."""

    def at(self, times: Float) -> Articulation:
        """The tracks at given seconds."""
        own = (np.arange(len(self.jaw)) + 0.5) / RATE
        return Articulation(
            np.interp(times, own, self.jaw), np.interp(times, own, self.part), np.interp(times, own, self.wide)
        )


def articulate(track: list[TimedPhone]) -> Articulation:
    """Jaw and lips of a phone track."""
    count = int(np.ceil(track[-1].end * RATE))
    jaw, wide, part, weight = np.zeros(count), np.zeros(count), np.zeros(count), np.ones(count)
    for item in track:
        phone = item.phone
        here = slice(round(item.start * RATE), max(round(item.start * RATE) + 1, round(item.end * RATE)))
        effort = 1.0 if item.stressed or phone.kind != "vowel" else 0.78
        jaw[here], wide[here], part[here] = phone.jaw * effort, phone.wide, phone.part
        weight[here] = phone.weight * (1.25 if item.stressed else 1.0)
        if phone.glide_to:
            turn = slice(round((item.start + 0.5 * (item.end - item.start)) * RATE), here.stop)
            last = PHONES[phone.glide_to]
            jaw[turn], wide[turn] = last.jaw * effort, last.wide
        if item.name == PAUSE and item.end - item.start > 0.3:
            # The lips meet a moment after the last sound and part a moment before the next.
            part[here] = 0.0

    def blend(values: Float, seconds: float) -> Float:
        sigma = seconds * RATE
        total = gaussian_filter1d(weight, sigma, mode="nearest")
        return np.asarray(gaussian_filter1d(values * weight, sigma, mode="nearest") / total, np.float64)

    closed = gaussian_filter1d(part, PART_BLEND * RATE, mode="nearest")
    return Articulation(
        JAW_SCALE * blend(jaw, JAW_BLEND) / 1000, np.clip(closed, 0, 1), np.clip(blend(wide, WIDE_BLEND), -1, 1)
    )
