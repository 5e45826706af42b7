"""Hands in a picture: MediaPipe's palm detector, and its hand landmarks, which also say whether it is one, by LiteRT.

Follows the graph of MediaPipe's hand landmarks (anchors, regions, scales). Knows one picture at a time, and no faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from core.clip.litert_network import Network, anchors, merge_overlapping
from core.models import locate

Floats = npt.NDArray[np.float32]

HAND_POINTS = 21
_PALM_SIDE = 192
_HAND_SIDE = 224
_GRIDS = ((24, 2), (12, 6))
_PALM_SCORE = 0.5
_HAND_SCORE = 0.85
"""Jaws, ears and collars are taken for palms now and then, and then mostly score less (docs/clip.md)."""
_REGION_SCALE = 2.6
_REGION_SHIFT = 0.5
"""Palm sizes by which a hand's middle lies toward the fingers."""
_MOST_HANDS = 4
_WRIST, _MIDDLE_FINGER = 2, 4
"""Rows of a detection's key points: after centre and size, wrist and middle finger's root."""


@dataclass(frozen=True)
class Hand:
    """One hand in one picture."""

    points: npt.NDArray[np.float32]
    """[21, 2] pixels: wrist, then four joints of each finger."""
    score: float
    """0..1, how sure the network is that this is a hand."""


class HandFinder:
    """Finds hands, picture by picture."""

    def __init__(self, threads: int = 1) -> None:
        """Raises MissingModelError where the model is not on this machine."""
        folder = locate("hands")
        self._palms = Network((folder / "palm_detection_lite.tflite").read_bytes(), threads)
        self._points = Network((folder / "hand_landmark_lite.tflite").read_bytes(), threads)
        self._anchors = anchors(_GRIDS)

    def find(self, rgb: npt.NDArray[np.uint8]) -> list[Hand]:
        """Hands in a square picture [S, S, 3] sRGB, at most four."""
        side = rgb.shape[0]
        small = cv2.resize(rgb, (_PALM_SIDE, _PALM_SIDE), interpolation=cv2.INTER_AREA)
        outputs = self._palms(np.divide(small[None], 255, dtype=np.float32))
        scores = 1 / (1 + np.exp(-np.clip(outputs[(1, len(self._anchors), 1)][0, :, 0], -80, 80)))
        keep = scores > _PALM_SCORE
        points = outputs[(1, len(self._anchors), 18)][0][keep].reshape(-1, 9, 2) / _PALM_SIDE
        points[:, 0] += self._anchors[keep]
        points[:, 2:] += self._anchors[keep, None]
        palms = merge_overlapping(points, scores[keep])[:_MOST_HANDS]
        return [hand for palm in palms if (hand := self._hand(rgb, palm * side)) is not None]

    def _hand(self, rgb: npt.NDArray[np.uint8], palm: Floats) -> Hand | None:
        """Look closely at a palm [9, 2] in pixels of the picture."""
        along = palm[_MIDDLE_FINGER] - palm[_WRIST]
        along = along / max(float(np.linalg.norm(along)), 1e-6)
        right = np.array([-along[1], along[0]], np.float32)
        size = float(palm[1].max())
        centre = palm[0] + _REGION_SHIFT * size * along
        scale = _REGION_SCALE * size / _HAND_SIDE
        to_picture = np.stack([right * scale, -along * scale, centre], 1)
        to_picture[:, 2] -= to_picture[:, :2].sum(1) * (_HAND_SIDE / 2)
        look = cv2.warpAffine(
            rgb, to_picture, (_HAND_SIDE, _HAND_SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        outputs = self._points(np.divide(look[None], 255, dtype=np.float32))
        score = float(outputs[(1, 1)].item())
        if score < _HAND_SCORE:
            return None
        found = outputs[(1, 63)].reshape(HAND_POINTS, 3)[:, :2]
        return Hand(np.asarray(found @ to_picture[:, :2].T + to_picture[:, 2], np.float32), score)
