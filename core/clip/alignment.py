"""Head poses from the pictures themselves: direct alignment of the rigid skin to how it looks in the whole clip.

The landmark model tilts the face as a whole by tenths of a degree from frame to frame (docs/clip.md), and a head
rendered in such poses lies half a pixel to two beside the recorded one. So each frame's pose is moved to where the
skin lies on its own mean pattern (Gauss-Newton on all points, robustly weighted), held by what the landmarks say, and
smoothed as far as the picture is unsure of it. The mean over the clip stays that of the landmarks: pictures tell
frames apart, landmarks say where head space lies. Knows tracks and pictures, and nothing of who looks at them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.camera import Camera
from core.clip.parallel import Tick, in_order
from core.clip.poses import Floats, Poses, to_pixels
from core.clip.rotations import cross_matrix, rotation_from_vector, vector_from_rotation
from core.clip.skin import Contrast, Skin, contrast, skin_points
from core.clip.smoothing import smooth_known_poses
from core.clip.tracking import Track, moved_track

__all__ = ["align_track"]

_LEARNED_FRAMES = 64
"""Evenly over the clip, that the pattern is learned from."""
_ROUNDS = 3
"""Pattern and poses in turns."""
_STEPS = 8
_CONVERGED = 1e-5
_SPREAD = np.concatenate([np.radians([1.0, 1.0, 0.5]), [1e-3, 1e-3, 6e-3]])
"""How far off the landmarks' pose is (one standard deviation): turns about the picture's axes and its normal, radians;
the face's middle across, up and in depth, metres. Chosen on id01 and id03 (docs/clip.md)."""
_FURTHEST = 5.0
"""Of these: a frame that would go further shows something else than this face."""
_ALIKE = 16.0
"""Neighbouring samples look at the same pixels: so many count as one."""
_LEAST_NOISE = 0.05
"""Of the contrast, however well a frame fits."""
_ROBUST = 1.5
"""Median residuals from which a residual counts by its length (Huber)."""
_PATTERN_NOISE = 0.15
"""Spread over the frames at which a sample counts half."""

Picture = npt.NDArray[np.uint8]
Pose = tuple[Floats, Floats]
"""Rotation [3, 3] and translation [3] in metres."""


@dataclass(frozen=True)
class _Sighted:
    """One frame's pose as its picture has it."""

    rotation: Floats
    """[3, 3]"""
    translation: Floats
    """[3] metres."""
    information: Floats
    """[6, 6] inverse covariance of a turn (from the left) and a shift."""


def align_track(
    picture: Callable[[int], Picture],
    landmarks: npt.NDArray[np.floating],
    seen: npt.NDArray[np.bool_],
    track: Track,
    camera: Camera,
    tick: Tick,
    known: Skin | None = None,
    jumps: tuple[int, ...] = (),
) -> tuple[Track, Skin]:
    """Move every pose to where the picture has it.

    Args:
        picture: frame number -> [S, S, 3] sRGB; called from several threads.
        landmarks: [T, 478, 2+] pixels of `camera`.
        seen: [T] whether the frame has a face; the others keep their poses.
        track: what the landmarks say.
        camera: the view, about 512 pixels wide.
        tick: called now and then; may raise.
        known: the skin of this person, learned in another clip, whose head space is then this clip's too; None learns
            it.
        jumps: frames at which the picture jumps: nothing is smoothed across.

    Returns:
        the aligned track, and the skin that it was aligned to.
    """
    found = np.nonzero(seen)[0]
    skin = known or _learned(picture, np.asarray(landmarks, np.float64), found, track, camera, tick)

    def sight(frame: int, _: Tick) -> _Sighted:
        start = track.rotations[frame], track.translations[frame]
        looks = contrast(picture(frame), _project(skin.points, *start, camera))
        return _aligned(skin, looks, start, start, camera)

    rotations, translations = track.rotations.copy(), track.translations.copy()
    information = np.zeros((len(seen), 6, 6))
    for frame, sighted in zip(found, in_order(found.tolist(), sight, tick), strict=True):
        rotations[frame], translations[frame] = sighted.rotation, sighted.translation
        information[frame] = sighted.information
    sharp = Poses(rotations, translations, track.points)
    smooth = smooth_known_poses(sharp, information, seen, jumps, camera)
    return moved_track(track, smooth, landmarks, seen, camera), skin


