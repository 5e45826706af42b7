"""SyncNet's opinion of a test, rendered and recorded, where a user brings its weights. Judges nothing itself."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter

from core.clip.landmarks import Face
from core.evaluate.syncnet import CROP, HEARD_FRAMES, SETTING, SyncNet
from core.media.audio import decode_audio
from core.settings import load_own_models

_AROUND = 0.4
"""Of the face's half size, that the crop is wider on each side; twice that below."""
_STEADY_FRAMES = 13
"""Median filter over time of a face's place and size."""
_GREY = 110
"""Beyond the picture's border."""
_FEWEST_FRAMES = HEARD_FRAMES + 1

Frame = npt.NDArray[np.uint8]


class LipSync:
    """The faces of one test, as rendered and as recorded. Without weights it keeps nothing."""

    def __init__(self, weights: Path | None = None) -> None:
        """
        Args:
            weights: SyncNet's; None asks `LIKENESS_SYNCNET`.

        Raises:
            MissingModelError: `own_model_missing`, `own_model_unusable`.
        """
        path = weights or load_own_models().syncnet
        self._network = None if path is None else SyncNet.load(path)
        self._films: tuple[_Faces, _Faces] = (_Faces(), _Faces())

    def add(self, rendered: Frame, recorded: Frame, rendered_face: Face | None, recorded_face: Face | None) -> None:
        """One frame ([S, S, 3] each) with the faces found in it; where none is, the last one's place is looked at."""
        if self._network is not None:
            self._films[0].add(rendered, rendered_face)
            self._films[1].add(recorded, recorded_face)

    @property
    def asked(self) -> bool:
        """Whether there are weights."""
        return self._network is not None

    def report(self, audio: Path) -> tuple[dict[str, object] | None, str | None]:
        """`rendered` and `recorded`, each with `confidence`, `distance` and `offset`, or None and the reason.

        Args:
            audio: the sound that belongs to the frames.
        """
        if self._network is None:
            return None, f"{SETTING} names no weights."
        if not audio.is_file() or any(film.count < _FEWEST_FRAMES for film in self._films):
            return None, "There is no sound, or too few frames show a face."
        sound = decode_audio(audio)
        names = ("rendered", "recorded")
        judged = [self._network.judge(film.crops(), sound) for film in self._films]
        return {
            name: {key: round(value, 4) for key, value in asdict(sync).items()}
            for name, sync in zip(names, judged, strict=True)
        }, None


class _Faces:
    """Frames and the boxes of the faces in them, cropped when all are known."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._boxes: list[npt.NDArray[np.float64]] = []

    @property
    def count(self) -> int:
        """T."""
        return len(self._frames)

    def add(self, frame: Frame, face: Face | None) -> None:
        """Frames before the first face are left out."""
        if face is None and not self._boxes:
            return
        box = self._boxes[-1] if face is None else _box(face)
        self._frames.append(frame.copy())
        self._boxes.append(box)

    def crops(self) -> Frame:
        """[T, 224, 224, 3]"""
        boxes = np.stack(self._boxes)
        steady = median_filter(boxes, (_STEADY_FRAMES, 1), mode="nearest")
        return np.stack([_crop(frame, *place) for frame, place in zip(self._frames, steady, strict=True)])


def _box(face: Face) -> npt.NDArray[np.float64]:
    """Middle and half size of the mesh's box: where SyncNet's own pipeline has a face detector's."""
    low, high = face.landmarks[:468, :2].min(0), face.landmarks[:468, :2].max(0)
    return np.array([*(low + high) / 2, (high - low).max() / 2], np.float64)


def _crop(frame: Frame, x: float, y: float, half: float) -> Frame:
    wide = half * (1 + _AROUND)
    left, right, top, bottom = x - wide, x + wide, y - half, y + half * (1 + 2 * _AROUND)
    scale = CROP / (right - left), CROP / (bottom - top)
    place = np.array([[scale[0], 0, -scale[0] * left], [0, scale[1], -scale[1] * top]])
    drawn = cv2.warpAffine(
        frame, place, (CROP, CROP), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_CONSTANT, borderValue=(_GREY,) * 3
    )
    return np.asarray(drawn, np.uint8)
