"""One frame, drawn five times: landmarks, masks, pose, depth and normals. Draws what it is given; finds nothing."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from core.camera import Camera
from core.clip.canonical import FACE_OVAL, head_anchors
from core.clip.drawing import FAINT, INK, Colour, Picture, dots, line, tinted, write
from core.clip.face_texture import EYES
from core.clip.landmarks import LIPS_INNER, LIPS_OUTER
from core.clip.layout import Label
from core.clip.priors import mesh_geometry
from core.clip.tracking import project

Floats = npt.NDArray[np.float64]

MASK_COLOURS: dict[Label, Colour] = {
    Label.BACKGROUND: (70, 78, 92),
    Label.HAIR: (150, 90, 220),
    Label.SKIN: (250, 180, 90),
    Label.LIPS: (235, 60, 90),
    Label.MOUTH: (255, 255, 120),
    Label.TORSO: (60, 150, 230),
}
"""What each class is drawn in."""
AXIS_COLOURS: tuple[Colour, ...] = ((235, 70, 70), (80, 200, 90), (80, 130, 255))
"""x to the picture's right, y up, z out of the face."""
_MASK_STRENGTH = 0.6
_AXIS_M = 0.09
_FACE_DEPTH_M = 0.1
"""Depth that the whole colour scale spans, from the nearest point of the face."""


def landmark_view(picture: Picture, landmarks: npt.NDArray[np.floating]) -> Picture:
    """The mesh's points on a picture [S, S, 3], with the face's outline, eyes and lips as lines."""
    drawn = picture.copy()
    points = np.asarray(landmarks[:, :2], np.float64)
    dots(drawn, points[:468], (120, 235, 170), 0.7)
    for indices, colour in ((FACE_OVAL, FAINT), *((eye, (90, 200, 255)) for eye in EYES)):
        line(drawn, points[list(indices)], colour, closed=True)
    line(drawn, points[list(LIPS_OUTER)], (255, 80, 110), closed=True, weight=2)
    line(drawn, points[list(LIPS_INNER)], (255, 240, 90), closed=True)
    return drawn


def mask_view(picture: Picture, labels: npt.NDArray[np.uint8]) -> Picture:
    """Labels [S, S] as colours over a grey picture of [S, S, 3]: a blue wall must not look like a torso."""
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    drawn: Picture = np.repeat(grey[..., None], 3, axis=2)
    for label, colour in MASK_COLOURS.items():
        drawn = tinted(drawn, labels == label, colour, _MASK_STRENGTH)
    return drawn


def pose_view(
    picture: Picture, rotation: Floats, translation: Floats, camera: Camera, angles: npt.NDArray[np.floating]
) -> Picture:
    """Axes and the box of head space, ears and crown, on a picture [S, S, 3] that `camera` sees.

    Args:
        picture: sRGB.
        rotation: [3, 3] head space -> camera.
        translation: [3] metres.
        camera: the view.
        angles: [3] yaw, pitch, roll in degrees.
    """
    drawn = picture.copy()

    def seen(points: Floats) -> Floats:
        return np.asarray(project(points, rotation[None], translation[None], camera)[0])

    low, high = np.array([-0.1, -0.13, -0.13]), np.array([0.1, 0.13, 0.07])
    corners = np.array([[(low, high)[bit >> axis & 1][axis] for axis in range(3)] for bit in range(8)])
    flat = seen(corners)
    for one in range(8):
        for axis in range(3):
            if not one >> axis & 1:
                near = one & 4 and (one | 1 << axis) & 4
                line(drawn, flat[[one, one | 1 << axis]], INK if near else FAINT)
    dots(drawn, seen(head_anchors()[1:]), (255, 220, 60), 3.5)
    tips = np.eye(3) * _AXIS_M
    for tip, colour in zip(tips, AXIS_COLOURS, strict=True):
        line(drawn, seen(np.stack([np.zeros(3), tip])), colour, weight=2)
    told = f"yaw {angles[0]:+.0f}  pitch {angles[1]:+.0f}  roll {angles[2]:+.0f}"
    cv2.rectangle(drawn, (0, drawn.shape[0] - 18), (drawn.shape[1], drawn.shape[0]), (0, 0, 0), -1)
    write(drawn, told, (6, drawn.shape[0] - 5), INK, 0.4)
    return drawn


def geometry_views(
    picture: Picture, landmarks: npt.NDArray[np.floating], rotation: Floats, translation: Floats, camera: Camera
) -> tuple[Picture, Picture]:
    """Depth (warm is near) and normals (red right, green up, blue toward the camera) of the tracked mesh."""
    found = mesh_geometry(landmarks, rotation, translation, camera)
    dim = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) // 3, np.uint8)
    grey: Picture = np.repeat(dim[..., None], 3, axis=2)
    if not found.valid.any():
        return grey, grey
    nearest = float(found.depth[found.valid].min())
    level = np.clip(1 - (found.depth - nearest) / _FACE_DEPTH_M, 0, 1)
    coloured = cv2.applyColorMap(np.round(level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    depth = np.where(found.valid[..., None], cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB), grey)
    turned = found.normal * np.array([1, -1, -1], np.float32)
    normal = np.where(found.valid[..., None], np.clip(turned * 127.5 + 127.5, 0, 255), grey)
    return np.asarray(depth, np.uint8), np.asarray(normal, np.uint8)
