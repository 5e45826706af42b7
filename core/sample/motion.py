"""How the head, brows and lids move while someone talks. Knows phone tracks and rotations, no pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from core.sample.phones import PAUSE, TimedPhone

Float = npt.NDArray[np.float64]

YAW, PITCH, ROLL = 8.0, 3.0, 2.6
"""Degrees that the slow drift reaches."""
LIMITS = (10.0, 5.0, 4.0)
"""Degrees that yaw, pitch and roll never pass."""
NECK_BASE = (0.0, 0.105, 0.07)
"""From the head's centre to the point that the head turns about, camera space, metres."""


@dataclass(frozen=True)
class Motion:
    """T frames of movement besides the mouth."""

    turns: Float
    """[T, 3, 3] rotation relative to the portrait, camera space."""
    shifts: Float
    """[T, 3] metres, added after turning about the neck's base."""
    sways: Float
    """[T, 2] shoulders, pixels of a 512-pixel picture."""
    blink: Float
    """[T] 0..1."""
    brow: Float
    """[T] 0..1."""
    gaze: Float
    """[T, 2] shift of the irises right and down, pixels of a 512-pixel picture."""


def _wander(count: int, fps: int, seconds: float, rng: np.random.Generator) -> Float:
    """[count] smooth noise within -1..1 that takes about `seconds` to turn round."""
    sigma = seconds * fps / 2.5
    margin = int(4 * sigma) + 1
    walk = gaussian_filter1d(rng.standard_normal(count + 2 * margin), sigma)[margin : margin + count]
    walk = walk / (0.53 / np.sqrt(sigma))  # the filtered noise's own deviation: amplitude does not depend on length
    return np.asarray(np.tanh(0.75 * walk), np.float64)


def _bumps(times: Float, centres: list[float], sizes: list[float], width: float) -> Float:
    total = np.zeros_like(times)
    for centre, size in zip(centres, sizes, strict=True):
        total += size * np.exp(-0.5 * ((times - centre) / width) ** 2)
    return total


def blink_curve(times: Float, starts: list[float]) -> Float:
    """[T] lids: shut in 80 ms, stay 50 ms, open in 170 ms."""
    shut = np.zeros_like(times)
    for start in starts:
        since = times - start
        down = np.clip(since / 0.08, 0, 1)
        up = 1 - np.clip((since - 0.13) / 0.17, 0, 1)
        curve = np.minimum(down, up)
        shut = np.maximum(shut, curve * curve * (3 - 2 * curve))
    return shut


def _blink_starts(track: list[TimedPhone], rng: np.random.Generator) -> list[float]:
    """Blinks every 2 to 4.5 s, drawn to the pauses as people's are."""
    end = track[-1].end
    pauses = [item.start + 0.05 for item in track if item.name == PAUSE and item.start > 0]
    starts: list[float] = []
    now = float(rng.uniform(0.7, 1.3))
    while now < end - 0.4:
        near = [pause for pause in pauses if abs(pause - now) < 0.6]
        starts.append(near[0] if near and near[0] < end - 0.4 else now)
        now = starts[-1] + float(rng.uniform(2.0, 4.5))
    return starts


def _gaze(times: Float, yaw: Float, pitch: Float, rng: np.random.Generator) -> Float:
    """[T, 2] the eyes hold the camera while the head turns, with small jumps every second or so."""
    jumps = np.zeros((len(times), 2))
    now = 0.0
    while now < times[-1]:
        jumps[times >= now] = rng.normal(0, [0.6, 0.3]) if rng.random() < 0.6 else 0.0
        now += float(rng.uniform(0.5, 1.6))
    hold = np.stack([-0.2 * yaw, 0.2 * pitch], 1)
    return np.clip(hold + jumps, -2.5, 2.5)


def move(track: list[TimedPhone], count: int, fps: int, seed: int) -> Motion:
    """Movement for `count` frames under a phone track: slow drift, small nods and brow raises on stressed sounds."""
    rng = np.random.default_rng([seed, 1])
    times = (np.arange(count) + 0.5) / fps
    stressed = [(item.start + item.end) / 2 for item in track if item.stressed]
    nods = [float(rng.uniform(0.6, 2.4)) if rng.random() < 0.55 else 0.0 for _ in stressed]
    raises = [float(rng.uniform(0.35, 0.9)) if rng.random() < 0.28 else 0.0 for _ in stressed]
    yaw = YAW * _wander(count, fps, 2.6, rng) + 0.8 * _wander(count, fps, 0.7, rng)
    pitch = PITCH * _wander(count, fps, 2.2, rng) + _bumps(times, [s + 0.05 for s in stressed], nods, 0.11)
    roll = ROLL * _wander(count, fps, 3.0, rng) - 0.08 * yaw
    angles = [np.clip(a, -limit, limit) for a, limit in zip((yaw, pitch, roll), LIMITS, strict=True)]
    # Camera space has y down: a nod (chin down) is a negative turn about x.
    turns = Rotation.from_euler("yxz", np.stack([angles[0], -angles[1], angles[2]], 1), degrees=True).as_matrix()
    shifts = np.stack([0.004 * _wander(count, fps, 3.4, rng), 0.002 * _wander(count, fps, 2.7, rng),
                       0.006 * _wander(count, fps, 4.0, rng)], 1)  # fmt: skip
    breath = np.sin(2 * np.pi * times / 3.7 + float(rng.uniform(0, 6)))
    sways = np.stack([1.6 * _wander(count, fps, 4.0, rng), 0.9 * breath], 1)
    brow = np.clip(_bumps(times, stressed, raises, 0.14), 0, 1)
    blink = blink_curve(times, _blink_starts(track, rng))
    return Motion(turns, shifts, sways, blink, brow, _gaze(times, angles[0], angles[1], rng))
