"""What a clip's build has done so far, on disk, so that a build that was cut off goes on from there.

A segment counts as done once its mark is there, and only while the pictures on disk still have the checksum that the
mark names: a machine that lost power may keep the one and not the other. Knows no faces and computes nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.clip.intake import ClipOptions, Plan
from core.clip.landmarks import choose_engine
from core.clip.layout import WORKING_SIDE
from core.clip.picture_file import PictureFile
from core.clip.sighting import Sighting, segments
from core.settings import load_own_models
from core.version import project_version

_FOLDER = "unfinished"
_FORM = 2
"""Of these files, and of what is computed into them: raise it where either changes."""


class Unfinished:
    """The work folder of one build, inside the clip's own. A context manager; `remove` it once the clip is whole."""

    def __init__(self, folder: Path, plan: Plan, options: ClipOptions) -> None:
        """Open what is there of the same build; what is there of any other is removed.

        Args:
            folder: the clip's; made where it is absent.
            plan: what is read.
            options: how it was asked for.
        """
        self._folder = folder / _FOLDER
        self._segments = segments(plan.count)
        purpose = _purpose(plan, options)
        told = self._folder / "purpose"
        if not (told.is_file() and told.read_text() == purpose):
            shutil.rmtree(folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            self._write(told, purpose.encode())
        place = folder if options.size == WORKING_SIDE else self._folder
        self.frames = PictureFile(place / "frames.npy", plan.count, (WORKING_SIDE, WORKING_SIDE, 3))
        """[T, 512, 512, 3]; where the clip has that size, its own file."""
        self.labels = PictureFile(place / "labels.npy", plan.count, (WORKING_SIDE, WORKING_SIDE))
        """[T, 512, 512]; likewise."""

    def sightings(self) -> dict[int, Sighting]:
        """The segments whose frames and landmarks are here, by number."""
        found = {}
        for number, frames in enumerate(self._segments):
            path = self._folder / f"sighting.{number}.npz"
            if path.is_file():
                with np.load(path, allow_pickle=False) as kept:
                    if int(kept["checksum"]) == self.frames.checksum(frames.start, frames.stop):
                        found[number] = Sighting(kept["landmarks"], kept["blendshapes"], kept["seen"])
        return found

    def keep_sighting(self, number: int, sighting: Sighting) -> None:
        """Keep a segment's landmarks; its frames are written."""
        frames = self._segments[number]
        checksum = np.array(self.frames.checksum(frames.start, frames.stop))
        partial = self._folder / "sighting.partial.npz"
        np.savez(partial, allow_pickle=False, checksum=checksum, **vars(sighting))
        partial.replace(self._folder / f"sighting.{number}.npz")

    def labelled(self) -> set[int]:
        """Numbers of the segments whose labels are here."""
        return {
            number
            for number, frames in enumerate(self._segments)
            if (path := self._mark(number)).is_file()
            and path.read_text() == str(self.labels.checksum(frames.start, frames.stop))
        }

    def keep_labelled(self, number: int) -> None:
        """Note that a segment's labels are written."""
        frames = self._segments[number]
        self._write(self._mark(number), str(self.labels.checksum(frames.start, frames.stop)).encode())

    def speech(self) -> npt.NDArray[np.float32] | None:
        """The speech features, or None where they are not here."""
        path = self._folder / "speech.npy"
        return np.load(path, allow_pickle=False) if path.is_file() else None

    def keep_speech(self, features: npt.NDArray[np.float32]) -> None:
        """Keep the speech features; what a thread of a build that is gone has heard is not kept."""
        if self.frames.closed:
            return
        partial = self._folder / "speech.partial.npy"
        np.save(partial, features)
        partial.replace(self._folder / "speech.npy")

    def remove(self) -> None:
        """The clip is whole: only its own files stay."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Close the files."""
        self.frames.close()
        self.labels.close()

    def __enter__(self) -> Unfinished:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _mark(self, number: int) -> Path:
        return self._folder / f"labels.{number}.done"

    def _write(self, path: Path, content: bytes) -> None:
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(content)
        partial.replace(path)


def _purpose(plan: Plan, options: ClipOptions) -> str:
    """A hash of everything that decides what the build makes."""
    reference = options.reference
    points = None if reference is None else reference.rigid_points.tobytes().hex()
    skin = None if reference is None or reference.skin is None else reference.skin.digest()
    told = {
        "form": [_FORM, project_version(), choose_engine()],
        "models": load_own_models().model_dump(mode="json", exclude={"syncnet"}),
        "info": asdict(plan.info),
        "part": [plan.start, plan.count, list(plan.crop), list(plan.shot.jumps)],
        "sound": hashlib.sha256(np.ascontiguousarray(plan.audio).tobytes()).hexdigest(),
        "size": options.size,
        "reference": None if reference is None else [reference.focal, reference.lag_frames, points, skin],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
