"""The figures of one test, gathered frame by frame, so that memory does not grow with its length.

A figure that can't be had is None, and `missing` says why. Knows no bundle and no video.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from core.clip.landmarks import BLENDSHAPES, LANDMARKS, Face, mouth_opening
from core.errors import MissingModelError
from core.evaluate.identity import FaceEmbedder, identity_distance
from core.evaluate.motion import (
    LOWER_FACE,
    UPPER_FACE,
    action_unit_error,
    correlation,
    jitter,
    lip_distance,
    opening_lag,
)
from core.evaluate.pictures import Box, cut, psnr, ssim
from core.perceptual import Lpips
from core.splat.lpips import SMALLEST_SIDE

Frame = npt.NDArray[np.uint8]
LPIPS_EVERY = 10
"""Every tenth frame."""
IDENTITY_FRAMES = 10
FEWEST_FACES = 0.5
"""Motion figures need a face in at least this fraction of the frames."""


@dataclass
class Scores:
    """Running lists of one test; `report` turns them into figures."""

    box: Box
    """Crop F."""
    count: int
    """Frames that will come."""
    open_lpips: Callable[[], Lpips] = Lpips.published
    open_embedder: Callable[[], FaceEmbedder] = FaceEmbedder
    missing: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._psnr: dict[str, list[float]] = {"A": [], "F": []}
        self._lpips: dict[str, list[float]] = {"A": [], "F": []}
        self._ssim: list[float] = []
        self._faces: list[tuple[Face, Face]] = []
        self._embeddings: tuple[list[npt.NDArray[np.float64]], list[npt.NDArray[np.float64]]] = ([], [])
        self._seen = 0
        self._lpips_network: Lpips | None = None
        self._embedder: FaceEmbedder | None = None
        try:
            self._lpips_network = self.open_lpips()
        except MissingModelError as error:
            self.missing["lpips"] = f"{error.message} {error.hint}"
        try:
            self._embedder = self.open_embedder()
        except MissingModelError as error:
            self.missing["identity_distance"] = f"{error.message} {error.hint}"

    def add(self, rendered: Frame, recorded: Frame, rendered_face: Face | None, recorded_face: Face | None) -> None:
        """One frame ([S, S, 3] each) with the faces found in it."""
        pairs = {"A": (rendered, recorded), "F": (cut(rendered, self.box), cut(recorded, self.box))}
        for name, (a, b) in pairs.items():
            self._psnr[name].append(psnr(a, b))
            if min(a.shape[:2]) < SMALLEST_SIDE:
                self.missing.setdefault(f"lpips.{name}", f"The pictures are smaller than {SMALLEST_SIDE} pixels.")
            elif self._lpips_network is not None and self._seen % LPIPS_EVERY == 0:
                self._lpips[name].append(self._lpips_network.distance(a, b))
        self._ssim.append(ssim(*pairs["F"]))
        if rendered_face is not None and recorded_face is not None:
            self._faces.append((rendered_face, recorded_face))
            if self._embedder is not None and self._seen % max(1, self.count // IDENTITY_FRAMES) == 0:
                self._embeddings[0].append(self._embedder.embedding(rendered, rendered_face.landmarks))
                self._embeddings[1].append(self._embedder.embedding(recorded, recorded_face.landmarks))
        self._seen += 1

    def report(self) -> dict[str, object]:
        """The figures by the names of DESIGN.md, section 3, and `missing`."""
        lpips = {name: _mean(values) for name, values in self._lpips.items()}
        return {
            "frames": self._seen,
            "psnr": {name: _mean(values) for name, values in self._psnr.items()},
            "lpips": lpips,
            "ssim": {"F": _mean(self._ssim)},
            **self._motion(),
            "identity_distance": self._identity(),
            "frames_without_face": self._seen - len(self._faces),
            "missing": self.missing,
        }

    def _identity(self) -> float | None:
        if not self._embeddings[0]:
            self.missing.setdefault("identity_distance", "No frame shows a face in both videos.")
            return None
        return round(identity_distance(*self._embeddings), 4)

    def _motion(self) -> dict[str, object]:
        nothing: dict[str, object] = {
            "lmd_px": None,
            "mouth_open_corr": None,
            "mouth_open_sd_ratio": None,
            "av_lag_frames": None,
            "jitter_ratio": None,
            "au_proxy": {"upper": None, "lower": None},
        }
        if len(self._faces) < max(3, FEWEST_FACES * self._seen):
            for name in nothing:
                self.missing[name] = "Too few frames show a face in both videos."
            return nothing
        rendered, recorded = (_landmarks([pair[k] for pair in self._faces]) for k in (0, 1))
        shapes, true_shapes = (_blendshapes([pair[k] for pair in self._faces]) for k in (0, 1))
        opening, true_opening = mouth_opening(rendered), mouth_opening(recorded)
        score, lag = correlation(opening, true_opening), opening_lag(opening, true_opening)
        if score is None:
            self.missing["mouth_open_corr"] = "One of the two mouths does not move."
        if lag is None:
            self.missing["av_lag_frames"] = "The test is shorter than 3 s, or one of the two mouths does not move."
        spread = float(true_opening.std())
        return {
            "lmd_px": round(lip_distance(rendered, recorded), 4),
            "mouth_open_corr": None if score is None else round(score, 4),
            "mouth_open_sd_ratio": round(float(opening.std()) / spread, 4) if spread > 0 else None,
            "av_lag_frames": lag,
            "jitter_ratio": round(jitter(rendered) / max(jitter(recorded), 1e-6), 4),
            "au_proxy": {
                "upper": round(action_unit_error(shapes, true_shapes, UPPER_FACE), 5),
                "lower": round(action_unit_error(shapes, true_shapes, LOWER_FACE), 5),
            },
        }


def _landmarks(faces: list[Face]) -> npt.NDArray[np.float32]:
    return np.stack([face.landmarks for face in faces]).reshape(-1, LANDMARKS, 3)


def _blendshapes(faces: list[Face]) -> npt.NDArray[np.float32]:
    return np.stack([face.blendshapes for face in faces]).reshape(-1, len(BLENDSHAPES))


def _mean(values: list[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None
