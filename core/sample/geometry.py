"""The portrait in 3D: head pose, a depth for every pixel, and its point in head space. Knows no motion and no colours.

Inside the face the depth is that of the fitted canonical mesh; hair and ears lie on an ellipsoid behind it that reaches
its rim at the silhouette. One smooth sheet, so that small rotations give parallax without holes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.interpolate import RBFInterpolator

from core.camera import Camera

Float = npt.NDArray[np.floating]

FOCAL = 900.0
"""Focal length in pixels of a 512-pixel picture."""
RIGID = (
    6, 168, 197, 195, 5, 4, 1, 33, 133, 362, 263, 10, 151, 9, 8, 108, 337, 67, 297, 54, 284, 70, 300, 105, 334,
    127, 356, 234, 454, 143, 372, 122, 351, 196, 419,
)  # fmt: skip
"""Mesh points that a smile does not move: forehead, brows, eye corners, nose bridge, temples."""
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

# The head's ellipsoid in pixels of a 512-pixel picture: what the hair fills.
HEAD_CENTRE = (255.0, 160.0)
HEAD_RADII = (148.0, 130.0)
RIM_BEHIND_BRIDGE = 0.085
"""Metres from the nose bridge back to the plane of the silhouette."""
CROWN_DEPTH = 0.09
"""Metres from that plane forward to the ellipsoid's foremost point."""


@dataclass(frozen=True)
class Head:
    """The portrait's head at size S."""

    camera: Camera
    rotation: Float
    """[3, 3] head space -> camera space, as photographed."""
    translation: Float
    """[3] metres."""
    points: Float
    """[S, S, 3] metres: the head-space point seen at each pixel's centre (extended smoothly beyond the head)."""
    landmarks: Float
    """[478, 3] metres: the mesh in head space, exactly over its pixels of the portrait."""

    def landmarks_depth(self, index: list[int]) -> Float:
        """[n] distance of mesh points from the camera as photographed, metres."""
        return np.asarray((self.landmarks[index] @ self.rotation.T + self.translation)[:, 2], np.float64)


def project(points: Float, rotation: Float, translation: Float, camera: Camera) -> Float:
    """Head-space points [..., 3] -> pixels [..., 2], in the points' precision."""
    seen = points @ rotation.T.astype(points.dtype) + translation.astype(points.dtype)
    x = camera.fx * seen[..., 0] / seen[..., 2] + camera.cx
    y = camera.fy * seen[..., 1] / seen[..., 2] + camera.cy
    return np.stack([x, y], axis=-1)


def _unproject(pixels: Float, depth: Float, camera: Camera) -> Float:
    x = (pixels[..., 0] - camera.cx) / camera.fx * depth
    y = (pixels[..., 1] - camera.cy) / camera.fy * depth
    return np.stack([x, y, depth], axis=-1)


def _fit_pose(canonical: Float, pixels: Float, camera: Camera) -> tuple[Float, Float]:
    """Pose of the canonical mesh [468, 3] (metres, y up, z to the viewer) under the landmarks' pixels [468, 2]."""
    matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    index = list(RIGID)
    start = cv2.Rodrigues(np.diag([1.0, -1.0, -1.0]))[0]
    found, turn, shift = cv2.solvePnP(
        canonical[index], pixels[index], matrix, None, start, np.array([0.0, 0.0, 0.6]), True, cv2.SOLVEPNP_ITERATIVE
    )
    if not found:
        raise ArithmeticError("the portrait's pose could not be solved")
    return np.asarray(cv2.Rodrigues(turn)[0], np.float64), np.asarray(shift[:, 0], np.float64)


