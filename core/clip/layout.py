"""A Clip: what the method learns from, as a folder of plain arrays. This file reads and writes it; it computes nothing.

Folder: `clip.json` (scalars), `frames.npy`, `labels.npy`, `plate.npy`, `tracks.npz`, `speech.npy`, `audio.wav`.
Big arrays are memory-mapped, so memory does not grow with the clip's length.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.camera import Camera
from core.clip.skin import Skin

FPS = 25
SPEECH_RATE = 50
SPEECH_MARGIN = 64
WORKING_SIDE = 512
"""Landmarks, poses and labels are found at this size, whatever the clip's own."""


class Label(IntEnum):
    """Classes of the parsing map."""

    BACKGROUND = 0
    HAIR = 1
    SKIN = 2
    """Face and ears, without lips and mouth interior."""
    LIPS = 3
    MOUTH = 4
    """The mouth's interior: inside the inner lip line."""
    TORSO = 5
    """Neck and clothes."""


_SKIN = ("points", "pattern", "trust")
HEAD_LABELS = (Label.HAIR, Label.SKIN, Label.LIPS, Label.MOUTH)


@dataclass(frozen=True)
class Reference:
    """What a second clip of the same recording must share, so that one avatar fits both."""

    crop: tuple[int, int, int]
    """Left, top, side of the square crop, in pixels of the (rotation-corrected) source; may reach over its border."""
    focal: float
    """Focal length in pixels of a 512-pixel crop."""
    rigid_points: npt.NDArray[np.float64]
    """[n, 3] the person's own rigid points in head space, metres."""
    lag_frames: int
    """Audio-video lag: the speech of frame f is found at frame f + lag."""
    expression_range: npt.NDArray[np.float64] | None = None
    """[2, 6] raw values that count as 0 and 1 of this person's expression; None: taken from the clip itself."""
    skin: Skin | None = None
    """What poses are aligned to; None: learned from the clip itself."""


@dataclass(frozen=True)
class Clip:
    """T frames of one continuous shot, tracked and parsed, at 25 fps."""

    folder: Path
    camera: Camera
    """At the clip's own size."""
    reference: Reference
    frames: npt.NDArray[np.uint8]
    """[T, S, S, 3] sRGB."""
    labels: npt.NDArray[np.uint8]
    """[T, S, S] values of `Label`."""
    plate: npt.NDArray[np.uint8]
    """[S, S, 3] the background without the person."""
    landmarks: npt.NDArray[np.float32]
    """[T, 478, 3] MediaPipe mesh in pixels of this clip's size (z in the same unit)."""
    rotations: npt.NDArray[np.float64]
    """[T, 3, 3] head space -> camera space."""
    translations: npt.NDArray[np.float64]
    """[T, 3] metres: x_camera = R x_head + t."""
    valid: npt.NDArray[np.bool_]
    """[T] whether the frame may be learned from (a face was seen)."""
    expression: npt.NDArray[np.float32]
    """[T, 6] upper face 0..1: brow inner up, brow down, brow outer up, eye wide, eye squint, blink."""
    speech: npt.NDArray[np.float32]
    """[n, D] speech features at 50 Hz; step `speech_zero` + i is centred at 20 i ms of the clip."""
    speech_zero: int
    """Index in `speech` of the step at the clip's time 0; before it lies real context, or zeros where there is none."""
    start_frame: int
    """First frame of this clip in the 25 fps timeline of the source."""
    voice: npt.NDArray[np.float32]
    """[T] 0..1 whether somebody speaks while the frame is shown, the lag corrected."""
    speech_features: str
    """Whose features `speech` holds: the name of a `SpeechEncoder`."""

    @property
    def count(self) -> int:
        """Number of frames T."""
        return int(self.frames.shape[0])

    @property
    def size(self) -> int:
        """Side S of the square frames in pixels."""
        return int(self.frames.shape[1])

    def save(self) -> None:
        """Write everything but `frames` and `labels`, which were streamed to their files while they were made."""
        r, c = self.reference, self.camera
        scalars = {
            "focal": c.fx,
            "size": c.width,
            "start_frame": self.start_frame,
            "speech_zero": self.speech_zero,
            "speech_features": self.speech_features,
            "reference": {"crop": list(r.crop), "focal": r.focal, "lag_frames": r.lag_frames},
        }
        np.save(self.folder / "plate.npy", self.plate)
        np.save(self.folder / "speech.npy", self.speech)
        tracks: dict[str, npt.NDArray[Any]] = {
            "landmarks": self.landmarks,
            "rotations": self.rotations,
            "translations": self.translations,
            "valid": self.valid,
            "expression": self.expression,
            "rigid_points": r.rigid_points,
            "voice": self.voice,
        }
        if r.expression_range is not None:
            tracks["expression_range"] = r.expression_range
        if r.skin is not None:
            tracks |= {f"skin_{name}": getattr(r.skin, name) for name in _SKIN}
        np.savez(self.folder / "tracks.npz", allow_pickle=False, **tracks)
        partial = self.folder / "clip.json.partial"
        partial.write_text(json.dumps(scalars, indent=1))
        partial.replace(self.folder / "clip.json")

    @staticmethod
    def load(folder: Path) -> Clip:
        """Open a finished clip folder (clip.json is written last, so a folder that has it is whole)."""
        scalars = json.loads((folder / "clip.json").read_text())
        with np.load(folder / "tracks.npz", allow_pickle=False) as tracks:
            data = {name: tracks[name] for name in tracks.files}
        shared = scalars["reference"]
        left, top, side = shared["crop"]
        reference = Reference(
            (left, top, side),
            shared["focal"],
            data["rigid_points"],
            shared["lag_frames"],
            data.get("expression_range"),
            Skin(*(data[f"skin_{name}"] for name in _SKIN)) if "skin_points" in data else None,
        )
        return Clip(
            folder=folder,
            camera=Camera.centred(scalars["focal"], scalars["size"]),
            reference=reference,
            frames=np.load(folder / "frames.npy", mmap_mode="r"),
            labels=np.load(folder / "labels.npy", mmap_mode="r"),
            plate=np.load(folder / "plate.npy"),
            landmarks=data["landmarks"],
            rotations=data["rotations"],
            translations=data["translations"],
            valid=data["valid"],
            expression=data["expression"],
            speech=np.load(folder / "speech.npy"),
            speech_zero=scalars["speech_zero"],
            start_frame=scalars["start_frame"],
            voice=data["voice"],
            speech_features=scalars["speech_features"],
        )
