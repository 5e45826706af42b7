"""478 face landmarks and 52 blendshapes of every face in a picture, by whichever engine this machine can run.

Knows the mesh's index lists and the engines' common face; must not know clips, poses or files other than the model.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from core.errors import UsageError

LANDMARKS = 478
ENGINES = ("litert", "mediapipe")

# fmt: off
FACE_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176,
             149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
"""The face's outline, closed, starting at the forehead's top."""
LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
LIP_PAIRS = ((13, 14), (82, 87), (312, 317))
"""Upper and lower inner-lip points whose mean distance is the mouth's opening."""
LID_PAIRS = ((159, 145), (386, 374))
"""Upper and lower lid, in the middle of each eye."""
EYE_CORNERS = (33, 263)
"""Outer corners of the eyes."""
FOREHEAD, CHIN = 10, 152

BLENDSHAPES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)
"""Names of `Face.blendshapes`, in order."""
# fmt: on


@dataclass(frozen=True)
class Face:
    """One face in one picture."""

    landmarks: npt.NDArray[np.float32]
    """[478, 3] pixels of the picture; z in the same unit, smaller is nearer."""
    blendshapes: npt.NDArray[np.float32]
    """[52] 0..1, in the order of `BLENDSHAPES`."""
    score: float
    """0..1, how sure the engine is that this is a face."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the mesh in pixels."""
        low, high = self.landmarks[:, :2].min(0), self.landmarks[:, :2].max(0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


class Engine(Protocol):
    """What an engine must do."""

    def detect(self, rgb: npt.NDArray[np.uint8]) -> list[Face]:
        """Faces in `rgb` [H, W, 3], largest first."""

    def restart(self) -> None:
        """Forget the last picture: the next one begins another film."""

    def close(self) -> None:
        """Free what the engine holds."""


def mouth_opening(landmarks: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Inner-lip opening over the distance of the outer eye corners: [..., 478, 2 or 3] -> [...], without unit."""
    return _gap(landmarks, LIP_PAIRS)


def eye_opening(landmarks: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Distance of the lids over that of the outer eye corners: [..., 478, 2 or 3] -> [...], without unit."""
    return _gap(landmarks, LID_PAIRS)


def _gap(landmarks: npt.NDArray[np.floating], pairs: tuple[tuple[int, int], ...]) -> npt.NDArray[np.float64]:
    points = np.asarray(landmarks, dtype=np.float64)[..., :2]
    gaps = [np.linalg.norm(points[..., upper, :] - points[..., lower, :], axis=-1) for upper, lower in pairs]
    eyes = np.linalg.norm(points[..., EYE_CORNERS[0], :] - points[..., EYE_CORNERS[1], :], axis=-1)
    gap: npt.NDArray[np.float64] = np.mean(gaps, axis=0) / np.maximum(eyes, 1e-6)
    return gap


def graphics_libraries_present() -> bool:
    """Whether libEGL and libGLESv2, which mediapipe links to, can be loaded on this machine."""
    try:
        for library in ("libEGL.so.1", "libGLESv2.so.2"):
            ctypes.CDLL(library)
    except OSError:
        return False
    return True


def choose_engine() -> str:
    """`litert` unless `LIKENESS_LANDMARKS` names the other: measured, it is faster and needs no system library.

    Raises:
        UsageError: `landmark_engine_unknown`.
    """
    engine = os.environ.get("LIKENESS_LANDMARKS", "litert")
    if engine not in ENGINES:
        raise UsageError(
            "landmark_engine_unknown", f"LIKENESS_LANDMARKS is {engine!r}.", f"Choose one of {', '.join(ENGINES)}."
        )
    return engine


class Landmarker:
    """Finds faces, picture by picture. A context manager.

    With `tracking`, pictures are taken as one film: the search starts where the last picture's face was, and the face
    detector runs only where that fails. Nothing is smoothed over time, so lips keep their timing.
    """

    def __init__(self, max_faces: int = 1, tracking: bool = False, engine: str | None = None, threads: int = 1) -> None:
        """Open the engine; `threads` is for LiteRT (mediapipe chooses its own).

        Raises:
            MissingModelError: the model file is not here.
        """
        chosen = engine or choose_engine()
        self._engine: Engine
        if chosen == "mediapipe":
            from core.clip.landmarks_mediapipe import MediapipeEngine

            self._engine = MediapipeEngine(max_faces)
        else:
            from core.clip.landmarks_litert import LitertEngine

            self._engine = LitertEngine(max_faces, tracking, threads)

    def detect(self, rgb: npt.NDArray[np.uint8]) -> list[Face]:
        """At most `max_faces` faces in `rgb` [H, W, 3] sRGB, largest first; none is an empty list."""
        return self._engine.detect(np.ascontiguousarray(rgb))

    def restart(self) -> None:
        """Forget the last picture: the next one begins another film."""
        self._engine.restart()

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()

    def __enter__(self) -> Landmarker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
