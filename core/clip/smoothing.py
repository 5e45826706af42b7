"""Smooths head poses over time with the person's points held fixed; they would shrink otherwise.

What is penalised is the third difference of four points spread over the head: that leaves slow motion alone (below
2 Hz its power stays within 2 %, docs/clip.md) and holds those points steady where a wrong turn shows most. What the
landmarks are believed to say is where the face lies in the picture, its size and its roll; the landmark model also
tilts the whole face by a fraction of a degree from frame to frame, and by degrees while the eyes are shut. All points
share that error, so many points don't average it out: it is written into the equations as a tilt of its own in each
frame, and eliminated. Knows poses and numbers; must not know pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.linalg import solveh_banded

from core.camera import Camera
from core.clip.canonical import head_anchors
from core.clip.poses import Floats, Poses, linearise
from core.clip.rotations import cross_matrix, vector_from_rotation

LONGEST_GAP = 5
"""Frames without a face over which the pose may be interpolated."""
_SMOOTHNESS = 0.045
"""Weight of a pixel of third difference of an anchor, against a pixel of a landmark. This and the next three were
chosen on `id01`, `id03` and the generated sample (docs/clip.md)."""
_KNOWN_SMOOTHNESS = 1.0
"""The same, per square pixel, against poses whose uncertainty is known."""
_TILT_DEGREES = 0.5
"""How far the landmark model tilts the face in a frame (one standard deviation, about each of the picture's axes)."""
_BLINK_DEGREES = 3.0
"""How much more with the eyes shut."""
_SHUT_FROM = 0.3
"""Lids that have come down by less are no blink."""
_DEPTH_SHARE = 0.25
"""A pixel's worth of motion in depth shows this much."""
_DIFFERENCE = np.array([-1.0, 3.0, -3.0, 1.0])
_STEPS = 8
_CONVERGED = 1e-5


def smooth_poses(
    poses: Poses,
    observed: Floats,
    trust: Floats,
    seen: npt.NDArray[np.bool_],
    shut: Floats,
    jumps: tuple[int, ...],
    camera: Camera,
) -> Poses:
    """Poses as near to the landmarks and as smooth as they can be at once.

    Args:
        poses: of T frames; in long gaps, and at ends without a face, they stay as they are.
        observed: [T, n, 2] pixels of the points; finite everywhere, ignored where `seen` is false.
        trust: [n] how much each point counts.
        seen: [T]
        shut: [T] how far the lids are down, 0..1 (`shut_lids`).
        jumps: frames at which the picture jumps: nothing is smoothed across.
        camera: about 512 pixels wide.
    """
    spread = np.radians(_TILT_DEGREES + _BLINK_DEGREES * np.clip((shut - _SHUT_FROM) / (1 - _SHUT_FROM), 0, 1))

    def pull(poses: Poses) -> tuple[Floats, Floats]:
        equations = linearise(poses, observed, trust, camera)
        block = np.einsum("tnai,tnaj->tij", equations.by_pose, equations.by_pose) * seen[:, None, None]
        side = np.einsum("tnai,tna->ti", equations.by_pose, equations.residual) * seen[:, None]
        return _freed_of_tilt(block, side, poses, spread)

    return _smoothed(poses, pull, _SMOOTHNESS, _windows(seen, jumps), camera)


def smooth_known_poses(
    poses: Poses, information: Floats, seen: npt.NDArray[np.bool_], jumps: tuple[int, ...], camera: Camera
) -> Poses:
    """Poses as smooth as what is known of each allows.

    Args:
        poses: of T frames; in long gaps, and at ends without a face, they stay as they are.
        information: [T, 6, 6] inverse covariance of each pose: a turn from the left in radians, a shift in metres.
        seen: [T]
        jumps: frames at which the picture jumps: nothing is smoothed across.
        camera: about 512 pixels wide.
    """

    def pull(moved: Poses) -> tuple[Floats, Floats]:
        turn = vector_from_rotation(moved.rotations @ poses.rotations.transpose(0, 2, 1))
        offset = np.concatenate([turn, moved.translations - poses.translations], 1)
        block = information * seen[:, None, None]
        return block, -np.einsum("tij,tj->ti", block, offset)

    return _smoothed(poses, pull, _KNOWN_SMOOTHNESS, _windows(seen, jumps), camera)


def _smoothed(
    poses: Poses, pull: Callable[[Poses], tuple[Floats, Floats]], smoothness: float, windows: Floats, camera: Camera
) -> Poses:
    """Gauss-Newton over all poses at once: what each frame is pulled to, and third differences of the anchors.

    Args:
        poses: of T frames.
        pull: normal equations of each frame by itself: [T, 6, 6] and [T, 6].
        smoothness: weight of a square pixel of third difference.
        windows: [T - 3] which of the differences count.
        camera: about 512 pixels wide.
    """
    count = len(_DIFFERENCE)
    frames = len(poses.rotations)
    if frames < count:
        return poses
    for _ in range(_STEPS):
        block, side = pull(poses)
        block = block + 1e-6 / 6 * np.trace(block, axis1=1, axis2=2).mean() * np.eye(6)
        place, by_pose = _anchors(poses, camera)
        bands = np.zeros((6 * count, frames, 6))
        _add(bands, 0, 0, block)
        length = frames - count + 1
        third = sum(factor * place[k : k + length] for k, factor in enumerate(_DIFFERENCE)) * windows[:, None]
        parts = [
            factor * np.sqrt(smoothness) * by_pose[k : k + length] * windows[:, None, None]
            for k, factor in enumerate(_DIFFERENCE)
        ]
        for k, part in enumerate(parts):
            side[k : k + length] -= np.sqrt(smoothness) * np.einsum("tai,ta->ti", part, third)
            for later in range(k, count):
                _add(bands, k, later - k, np.einsum("tai,taj->tij", parts[later], part))
        step = solveh_banded(bands.reshape(6 * count, 6 * frames), side.ravel(), lower=True).reshape(frames, 6)
        poses = poses.moved(step)
        if np.abs(step).max() < _CONVERGED:
            break
    return poses


def short_gaps(seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """[T] frames without a face that lie in a gap of at most `LONGEST_GAP` frames between frames with one."""
    result = np.zeros(len(seen), np.bool_)
    found = np.nonzero(seen)[0]
    for before, after in pairwise(found):
        if 1 < after - before <= LONGEST_GAP + 1:
            result[before + 1 : after] = True
    return result


def _windows(seen: npt.NDArray[np.bool_], jumps: tuple[int, ...]) -> Floats:
    """[T - 3] 1 for each run of four frames without a jump and without a part of a long gap, else 0."""
    shot = np.zeros(len(seen), int)
    for jump in jumps:
        shot[jump:] += 1
    shot[~(seen | short_gaps(seen))] = -1
    if len(seen) < len(_DIFFERENCE):
        return np.zeros(0)
    runs = np.lib.stride_tricks.sliding_window_view(shot, len(_DIFFERENCE))
    return np.asarray(((runs == runs[:, :1]) & (runs >= 0)).all(1), np.float64)


def _freed_of_tilt(block: Floats, side: Floats, poses: Poses, spread: Floats) -> tuple[Floats, Floats]:
    """Normal equations [T, 6, 6] and [T, 6] after eliminating one tilt for each frame, of standard deviation `spread`.

    The tilt turns the face about the picture's two axes through the middle of its points.
    """
    middle = np.einsum("tij,j->ti", poses.rotations, poses.points.mean(0))
    tilt = np.concatenate([np.broadcast_to(np.eye(3), (len(middle), 3, 3)), cross_matrix(middle)], 1)[..., :2]
    mixed = block @ tilt
    own = tilt.transpose(0, 2, 1) @ mixed + np.eye(2) / spread[:, None, None] ** 2
    gain = np.linalg.solve(own, mixed.transpose(0, 2, 1)).transpose(0, 2, 1)
    known = np.einsum("tik,ti->tk", tilt, side)
    return block - gain @ mixed.transpose(0, 2, 1), side - np.einsum("tik,tk->ti", gain, known)


def _anchors(poses: Poses, camera: Camera) -> tuple[Floats, Floats]:
    """Place of the anchors in about pixels [T, 12] and its derivatives by the pose [T, 12, 6]."""
    units = camera.fx / poses.translations[:, 2].mean() * np.array([1.0, 1.0, _DEPTH_SHARE])
    turned = np.einsum("tij,nj->tni", poses.rotations, head_anchors())
    place = (turned + poses.translations[:, None]) * units
    shift = np.broadcast_to(np.eye(3), (*turned.shape, 3))
    by_pose = np.concatenate([-cross_matrix(turned), shift], -1) * units[:, None]
    frames = len(place)
    return place.reshape(frames, -1), by_pose.reshape(frames, -1, 6)


def _add(bands: Floats, first: int, later: int, blocks: Floats) -> None:
    """Add blocks [m, 6, 6] to a matrix of 6 x 6 blocks in lower band form: block i stands in the columns of frame
    `first` + i and in the rows of the frame `later` after it."""
    for row in range(6):
        for column in range(6 if later else row + 1):
            bands[6 * later + row - column, first : first + len(blocks), column] += blocks[:, row, column]
