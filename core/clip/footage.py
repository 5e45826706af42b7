"""The longest shot of a video as landmarks and sound, kept in a work folder: what this room's reports measure on.

Knows no poses and no lags; what the product makes of a video is `core.clip.build`'s.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.clip.build import WORKING_SIDE, follow_face
from core.clip.intake import ClipOptions, Plan, plan_clip
from core.clip.speech import encode_speech, reduce_speech
from core.errors import InputRefusedError
from core.media import decode_frames
from core.progress import StageContext


@dataclass(frozen=True)
class Footage:
    """T frames of one person's longest shot, and the sound of the whole recording."""

    landmarks: npt.NDArray[np.float32]
    """[T, 478, 3] pixels at 512; where nothing was seen, those of the nearest frame."""
    blendshapes: npt.NDArray[np.float32]
    """[T, 52]"""
    seen: npt.NDArray[np.bool_]
    """[T]"""
    audio: npt.NDArray[np.float32]
    """[n] mono at 16 kHz, from time 0 of the recording."""
    reduced: npt.NDArray[np.float32]
    """[m, 64] reduced speech of the whole recording at 50 Hz."""
    start: npt.NDArray[np.int64]
    """[] first frame of the shot on the recording's 25 fps time line."""
    jumps: npt.NDArray[np.int64]
    """[k] jump cuts, as frames of the shot."""


def read_footage(video: Path, work: Path | None) -> Footage:
    """Landmarks and speech of a video's longest shot.

    Args:
        video: any video that `plan_clip` accepts.
        work: where they are kept from one run to the next; None keeps nothing.

    Raises:
        InputRefusedError: as `plan_clip`.
    """
    kept = work / f"{video.stem}-{video.stat().st_size}.npz" if work else None
    if kept is not None and kept.exists():
        with np.load(kept, allow_pickle=False) as file:
            return Footage(**{name: file[name] for name in file.files})
    plan = plan_clip(video, ClipOptions(seconds=None), StageContext())
    sighting = follow_face(_pictures(video, plan), plan.count)
    footage = Footage(
        sighting.landmarks,
        sighting.blendshapes,
        sighting.seen,
        plan.audio,
        reduce_speech(encode_speech(plan.audio)),
        np.array(plan.start, np.int64),
        np.array(plan.jumps, np.int64),
    )
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".partial.npz")
        np.savez(partial, **{field.name: getattr(footage, field.name) for field in fields(footage)})
        partial.replace(kept)
    return footage


def read_pictures(video: Path) -> npt.NDArray[np.uint8]:
    """[T, 512, 512, 3] the frames that `read_footage` looks at."""
    return np.stack(list(_pictures(video, plan_clip(video, ClipOptions(seconds=None), StageContext()))))


def _pictures(video: Path, plan: Plan) -> Iterator[npt.NDArray[np.uint8]]:
    return decode_frames(video, plan.info, crop=plan.crop, size=WORKING_SIDE, start_frame=plan.start, count=plan.count)


def read_folder(folder: Path, work: Path | None) -> dict[str, Footage]:
    """Every usable MP4 of a folder by its name without ending; a refused one is named on standard error."""
    found = {}
    for video in sorted(folder.glob("*.mp4")):
        try:
            found[video.stem] = read_footage(video, work)
        except InputRefusedError as error:
            sys.stderr.write(f"{video.name}: left out ({error.code})\n")
    return found


def identity_of(stem: str) -> str:
    """`id04b` -> `id04`: a letter after a number marks another clip of the same person."""
    return re.sub(r"(?<=\d)[a-z]$", "", stem)


def markdown_table(rows: dict[str, dict[str, float]], corner: str) -> str:
    """Figures by row and column name, the rows' names under `corner`; an empty line follows."""
    names = list(next(iter(rows.values())))
    lines = [f"| {corner} | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    lines += [
        f"| {row} | " + " | ".join(f"{figures[name]:g}" for name in names) + " |" for row, figures in rows.items()
    ]
    return "\n".join(lines) + "\n\n"
