"""Head pose of every frame by bundle adjustment over the whole clip, then smoothing with the 3D points held fixed.

The person's own rigid points and all poses are solved together, the points eliminated by their Schur complement, with a
prior toward the canonical face and a robust weight on each observation. The focal length is given: such clips can't
tell it (feasibility file, Tracking). Knows landmarks and nothing of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from core.camera import Camera
from core.clip.canonical import RIGID_INDICES, canonical_face
from core.clip.landmarks import eye_opening
from core.clip.poses import Floats, Poses, linearise, project
from core.clip.rotations import rotation_from_vector, vector_from_rotation
from core.clip.smoothing import short_gaps, smooth_poses

__all__ = ["FOCAL_AT_512", "Track", "moved_track", "project", "short_gaps", "shut_lids", "track_head"]

FOCAL_AT_512 = 900.0
"""Pixels, for a 512-pixel crop."""
_POINT_PRIOR = 0.015 / 0.006**2
"""Per frame, px^2 / m^2: 6 mm away from the canonical face weighs like 0.12 px of error in every frame. Landmarks err
alike in all frames, so more frames make a face's relief no surer; with a tenth of this, five seconds that look one way
settle on a wrong one (docs/clip.md)."""
_RIGID_SHARE = 0.75
"""Of the candidates, `RIGID_INDICES`: outer eye corners, nose wings or the brow's root move in most people, but not the
same in each."""
_MOVING_TRUST = 0.01
"""What the others count; enough to know where they are."""
_SELECTION_STEP = 5
"""Of the adjustment: the choice needs poses near their end."""
_ADJUSTMENT_STEPS = 15
_FIT_FRAMES = 12
_CONVERGED = 1e-5
_OPEN_PERCENTILE = 70
"""Of a person's eye opening over a clip: the opening that counts as open, blinks and looks downward left aside."""


@dataclass(frozen=True)
class Track:
    """Head poses of T frames."""

    rotations: Floats
    """[T, 3, 3] head space -> camera."""
    translations: Floats
    """[T, 3] metres."""
    points: Floats
    """[n, 3] the person's own rigid points in head space, metres, in the order of `RIGID_INDICES`."""
    rigid: npt.NDArray[np.bool_]
    """[n] which of them speech and expression move least in this clip; they carry the pose."""
    errors: Floats
    """[T] RMS distance in pixels between the `rigid` points and their landmarks; NaN where there was no face."""

    @property
    def rmse(self) -> float:
        """Over all frames with a face, pixels."""
        return float(np.sqrt(np.nanmean(self.errors**2)))


def track_head(
    landmarks: npt.NDArray[np.floating],
    seen: npt.NDArray[np.bool_],
    camera: Camera,
    rigid_points: Floats | None = None,
    jumps: tuple[int, ...] = (),
    smooth: bool = True,
) -> Track:
    """Solve the pose of every frame.

    Args:
        landmarks: [T, 478, 2 or 3] pixels of `camera`; anything where `seen` is false.
        seen: [T] whether the frame has a face; at least one has. Poses of the others are interpolated.
        camera: the view, about 512 pixels wide (the robust weight is 1 pixel).
        rigid_points: [n, 3] known points of this person; None solves them too.
        jumps: frames at which the picture jumps (`Shot.jumps`, counted from the first of these landmarks): poses on
            either side have nothing to do with each other. Those outside are ignored.
        smooth: False leaves each frame's pose as its landmarks alone have it, for comparison.
    """
    whole = np.where(seen[:, None, None], np.asarray(landmarks, np.float64)[..., :2], 0)
    observed = np.ascontiguousarray(whole[:, list(RIGID_INDICES)])
    start = canonical_face().vertices[list(RIGID_INDICES)] if rigid_points is None else rigid_points
    found = np.nonzero(seen)[0]
    jumps = tuple(jump for jump in jumps if 0 < jump < len(seen))
    poses = _initial_poses(observed[found], camera, start)
    rigid = np.ones(len(start), np.bool_)
    for step in range(_ADJUSTMENT_STEPS):
        if step == _SELECTION_STEP:
            rigid = _steadiest(poses, observed[found], camera)
        poses, change = _adjust(poses, observed[found], _trust(rigid), camera, start, rigid_points is None)
        if step > _SELECTION_STEP and change < _CONVERGED:
            break
    if rigid_points is None:
        poses = _fitted_to_face(poses, whole[found], camera)
    poses = _interpolated(poses, found, len(seen), jumps)
    if smooth:
        poses = smooth_poses(poses, observed, _trust(rigid), seen, shut_lids(whole, seen), jumps, camera)
    return _judged(poses, rigid, observed, seen, camera)


def moved_track(
    track: Track,
    poses: Poses,
    landmarks: npt.NDArray[np.floating],
    seen: npt.NDArray[np.bool_],
    camera: Camera,
) -> Track:
    """The track with other poses of the same points, and their errors against `landmarks` ([T, 478, 2+] pixels)."""
    observed = np.asarray(landmarks, np.float64)[:, list(RIGID_INDICES), :2]
    return _judged(poses.with_points(track.points), track.rigid, observed, seen, camera)


def _judged(
    poses: Poses, rigid: npt.NDArray[np.bool_], observed: Floats, seen: npt.NDArray[np.bool_], camera: Camera
) -> Track:
    distance = np.linalg.norm(observed - project(poses.points, poses.rotations, poses.translations, camera), axis=-1)
    errors = np.where(seen, np.sqrt((distance[:, rigid] ** 2).mean(-1)), np.nan)
    return Track(poses.rotations, poses.translations, poses.points, rigid, errors)


