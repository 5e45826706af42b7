"""MediaPipe's own FaceLandmarker, quiet. Needs the system's libEGL and libGLESv2.

Runs in IMAGE mode: VIDEO mode smooths the landmarks of a single face, which would blunt and delay the lips.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from core.clip.landmarks import Face
from core.clip.quiet import quiet_natives
from core.models import locate


class MediapipeEngine:
    """Face landmarks by mediapipe==0.10.33."""

    def __init__(self, max_faces: int) -> None:
        with quiet_natives():
            import mediapipe
            from mediapipe.tasks import python as tasks
            from mediapipe.tasks.python import vision

            options = vision.FaceLandmarkerOptions(
                base_options=tasks.BaseOptions(model_asset_path=str(locate("face_landmarker"))),
                output_face_blendshapes=True,
                running_mode=vision.RunningMode.IMAGE,
                num_faces=max_faces,
            )
            self._landmarker: Any = vision.FaceLandmarker.create_from_options(options)
            self._mediapipe: Any = mediapipe
            # The first picture makes it log once more.
            self._run(np.zeros((64, 64, 3), np.uint8))

    def detect(self, rgb: npt.NDArray[np.uint8]) -> list[Face]:
        """Faces in `rgb` [H, W, 3], largest first."""
        height, width = rgb.shape[:2]
        result = self._run(rgb)
        unit = np.array([width, height, width], np.float32)
        faces = [
            Face(
                np.array([(one.x, one.y, one.z) for one in points], np.float32) * unit,
                np.array([shape.score for shape in shapes], np.float32),
                1.0,
            )
            for points, shapes in zip(result.face_landmarks, result.face_blendshapes, strict=True)
        ]
        faces.sort(key=lambda face: face.box[0] - face.box[2])
        return faces

    def restart(self) -> None:
        """Nothing to forget: each picture is looked at by itself."""

    def close(self) -> None:
        """Free the graph and its threads."""
        self._landmarker.close()

    def _run(self, rgb: npt.NDArray[np.uint8]) -> Any:
        image = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=rgb)
        return self._landmarker.detect(image)
