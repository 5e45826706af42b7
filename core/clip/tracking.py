"""Head pose of every frame by bundle adjustment over the whole clip, then smoothing with the 3D points held fixed.

The person's own rigid points and all poses are solved together, the points eliminated by their Schur complement, with a
prior toward the canonical face and a robust weight on each observation. The focal length is given: such clips can't
tell it (feasibility file, Tracking). Smoothing holds the points fixed, or the whole scene would shrink. Knows
landmarks and nothing of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
from scipy.linalg import solveh_banded
from scipy.optimize import least_squares

from core.camera import Camera
from core.clip.canonical import RIGID_INDICES, canonical_face
from core.clip.rotations import cross_matrix, rotation_from_vector, vector_from_rotation

Floats = npt.NDArray[np.float64]

FOCAL_AT_512 = 900.0
"""Pixels, for a 512-pixel crop."""
_ROBUST_PX = 1.0
_POINT_PRIOR = 0.0015 / 0.006**2
"""Per frame, px^2 / m^2: 6 mm away from the canonical face weighs like 0.04 px of error in every frame."""
_SMOOTHNESS = 1.0
_SMOOTH_UNITS = np.array([0.1, 0.1, 0.1, 1.0, 1.0, 0.25])
"""Metres that a unit of rotation (radians, at 0.1 m) and of translation move a point; depth shows less."""
_ADJUSTMENT_STEPS = 15
_FIT_FRAMES = 12
_SMOOTHING_STEPS = 8
_CONVERGED = 1e-6
LONGEST_GAP = 5
"""Frames without a face over which the pose may be interpolated."""


@dataclass(frozen=True)
class Track:
    """Head poses of T frames."""

    rotations: Floats
    """[T, 3, 3] head space -> camera."""
    translations: Floats
    """[T, 3] metres."""
    points: Floats
    """[n, 3] the person's own rigid points in head space, metres, in the order of `RIGID_INDICES`."""
    errors: Floats
    """[T] RMS distance in pixels between the rigid points and their landmarks; NaN where there was no face."""

    @property
    def rmse(self) -> float:
        """Over all frames with a face, pixels."""
        return float(np.sqrt(np.nanmean(self.errors**2)))


def track_head(
    landmarks: npt.NDArray[np.floating],
    seen: npt.NDArray[np.bool_],
    camera: Camera,
    rigid_points: Floats | None = None,
) -> Track:
    """Solve the pose of every frame.

    Args:
        landmarks: [T, 478, 2 or 3] pixels of `camera`; anything where `seen` is false.
        seen: [T] whether the frame has a face; at least one has. Poses of the others are interpolated.
        camera: the view, about 512 pixels wide (the robust weight is 1 pixel).
        rigid_points: [n, 3] known points of this person; None solves them too.
    """
    observed = np.ascontiguousarray(np.asarray(landmarks, np.float64)[:, list(RIGID_INDICES), :2])
    start = canonical_face().vertices[list(RIGID_INDICES)] if rigid_points is None else rigid_points
    rotations, translations = _initial_poses(observed, seen, camera, start)
    found = np.nonzero(seen)[0]
    state = _State(rotations[found], translations[found], start.copy())
    for _ in range(_ADJUSTMENT_STEPS):
        state, change = _adjust(state, observed[found], camera, start, free_points=rigid_points is None)
        if change < _CONVERGED:
            break
    if rigid_points is None:
        state = _fitted_to_face(state, np.asarray(landmarks, np.float64)[found], camera)
    rotations, translations = _interpolated(state.rotations, state.translations, found, len(seen))
    state = _State(rotations, translations, state.points)
    for _ in range(_SMOOTHING_STEPS):
        state, change = _smooth(state, np.where(seen[:, None, None], observed, 0), seen, camera)
        if change < _CONVERGED:
            break
    distance = np.linalg.norm(observed - project(state.points, state.rotations, state.translations, camera), axis=-1)
    errors = np.where(seen, np.sqrt((distance**2).mean(-1)), np.nan)
    return Track(state.rotations, state.translations, state.points, errors)


