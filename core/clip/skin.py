"""The skin of a face that speech moves little, as points which carry how they look: what direct alignment compares.

Forehead, temples, nose and the upper cheeks, without brows, eyes and everything below the nose. How a point looks is
its local contrast, so that light that changes slowly over the face, or from frame to frame, is left out. Knows one
person and one picture at a time; must not know poses of other frames.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from core.camera import Camera
from core.clip.canonical import CHIN, FOREHEAD, canonical_face
from core.clip.face_texture import EYES, barycentric, inside_lines, triangle_numbers
from core.clip.poses import Floats

_TALL = 128
"""Samples between forehead and chin; a face in a 512-pixel crop is 150 to 300 pixels tall."""
_RIM = 5
"""Samples that the mesh's rim is drawn in by: there hair begins, and the background."""
_ASIDE = 7
"""Samples that eyes and brows are widened by."""
_UNDER_THE_NOSE = 2
# fmt: off
_BROWS = (
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
)
# fmt: on
_FINE_PX = 1.0
"""Gaussian blur, standard deviation: the least that bilinear sampling of a pixel's detail needs."""
_COARSE_PX = 10.0
"""What is smoother than this is light."""
_LEVEL_PX = 14.0
"""Over which the strength of the detail is evened out."""
_FAINT = 3.0
"""Grey levels of detail that are noise."""
_MARGIN_PX = 48
"""Around the points in a picture: three times the widest blur."""


@dataclass(frozen=True)
class Skin:
    """How the rigid skin of one person looks."""

    points: Floats
    """[n, 3] on the person's own mesh, head space, metres."""
    pattern: npt.NDArray[np.float32]
    """[n] local contrast, in standard deviations around each point."""
    trust: npt.NDArray[np.float32]
    """[n] 0..1 how alike the point looks in all frames."""

    def digest(self) -> str:
        """A hash of all three."""
        return hashlib.sha256(self.points.tobytes() + self.pattern.tobytes() + self.trust.tobytes()).hexdigest()


@dataclass(frozen=True)
class Contrast:
    """A picture's local contrast around the face, and its derivatives per pixel."""

    values: npt.NDArray[np.float32]
    """[h, w]"""
    across: npt.NDArray[np.float32]
    """[h, w]"""
    down: npt.NDArray[np.float32]
    """[h, w]"""
    corner: tuple[int, int]
    """Left and top of these in the picture."""

    def at(self, places: Floats) -> tuple[Floats, Floats, Floats]:
        """Value and derivatives [n] at pixels [n, 2] of the picture, bilinearly; outside, those of the border."""
        return self.values_at(places), self._sampled(self.across, places), self._sampled(self.down, places)

    def values_at(self, places: Floats) -> Floats:
        """The values alone."""
        return self._sampled(self.values, places)

    def _sampled(self, plane: npt.NDArray[np.float32], places: Floats) -> Floats:
        x, y = (places - np.add(self.corner, 0.5)).astype(np.float32).T[:, None]
        return np.asarray(cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0], np.float64)


def contrast(picture: npt.NDArray[np.uint8], places: Floats) -> Contrast:
    """Local contrast of a picture [S, S, 3] wherever points that lie at `places` [n, 2] pixels may move to.

    Luma between two blurs, over its own local standard deviation. Made for pictures of about 512 pixels.
    """
    height, width = picture.shape[:2]
    low = np.clip(np.floor(places.min(0)).astype(int) - _MARGIN_PX, 0, (width - 2, height - 2))
    high = np.clip(np.ceil(places.max(0)).astype(int) + _MARGIN_PX, low + 2, (width, height))
    grey = cv2.cvtColor(np.ascontiguousarray(picture[low[1] : high[1], low[0] : high[0]]), cv2.COLOR_RGB2GRAY)
    luma = grey.astype(np.float32)
    detail = cv2.GaussianBlur(luma, (0, 0), _FINE_PX) - cv2.GaussianBlur(luma, (0, 0), _COARSE_PX)
    level = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), _LEVEL_PX)) + np.float32(_FAINT)
    values = np.asarray(detail / level, np.float32)
    across, down = (
        np.asarray(cv2.Sobel(values, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8), np.float32) for dx in (1, 0)
    )
    return Contrast(values, across, down, (int(low[0]), int(low[1])))


def skin_points(landmarks: Floats, rotations: Floats, translations: Floats, camera: Camera) -> Floats:
    """[n, 3] the samples on this person's mesh: each vertex on the rays of its landmark, as far away as the canonical
    face puts it, and where it lies in the median frame.

    Args:
        landmarks: [T, 478, 2+] pixels of `camera`.
        rotations: [T, 3, 3] head space -> camera.
        translations: [T, 3] metres.
        camera: the view.
    """
    face = canonical_face()
    away = np.einsum("tj,nj->tn", rotations[:, 2], face.vertices) + translations[:, 2:]
    rays = np.ones((*away.shape, 3))
    rays[..., :2] = (landmarks[:, : len(face.vertices), :2] - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
    at_rest = np.einsum("tni,tij->tnj", rays * away[..., None] - translations[:, None], rotations)
    corners, weights = _layout()
    return np.asarray(np.einsum("nk,nkd->nd", weights, np.median(at_rest, 0)[corners]))


@cache
def _layout() -> tuple[npt.NDArray[np.int64], Floats]:
    """Three vertices [n, 3] around each sample and their weights [n, 3]: a square grid over the face from the front."""
    face = canonical_face()
    points = face.vertices[:, :2] * (1, -1)
    points = points * (_TALL / (points[CHIN, 1] - points[FOREHEAD, 1]))
    points = points - points.min(0) + 1
    width, height = np.ceil(points.max(0)).astype(int) + 1
    triangle = triangle_numbers(points, (height, width))
    aside = cv2.dilate(inside_lines(points, (*EYES, *_BROWS), (height, width)), np.ones((_ASIDE, _ASIDE), np.uint8))
    inner = cv2.erode((triangle >= 0).astype(np.uint8), np.ones((_RIM, _RIM), np.uint8)) > 0
    y, x = np.nonzero(inner & (aside == 0))
    above = y + 0.5 < points[_UNDER_THE_NOSE, 1] - 1
    y, x = y[above], x[above]
    corners = face.triangles[triangle[y, x]]
    return corners, barycentric(points, corners, np.stack([x, y], -1) + 0.5)