def shut_lids(landmarks: npt.NDArray[np.floating], seen: npt.NDArray[np.bool_]) -> Floats:
    """[T] how far the lids are down, against this person's open eyes: 0 open, 1 shut; 0 where there is no face."""
    opening = eye_opening(landmarks)
    return np.where(seen, np.clip(1 - opening / max(np.percentile(opening[seen], _OPEN_PERCENTILE), 1e-6), 0, 1), 0.0)


def _trust(rigid: npt.NDArray[np.bool_]) -> Floats:
    return np.where(rigid, 1.0, _MOVING_TRUST)


def _steadiest(poses: Poses, observed: Floats, camera: Camera) -> npt.NDArray[np.bool_]:
    """[n] the share of the points that stays nearest to its landmarks, over all frames."""
    distance = np.linalg.norm(observed - project(poses.points, poses.rotations, poses.translations, camera), axis=-1)
    spread = (distance**2).mean(0)
    return np.asarray(spread <= np.quantile(spread, _RIGID_SHARE))


def _adjust(
    poses: Poses, observed: Floats, trust: Floats, camera: Camera, prior: Floats, free_points: bool
) -> tuple[Poses, float]:
    """One Gauss-Newton step over all poses and, through the Schur complement, all points."""
    equations = linearise(poses, observed, trust, camera)
    frames, count = equations.residual.shape[:2]
    pose_block = np.einsum("tnai,tnaj->tij", equations.by_pose, equations.by_pose)
    pose_block += np.eye(6) * (1e-6 / 6 * np.trace(pose_block, axis1=1, axis2=2))[:, None, None]
    pose_side = np.einsum("tnai,tna->ti", equations.by_pose, equations.residual)
    step = np.linalg.solve(pose_block, pose_side[..., None])[..., 0]
    points = poses.points
    if free_points:
        mixed = np.einsum("tnai,tnaj->tinj", equations.by_pose, equations.by_point).reshape(frames, 6, 3 * count)
        eliminated = np.linalg.solve(pose_block, mixed)
        weight = frames * _POINT_PRIOR
        matrix = weight * np.eye(3 * count) - np.einsum("tis,tik->sk", mixed, eliminated, optimize=True)
        for index, block in enumerate(np.einsum("tnai,tnaj->nij", equations.by_point, equations.by_point)):
            matrix[3 * index : 3 * index + 3, 3 * index : 3 * index + 3] += block
        side = np.einsum("tnai,tna->ni", equations.by_point, equations.residual).ravel()
        side += weight * (prior - points).ravel() - np.einsum("tis,ti->s", mixed, step)
        moved = np.linalg.solve(matrix, side)
        step = step - eliminated @ moved
        points = points + moved.reshape(count, 3)
    return poses.moved(step).with_points(points), float(np.abs(step).max())


def _fitted_to_face(poses: Poses, landmarks: Floats, camera: Camera) -> Poses:
    """Turn, scale and shift head space so that the whole canonical face, chin and lips too, lies on this person's.

    No picture of the rigid points changes: it is the freedom that bundle adjustment leaves, and its prior on the upper
    face settles it badly for the lower one.
    """
    frames = np.linspace(0, len(landmarks) - 1, min(_FIT_FRAMES, len(landmarks))).round().astype(int)
    vertices = canonical_face().vertices
    observed = landmarks[frames, : len(vertices), :2]
    rotations, translations = poses.rotations[frames], poses.translations[frames]

    def misfit(change: Floats) -> Floats:
        turn, shift, scale = rotation_from_vector(change[:3]), change[3:6], np.exp(change[6])
        turned = rotations @ turn.T
        moved = scale * translations - turned @ shift
        return (project(vertices, turned, moved, camera) - observed).ravel()

    change = least_squares(misfit, np.zeros(7), loss="soft_l1", f_scale=3.0, x_scale=[0.1] * 3 + [0.01] * 3 + [0.1]).x
    turn, shift, scale = rotation_from_vector(change[:3]), change[3:6], np.exp(change[6])
    turned = poses.rotations @ turn.T
    return Poses(turned, scale * poses.translations - turned @ shift, scale * poses.points @ turn.T + shift)


def _initial_poses(observed: Floats, camera: Camera, points: Floats) -> Poses:
    matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    rotations, translations = np.zeros((len(observed), 3, 3)), np.zeros((len(observed), 3))
    for index, pixels in enumerate(observed):
        _, vector, translation = cv2.solvePnP(points, pixels, matrix, None, flags=cv2.SOLVEPNP_SQPNP)
        rotations[index] = cv2.Rodrigues(vector)[0]
        translations[index] = translation[:, 0]
    return Poses(rotations, translations, points)


def _interpolated(poses: Poses, found: npt.NDArray[np.int64], frames: int, jumps: tuple[int, ...]) -> Poses:
    """Poses of all frames from those of the `found` ones: held at the ends and up to a jump, straight and at even
    speed between."""
    numbers = np.arange(frames)
    times = np.clip(numbers, found[0], found[-1])
    after = np.searchsorted(found, times)
    before = np.maximum(after - 1, 0)
    span = np.maximum(found[after] - found[before], 1)
    share = (times - found[before]) / span
    edges = np.sort(np.asarray(jumps, np.int64))
    shot, first, second = (np.searchsorted(edges, at, side="right") for at in (numbers, found[before], found[after]))
    share = np.where(first == second, share, shot == second)[:, None]
    rotations, translations = poses.rotations, poses.translations
    turn = vector_from_rotation(rotations[after] @ rotations[before].transpose(0, 2, 1))
    turned = rotation_from_vector(turn * share) @ rotations[before]
    return Poses(turned, translations[before] * (1 - share) + translations[after] * share, poses.points)