def project(points: Floats, rotations: Floats, translations: Floats, camera: Camera) -> Floats:
    """Head-space points [n, 3] seen in T poses -> [T, n, 2] pixels."""
    seen = np.einsum("tij,nj->tni", rotations, points) + translations[:, None]
    centre, focal = np.array([camera.cx, camera.cy]), np.array([camera.fx, camera.fy])
    return np.asarray(seen[..., :2] / seen[..., 2:] * focal + centre)


def short_gaps(seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """[T] frames without a face that lie in a gap of at most `LONGEST_GAP` frames between frames with one."""
    result = np.zeros(len(seen), np.bool_)
    found = np.nonzero(seen)[0]
    for before, after in pairwise(found):
        if 1 < after - before <= LONGEST_GAP + 1:
            result[before + 1 : after] = True
    return result


@dataclass(frozen=True)
class _State:
    rotations: Floats
    translations: Floats
    points: Floats


@dataclass(frozen=True)
class _Equations:
    """Weighted residuals of every point in every frame, and their derivatives."""

    residual: Floats
    """[T, n, 2] observed minus projected."""
    by_pose: Floats
    """[T, n, 2, 6] rotation (left), then translation."""
    by_point: Floats
    """[T, n, 2, 3]"""


def _linearise(state: _State, observed: Floats, camera: Camera) -> _Equations:
    turned = np.einsum("tij,nj->tni", state.rotations, state.points)
    seen = turned + state.translations[:, None]
    depth = seen[..., 2]
    residual = observed - (seen[..., :2] / depth[..., None] * camera.fx + [camera.cx, camera.cy])
    distance = np.linalg.norm(residual, axis=-1)
    weight = np.sqrt(np.minimum(1, _ROBUST_PX / np.maximum(distance, 1e-9)))[..., None]
    by_seen = np.zeros((*depth.shape, 2, 3))
    by_seen[..., 0, 0] = by_seen[..., 1, 1] = camera.fx / depth
    by_seen[..., :, 2] = -camera.fx * seen[..., :2] / depth[..., None] ** 2
    by_seen *= weight[..., None]
    by_pose = np.concatenate([-by_seen @ cross_matrix(turned), by_seen], -1)
    return _Equations(residual * weight, by_pose, by_seen @ state.rotations[:, None])


def _adjust(state: _State, observed: Floats, camera: Camera, prior: Floats, free_points: bool) -> tuple[_State, float]:
    """One Gauss-Newton step over all poses and, through the Schur complement, all points."""
    equations = _linearise(state, observed, camera)
    frames, count = equations.residual.shape[:2]
    pose_block = np.einsum("tnai,tnaj->tij", equations.by_pose, equations.by_pose)
    pose_block += np.eye(6) * (1e-6 / 6 * np.trace(pose_block, axis1=1, axis2=2))[:, None, None]
    pose_side = np.einsum("tnai,tna->ti", equations.by_pose, equations.residual)
    step = np.linalg.solve(pose_block, pose_side[..., None])[..., 0]
    points = state.points
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
    return _moved(state, step, points), float(np.abs(step).max())


def _fitted_to_face(state: _State, landmarks: Floats, camera: Camera) -> _State:
    """Turn, scale and shift head space so that the whole canonical face, chin and lips too, lies on this person's.

    No picture of the rigid points changes: it is the freedom that bundle adjustment leaves, and its prior on the upper
    face settles it badly for the lower one.
    """
    frames = np.linspace(0, len(landmarks) - 1, min(_FIT_FRAMES, len(landmarks))).round().astype(int)
    vertices = canonical_face().vertices
    observed = landmarks[frames, : len(vertices), :2]
    rotations, translations = state.rotations[frames], state.translations[frames]

    def misfit(change: Floats) -> Floats:
        turn, shift, scale = rotation_from_vector(change[:3]), change[3:6], np.exp(change[6])
        turned = rotations @ turn.T
        moved = scale * translations - turned @ shift
        return (project(vertices, turned, moved, camera) - observed).ravel()

    change = least_squares(misfit, np.zeros(7), loss="soft_l1", f_scale=3.0, x_scale=[0.1] * 3 + [0.01] * 3 + [0.1]).x
    turn, shift, scale = rotation_from_vector(change[:3]), change[3:6], np.exp(change[6])
    turned = state.rotations @ turn.T
    return _State(turned, scale * state.translations - turned @ shift, scale * state.points @ turn.T + shift)


def _smooth(state: _State, observed: Floats, seen: npt.NDArray[np.bool_], camera: Camera) -> tuple[_State, float]:
    """One Gauss-Newton step over all poses at once, with a robust penalty on their second differences."""
    frames = len(observed)
    equations = _linearise(state, observed, camera)
    block = np.einsum("tnai,tnaj->tij", equations.by_pose, equations.by_pose) * seen[:, None, None]
    side = np.einsum("tnai,tna->ti", equations.by_pose, equations.residual) * seen[:, None]
    units = _SMOOTH_UNITS * camera.fx / state.translations[:, 2].mean()
    block += np.diag(units**2) * np.where(seen, 1e-9, 1e-3)[:, None, None]
    bands = np.zeros((18, frames, 6))
    for row in range(6):
        for column in range(row + 1):
            bands[row - column, :, column] = block[:, row, column]
    if frames > 2:
        turns = vector_from_rotation(state.rotations[1:] @ state.rotations[:-1].transpose(0, 2, 1))
        shifts = np.diff(state.translations, axis=0)
        second = np.diff(np.concatenate([turns, shifts], 1), axis=0) * units
        weight = _SMOOTHNESS / np.sqrt(1 + (second**2).sum(1))
        for offset, (a, b) in enumerate((((1, -2, 1), (1, -2, 1)), ((1, -2), (-2, 1)), ((1,), (1,)))):
            for place, (one, other) in enumerate(zip(a, b, strict=True)):
                bands[6 * offset, place : place + frames - 2] += one * other * weight[:, None] * units**2
        pull = second * weight[:, None] * units
        for place, factor in enumerate((1, -2, 1)):
            side[place : place + frames - 2] -= factor * pull
    step = solveh_banded(bands.reshape(18, 6 * frames), side.ravel(), lower=True).reshape(frames, 6)
    return _moved(state, step, state.points), float(np.abs(step).max())


def _moved(state: _State, step: Floats, points: Floats) -> _State:
    return _State(rotation_from_vector(step[:, :3]) @ state.rotations, state.translations + step[:, 3:], points)


def _initial_poses(
    observed: Floats, seen: npt.NDArray[np.bool_], camera: Camera, points: Floats
) -> tuple[Floats, Floats]:
    matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    rotations, translations = np.tile(np.eye(3), (len(observed), 1, 1)), np.zeros((len(observed), 3))
    for index in np.nonzero(seen)[0]:
        _, vector, translation = cv2.solvePnP(points, observed[index], matrix, None, flags=cv2.SOLVEPNP_SQPNP)
        rotations[index] = cv2.Rodrigues(vector)[0]
        translations[index] = translation[:, 0]
    return rotations, translations


def _interpolated(
    rotations: Floats, translations: Floats, found: npt.NDArray[np.int64], frames: int
) -> tuple[Floats, Floats]:
    """Poses of all frames from those of the `found` ones: held at the ends, straight and at even speed between."""
    times = np.clip(np.arange(frames), found[0], found[-1])
    after = np.searchsorted(found, times)
    before = np.maximum(after - 1, 0)
    span = np.maximum(found[after] - found[before], 1)
    share = ((times - found[before]) / span)[:, None]
    turn = vector_from_rotation(rotations[after] @ rotations[before].transpose(0, 2, 1))
    turned = rotation_from_vector(turn * share) @ rotations[before]
    return turned, translations[before] * (1 - share) + translations[after] * share
