"""The three networks inside `face_landmarker.task` run by LiteRT (detector, mesh, blendshapes): no system library.

Follows the graph of MediaPipe's FaceLandmarker (anchors, regions, scales), without its smoothing. Knows nothing of
video beyond the last region.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from core.clip.landmarks import EYE_CORNERS, LANDMARKS, Face
from core.clip.litert_network import Network, anchors, merge_overlapping
from core.models import locate

Floats = npt.NDArray[np.float32]

_DETECTOR_SIDE = 128
_MESH_SIDE = 256
_REGION_SCALE = 1.5
_DETECTION_SCORE = 0.5
_PRESENCE_SCORE = 0.5
_CELLS = ((16, 2), (8, 6))
"""The detector's grids: cells a side, anchors in each."""

# fmt: off
_BLENDSHAPE_POINTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
    81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153, 154,
    155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263,
    267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321,
    323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387,
    388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
)
# fmt: on


@dataclass(frozen=True)
class _Region:
    """A square of the picture, turned so that the eyes lie level."""

    centre: tuple[float, float]
    side: float
    angle: float
    """Radians, clockwise in the picture."""


class LitertEngine:
    """Face landmarks without mediapipe."""

    def __init__(self, max_faces: int, tracking: bool, threads: int) -> None:
        with zipfile.ZipFile(locate("face_landmarker")) as bundle:
            self._detector = Network(bundle.read("face_detector.tflite"), threads)
            self._mesh = Network(bundle.read("face_landmarks_detector.tflite"), threads)
            self._blendshapes = Network(bundle.read("face_blendshapes.tflite"), threads)
        self._anchors = anchors(_CELLS)
        self._max_faces = max_faces
        self._tracking = tracking
        self._regions: list[_Region] = []

    def detect(self, rgb: npt.NDArray[np.uint8]) -> list[Face]:
        """Faces in `rgb` [H, W, 3], largest first."""
        faces: list[Face] = []
        if len(self._regions) == self._max_faces:
            faces = [face for region in self._regions if (face := self._face(rgb, region)) is not None]
        if len(faces) < self._max_faces:
            faces = [face for region in self._detect_regions(rgb) if (face := self._face(rgb, region)) is not None]
            if self._tracking:
                # A detection's region isn't the landmarks' own: look again, or a film's first frame stands apart.
                faces = [again for face in faces if (again := self._face(rgb, _region_of(face.landmarks))) is not None]
        faces.sort(key=lambda face: face.box[0] - face.box[2])
        self._regions = [_region_of(face.landmarks) for face in faces] if self._tracking else []
        return faces

    def restart(self) -> None:
        """Drop the last regions."""
        self._regions = []

    def close(self) -> None:
        """The graphs are freed with the object."""
        self.restart()

    def _face(self, rgb: npt.NDArray[np.uint8], region: _Region) -> Face | None:
        scale = region.side / _MESH_SIDE
        cos, sin = np.cos(region.angle) * scale, np.sin(region.angle) * scale
        half = _MESH_SIDE / 2
        to_picture = np.array(
            [
                [cos, -sin, region.centre[0] - half * (cos - sin)],
                [sin, cos, region.centre[1] - half * (sin + cos)],
            ],
            np.float32,
        )
        crop = cv2.warpAffine(
            rgb, to_picture, (_MESH_SIDE, _MESH_SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        outputs = self._mesh(np.divide(crop[None], 255, dtype=np.float32))
        score = float(1 / (1 + np.exp(-outputs[(1, 1, 1, 1)].item())))
        if score < _PRESENCE_SCORE:
            return None
        points = outputs[(1, 1, 1, 1434)].reshape(LANDMARKS, 3)
        landmarks = np.empty((LANDMARKS, 3), np.float32)
        landmarks[:, :2] = points[:, :2] @ to_picture[:, :2].T + to_picture[:, 2]
        landmarks[:, 2] = points[:, 2] * scale
        shapes = self._blendshapes(landmarks[None, _BLENDSHAPE_POINTS, :2])[(52,)]
        return Face(landmarks, np.asarray(shapes, np.float32).copy(), score)

    def _detect_regions(self, rgb: npt.NDArray[np.uint8]) -> list[_Region]:
        height, width = rgb.shape[:2]
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        factor = _DETECTOR_SIDE / side
        small = np.zeros((_DETECTOR_SIDE, _DETECTOR_SIDE, 3), np.uint8)
        inner = cv2.resize(
            rgb, (max(1, round(width * factor)), max(1, round(height * factor))), interpolation=cv2.INTER_AREA
        )
        y, x = round(top * factor), round(left * factor)
        inner = inner[: _DETECTOR_SIDE - y, : _DETECTOR_SIDE - x]
        small[y : y + inner.shape[0], x : x + inner.shape[1]] = inner
        outputs = self._detector(small[None].astype(np.float32) / 127.5 - 1)
        logits = np.clip(outputs[(1, 896, 1)][0, :, 0], -80, 80)
        scores = 1 / (1 + np.exp(-logits))
        raw = outputs[(1, 896, 16)][0].reshape(-1, 8, 2) / _DETECTOR_SIDE
        keep = scores > _DETECTION_SCORE
        raw, scores, centres = raw[keep], scores[keep], self._anchors[keep]
        points = raw.copy()
        points[:, 0] += centres
        points[:, 2:] += centres[:, None]
        merged = merge_overlapping(points, scores)[: self._max_faces]
        return [_region_of_detection(points * side - [left, top], points[1] * side) for points in merged]


def _region_of_detection(points: Floats, size: Floats) -> _Region:
    """Region of a detection: its box, made square, turned by its eyes (key points 0 and 1)."""
    eyes = points[3] - points[2]
    return _Region(
        (float(points[0, 0]), float(points[0, 1])),
        float(size.max()) * _REGION_SCALE,
        float(np.arctan2(eyes[1], eyes[0])),
    )


def _region_of(landmarks: Floats) -> _Region:
    """Region in which to look for a face whose landmarks are known."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    centre = (low + high) / 2
    eyes = landmarks[EYE_CORNERS[1], :2] - landmarks[EYE_CORNERS[0], :2]
    return _Region(
        (float(centre[0]), float(centre[1])),
        float((high - low).max()) * _REGION_SCALE,
        float(np.arctan2(eyes[1], eyes[0])),
    )