def _control_points(
    pixels: Float, depth: Float, bridge: float, head_alpha: npt.NDArray[np.float32], scale: float
) -> tuple[Float, Float]:
    """Where the depth is known: face mesh, hair ellipsoid, silhouette rim, and a flat rim beyond."""
    oval = pixels[list(FACE_OVAL)]
    crown = oval[:, 1] < pixels[[127, 356], 1].min()
    hidden = {i for i, over in zip(FACE_OVAL, crown, strict=True) if over} | {67, 109, 10, 338, 297, 21, 251}
    face = [i for i in range(468) if i not in hidden]
    centre, radii = np.array(HEAD_CENTRE) * scale, np.array(HEAD_RADII) * scale
    rim = bridge + RIM_BEHIND_BRIDGE
    grid = np.stack(np.meshgrid(*[np.arange(8.0, 512.0, 16.0) * scale] * 2), -1).reshape(-1, 2)
    inside = head_alpha[grid[:, 1].astype(int), grid[:, 0].astype(int)] > 0.5
    contour = np.round(oval).astype(np.float32)
    off_face = np.array([cv2.pointPolygonTest(contour, (float(x), float(y)), True) for x, y in grid]) < -9 * scale
    fringe = grid[:, 1] < pixels[[105, 334], 1].min() - 14 * scale
    hair = grid[inside & (off_face | fringe)]
    radius = np.clip(np.linalg.norm((hair - centre) / radii, axis=1), 0, 0.985)
    hair_depth = rim - CROWN_DEPTH * np.sqrt(1 - radius**2)
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    ring = ring[ring[:, 1] < 0.72]
    rims = np.concatenate([centre + radii * ring * 1.03, centre + radii * ring * 1.3])
    return (
        np.concatenate([pixels[face], hair, rims]),
        np.concatenate([depth[face], hair_depth, np.full(len(rims), rim)]),
    )


def _smoothed(depth: npt.NDArray[np.float32], oval: Float, scale: float) -> npt.NDArray[np.float32]:
    """The face keeps its relief; towards the oval and beyond it the sheet is smoother, or outlines would ripple."""
    inside = np.zeros(depth.shape[:2], np.float32)
    middle = oval.mean(0)
    cv2.fillPoly(inside, [np.round(middle + 0.8 * (oval - middle)).astype(np.int32)], 1.0)
    soft = cv2.GaussianBlur(inside, (0, 0), 9.0 * scale)
    fine = cv2.GaussianBlur(depth, (0, 0), 2.0 * scale, borderType=cv2.BORDER_REPLICATE)
    coarse = cv2.GaussianBlur(depth, (0, 0), 9.0 * scale, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(coarse + (fine - coarse) * soft, np.float32)


def build_head(landmarks: Float, canonical: Float, head_alpha: npt.NDArray[np.float32], size: int) -> Head:
    """Fit pose and depth.

    Args:
        landmarks: [478, 3] MediaPipe mesh in pixels of the S-sized portrait.
        canonical: [468, 3] canonical mesh in head space, metres (x right, y up, z to the viewer).
        head_alpha: [S, S] matte of the head.
        size: S.
    """
    scale = size / 512
    camera = Camera.centred(FOCAL * scale, size)
    pixels = np.asarray(landmarks[:, :2], np.float64)
    rotation, translation = _fit_pose(canonical, pixels[:468], camera)
    posed = canonical @ rotation.T + translation
    depth = np.concatenate([posed[:, 2], np.full(10, posed[[33, 133, 362, 263], 2].mean())])
    where, known = _control_points(pixels, depth, float(depth[168]), head_alpha, scale)
    unit = 1 / (512 * scale)
    interpolate = RBFInterpolator(where * unit, known, kernel="thin_plate_spline", smoothing=6e-5)
    steps = np.arange(129) / 128
    coarse = interpolate(np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)).reshape(129, 129).astype(np.float32)
    coarse = np.minimum(coarse, float(depth[168]) + RIM_BEHIND_BRIDGE + 0.02)
    centres = ((np.arange(size) + 0.5) / size * 128).astype(np.float32)
    rough = np.asarray(cv2.remap(coarse, *np.meshgrid(centres, centres), cv2.INTER_LINEAR), np.float32)
    dense = _smoothed(rough, pixels[list(FACE_OVAL)], scale).astype(np.float64)
    at = pixels.astype(np.float32) - 0.5
    looked_up = cv2.remap(dense, at[:, :1], at[:, 1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    own_depth = np.asarray(looked_up, np.float64).ravel()
    grid = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), -1)
    points = (_unproject(grid, dense, camera) - translation) @ rotation
    own = (_unproject(pixels, own_depth, camera) - translation) @ rotation
    return Head(camera, rotation, translation, points, own)