def _learned(
    picture: Callable[[int], Picture],
    landmarks: Floats,
    found: npt.NDArray[np.int64],
    track: Track,
    camera: Camera,
    tick: Tick,
) -> Skin:
    """Pattern and poses in turns, over some of the frames that were `found`."""
    frames = found[np.linspace(0, len(found) - 1, min(_LEARNED_FRAMES, len(found))).round().astype(int)]
    start = Poses(track.rotations[frames], track.translations[frames], track.points)
    points = skin_points(landmarks[frames], start.rotations, start.translations, camera)

    def look(index: int, _: Tick) -> Contrast:
        places = _project(points, start.rotations[index], start.translations[index], camera)
        return contrast(picture(int(frames[index])), places)

    looks = list(in_order(range(len(frames)), look, tick))
    poses = start
    for _ in range(_ROUNDS):
        skin = _pattern(points, looks, poses, camera)

        def align(index: int, _: Tick, skin: Skin = skin, poses: Poses = poses) -> _Sighted:
            landmarks_pose = start.rotations[index], start.translations[index]
            pose = poses.rotations[index], poses.translations[index]
            return _aligned(skin, looks[index], landmarks_pose, pose, camera)

        sighted = list(in_order(range(len(frames)), align, tick))
        turned, shifted = np.stack([one.rotation for one in sighted]), np.stack([one.translation for one in sighted])
        poses = _centred(Poses(turned, shifted, track.points), start, points.mean(0))
    return _pattern(points, looks, poses, camera)


def _pattern(points: Floats, looks: Sequence[Contrast], poses: Poses, camera: Camera) -> Skin:
    """The median look of every point, and how far frames differ from it."""
    values = np.stack(
        [
            look.values_at(_project(points, rotation, translation, camera))
            for look, rotation, translation in zip(looks, poses.rotations, poses.translations, strict=True)
        ]
    )
    median = np.median(values, 0)
    spread = np.median(np.abs(values - median), 0)
    trust = 1 / (1 + (spread / _PATTERN_NOISE) ** 2)
    return Skin(points, median.astype(np.float32), trust.astype(np.float32))


def _aligned(skin: Skin, looks: Contrast, landmarks: Pose, start: Pose, camera: Camera) -> _Sighted:
    """Gauss-Newton from `start`, held by the pose of the `landmarks`, which stays where it leads too far away."""
    middle = skin.points.mean(0)
    held = np.diag(1 / _SPREAD**2)
    rotation, translation = start
    for _ in range(_STEPS):
        turned = skin.points @ rotation.T
        placed = turned + translation
        value, across, down = looks.at(to_pixels(placed, camera))
        residual = skin.pattern - value
        limit = _ROBUST * np.median(np.abs(residual)) + 1e-3
        weight = skin.trust * np.minimum(1, limit / np.maximum(np.abs(residual), 1e-6))
        noise = max(float(np.sqrt((weight * residual**2).sum() / max(weight.sum(), 1e-9))), _LEAST_NOISE)
        by_pose = _by_pose(across, down, turned, placed, camera)
        weighted = by_pose * (weight / (noise**2 * _ALIKE))[:, None]
        offset = _offset((rotation, translation), landmarks, middle)
        about_middle = np.eye(6)
        about_middle[3:, :3] = -cross_matrix(rotation @ middle)
        information = weighted.T @ by_pose + about_middle.T @ held @ about_middle
        step = np.linalg.solve(information, weighted.T @ residual - about_middle.T @ held @ offset)
        rotation, translation = rotation_from_vector(step[:3]) @ rotation, translation + step[3:]
        if np.abs(step).max() < _CONVERGED:
            break
    if (np.abs(_offset((rotation, translation), landmarks, middle)) > _FURTHEST * _SPREAD).any():
        return _Sighted(*landmarks, about_middle.T @ held @ about_middle)
    return _Sighted(rotation, translation, information)


def _offset(pose: Pose, landmarks: Pose, middle: Floats) -> Floats:
    """[6] turn from one pose to the other, radians, and how far the face's middle moved, metres."""
    turn = vector_from_rotation((pose[0] @ landmarks[0].T)[None])[0]
    return np.concatenate([turn, pose[0] @ middle + pose[1] - landmarks[0] @ middle - landmarks[1]])


def _centred(poses: Poses, start: Poses, middle: Floats) -> Poses:
    """The same poses with head space turned and shifted as a whole, so that their mean is that of `start`."""
    mean = vector_from_rotation(start.rotations.transpose(0, 2, 1) @ poses.rotations).mean(0)
    back = rotation_from_vector(-mean)
    rotations = poses.rotations @ back
    translations = poses.translations + poses.rotations @ (middle - back @ middle)
    moved = rotations @ middle + translations - start.rotations @ middle - start.translations
    shift = np.einsum("tij,ti->tj", rotations, moved).mean(0)
    return Poses(rotations, translations - rotations @ shift, poses.points)


def _by_pose(across: Floats, down: Floats, turned: Floats, placed: Floats, camera: Camera) -> Floats:
    """[n, 6] how each sample's value changes with a turn (from the left) and a shift."""
    depth = placed[:, 2]
    x, y = across * camera.fx / depth, down * camera.fy / depth
    by_place = np.stack([x, y, -(x * placed[:, 0] + y * placed[:, 1]) / depth], -1)
    return np.concatenate([np.cross(turned, by_place), by_place], -1)


def _project(points: Floats, rotation: Floats, translation: Floats, camera: Camera) -> Floats:
    return to_pixels(points @ rotation.T + translation, camera)
