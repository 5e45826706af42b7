"""Where the face is in every frame of a film, found in segments by as many threads as the machine has cores.

A segment begins by itself, a few frames early, so the landmarks do not depend on how many threads there were, nor on
where an earlier run was cut off. Knows pictures and landmarks; must not know poses, labels or sound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from core.clip.intake import Plan
from core.clip.landmarks import LANDMARKS, Landmarker
from core.clip.layout import WORKING_SIDE
from core.clip.parallel import Spares, Tick, in_order
from core.clip.tracking import short_gaps
from core.errors import InputRefusedError

SEGMENT = 50
"""Frames that are worked on, and kept, together: two seconds."""
_LEAD = 3
"""Frames before a segment that are looked at too, so that its first is found as if the film had run up to it."""
_LEAST_SEEN = 0.5
_BORDER_PX = 6.0
_MOST_OUTSIDE = 0.4

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Sighting:
    """The face in T frames."""

    landmarks: npt.NDArray[np.float32]
    """[T, 478, 3] pixels at 512; where nothing was seen, those of the nearest frame."""
    blendshapes: npt.NDArray[np.float32]
    """[T, 52]"""
    seen: npt.NDArray[np.bool_]
    """[T]"""


@dataclass(frozen=True)
class _Job:
    number: int
    """Of the segment."""
    pictures: list[Picture] = field(repr=False)
    lead: int
    """How many of them come before the segment."""


def _silent() -> None:
    """Nobody listens."""


def segments(count: int) -> list[range]:
    """The frames 0 ... `count` in pieces of `SEGMENT`."""
    return [range(start, min(start + SEGMENT, count)) for start in range(0, count, SEGMENT)]


def film_start(known: Mapping[int, Sighting]) -> int:
    """The first frame that `follow_face` must be given where the segments `known` were found before."""
    first = next(number for number in range(len(known) + 1) if number not in known)
    return max(0, first * SEGMENT - _LEAD)


def follow_face(
    pictures: Iterable[Picture],
    count: int,
    tick: Tick = _silent,
    known: Mapping[int, Sighting] | None = None,
    keep: Callable[[int, Sighting], None] | None = None,
) -> Sighting:
    """Landmarks of the largest face in each of `count` pictures of one film.

    Args:
        pictures: uint8 [S, S, 3], in order, from frame `film_start(known)` on.
        count: frames of the whole film.
        tick: called several times a second; what it raises ends the search.
        known: segments that were found before, by number.
        keep: called with each segment that is found now, once its pictures have been drawn, in order.

    Raises:
        InputRefusedError: `no_face` where none of them shows one.
    """
    parts = dict(known or {})
    engines = Spares(lambda: Landmarker(tracking=True))
    jobs = _jobs(pictures, count, parts, tick)

    def look(job: _Job, pulse: Tick) -> tuple[int, Sighting]:
        with engines.lent() as landmarker:
            return job.number, _look(landmarker, job, pulse)

    try:
        for number, part in in_order(jobs, look, tick):
            parts[number] = part
            if keep is not None:
                keep(number, part)
    finally:
        for engine in engines.idle():
            engine.close()
    return _joined([parts[number] for number in range(len(segments(count)))])


def _jobs(pictures: Iterable[Picture], count: int, known: Mapping[int, Sighting], tick: Tick) -> Iterator[_Job]:
    whole = segments(count)
    held: list[Picture] = []
    number, start = (film_start(known) + _LEAD) // SEGMENT, film_start(known)
    if number >= len(whole):
        return
    for frame, picture in enumerate(pictures, start):
        tick()
        held.append(picture)
        if frame + 1 < whole[number].stop:
            continue
        if number not in known:
            yield _Job(number, held, len(held) - len(whole[number]))
        number += 1
        held = held[-_LEAD:]
        if number == len(whole):
            return


def _look(landmarker: Landmarker, job: _Job, pulse: Tick) -> Sighting:
    count = len(job.pictures) - job.lead
    landmarks = np.zeros((count, LANDMARKS, 3), np.float32)
    blendshapes = np.zeros((count, 52), np.float32)
    seen = np.zeros(count, np.bool_)
    landmarker.restart()
    for number, picture in enumerate(job.pictures, -job.lead):
        pulse()
        faces = landmarker.detect(picture)
        if faces and number >= 0:
            landmarks[number], blendshapes[number], seen[number] = faces[0].landmarks, faces[0].blendshapes, True
    return Sighting(landmarks, blendshapes, seen)


def _joined(parts: list[Sighting]) -> Sighting:
    seen = np.concatenate([part.seen for part in parts])
    if not seen.any():
        raise _no_face("No face is seen in this part of the clip.")
    found = np.nonzero(seen)[0]
    frames = np.arange(len(seen))
    after = found[np.minimum(np.searchsorted(found, frames), len(found) - 1)]
    before = found[np.maximum(np.searchsorted(found, frames, "right") - 1, 0)]
    nearest = np.where(np.abs(frames - before) <= np.abs(after - frames), before, after)
    landmarks = np.concatenate([part.landmarks for part in parts])
    return Sighting(landmarks[nearest], np.concatenate([part.blendshapes for part in parts])[nearest], seen)


def check_sighting(sighting: Sighting, plan: Plan) -> None:
    """Refuse a clip whose face is away, or out of the picture, too often.

    Raises:
        InputRefusedError: `no_face`, `face_leaves_frame`.
    """
    lost = ~(sighting.seen | short_gaps(sighting.seen))
    if sighting.seen.mean() < _LEAST_SEEN:
        raise _no_face(f"A face is seen in {100 * sighting.seen.mean():.0f} % of the frames.")
    left, top, side = plan.crop
    unit = side / WORKING_SIDE
    points = sighting.landmarks[..., :2] * unit + np.array([left, top], np.float32)
    margin = _BORDER_PX * unit
    beyond = (points < -margin) | (points > np.array([plan.info.width, plan.info.height]) + margin)
    outside = beyond.any((1, 2)) & sighting.seen
    if (outside | lost).mean() > _MOST_OUTSIDE:
        raise InputRefusedError(
            "face_leaves_frame",
            f"The face reaches over the picture's border in {100 * (outside | lost).mean():.0f} % of the frames.",
            "Film from further away, so that head and shoulders stay in the picture.",
        )


def _no_face(message: str) -> InputRefusedError:
    return InputRefusedError(
        "no_face", message, "Use a clip in which one person looks toward the camera, the face lit and not covered."
    )
