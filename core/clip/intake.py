"""From a video to what will be learned: which shot, which frames, which square of the picture, whose face.

Cheap checks come first, and every refusal says what to do. Looks at a few frames only; must not track or parse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.clip.landmarks import CHIN, FOREHEAD, Face, Landmarker
from core.clip.layout import FPS, Reference
from core.clip.parallel import Tick, ahead, attend
from core.clip.stage_clock import StageClock
from core.errors import InputRefusedError, UsageError
from core.media import (
    SPEECH_RATE_HZ,
    MediaInfo,
    Shot,
    check_speech_level,
    decode_audio,
    decode_chosen,
    decode_frames_full,
    find_shots,
    longest_shot,
    probe,
    scaled_size,
)
from core.progress import StageContext

STAGE = "preprocess"
FRAME_SAMPLES = SPEECH_RATE_HZ // FPS
"""Samples of sound in one frame's time."""
SOUND_AFTER_S = 10.0
"""Sound is read so far beyond the last picture: the speech encoder hears a little of what comes after."""
SAMPLES = 9
"""Frames looked at for the crop and for other people."""
_THUMB_SIDE = 128
_LOOK_SIDE = 960
SMALLEST_FACE_PX = 90
"""Height of the face mesh in source pixels; below, lips have too few pixels to learn from."""
_LIKE_SIZE = 0.6
_CROP_HEIGHTS = 2.2
"""Side of the crop in face heights: 0.6 above the forehead for hair, 0.6 below the chin for neck and shoulders."""
_ABOVE = 0.6
_KEEP_WHOLE = 0.3
"""A square picture in which the face is at least this tall is kept whole."""
_SHORTEST_S = 3.0


@dataclass(frozen=True)
class ClipOptions:
    """What a caller may choose about a clip."""

    size: int = 512
    """Side of the frames in pixels."""
    start_s: float = 0.0
    """Seconds into the longest shot."""
    seconds: float | None = 5.0
    """How much of it; None takes the rest of the shot."""
    last_frames: int | None = None
    """Take the shot's last frames in place of `start_s` and `seconds`."""
    reference: Reference | None = None
    """What an earlier clip of the same recording fixed: crop, focal length, rigid points, lag."""


@dataclass(frozen=True)
class Plan:
    """What to read."""

    video: Path
    info: MediaInfo
    audio: npt.NDArray[np.float32]
    """[n] mono at 16 kHz, from time 0 of the time line."""
    shots: list[Shot]
    shot: Shot
    start: int
    """First frame on the time line."""
    count: int
    crop: tuple[int, int, int]
    face_px: float
    """Median height of the face mesh in source pixels."""
    warnings: list[dict[str, str]]

    @property
    def jumps(self) -> tuple[int, ...]:
        """Frames of the chosen part, counted from its first, at which the picture jumps: nothing moves across them."""
        return tuple(jump - self.start for jump in self.shot.jumps if self.start < jump < self.start + self.count)


def plan_clip(video: Path, options: ClipOptions, context: StageContext, clock: StageClock | None = None) -> Plan:
    """Choose shot, frames and crop.

    Args:
        video: any file.
        options: which part of it is wanted.
        context: progress is reported as the first seventh of stage `preprocess`.
        clock: is told how long each part takes.

    Raises:
        UsageError: `start_beyond_shot`; and those of `core.media.probe`.
        InputRefusedError: `no_audio`, `audio_silent`, `clip_too_short`, `no_face`, `several_faces`, `face_too_small`;
            and those of `core.media`.
        CancelledError: as the context says.
    """
    timed = clock or StageClock()
    done = 0.0

    def tick() -> None:
        context.check()
        context.report(STAGE, done)

    with timed.part("probe, sound"):
        info = attend(lambda: probe(video), tick)
        done = 0.02
        audio = attend(
            lambda: decode_audio(video, origin_s=info.origin_s, seconds=info.duration_s + SOUND_AFTER_S), tick
        )
    check_speech_level(audio)
    if info.duration_s < _SHORTEST_S:
        raise _too_short(info.duration_s)

    def thumbs(stream: Iterator[npt.NDArray[np.uint8]]) -> Iterator[npt.NDArray[np.uint8]]:
        nonlocal done
        for number, picture in enumerate(stream):
            done = 0.03 + 0.07 * number / info.frame_count
            yield picture

    with timed.part("shots"), ahead(lambda: decode_frames_full(video, info, _THUMB_SIDE), tick) as stream:
        shots = find_shots(thumbs(stream))
    shot = longest_shot(shots)
    start, count = choose_frames(shot, options)
    check_speech_level(audio[start * FRAME_SAMPLES : (start + count) * FRAME_SAMPLES])
    with timed.part("look"):
        faces, height = _sample_faces(video, info, start, count, tick)
    crop, face_px, warnings = _judge(faces, height, info)
    if options.reference is not None:
        crop = options.reference.crop
    return Plan(video, info, audio, shots, shot, start, count, crop, face_px, warnings)


def choose_frames(shot: Shot, options: ClipOptions) -> tuple[int, int]:
    """First frame and number of frames on the time line.

    Raises:
        UsageError: `start_beyond_shot`.
        InputRefusedError: `clip_too_short`.
    """
    if options.last_frames is not None:
        count = min(options.last_frames, shot.count)
        return shot.stop - count, count
    offset = round(options.start_s * FPS)
    if offset < 0 or offset >= shot.count:
        raise UsageError(
            "start_beyond_shot",
            f"The start, {options.start_s:g} s, lies outside the longest shot of {shot.count / FPS:.1f} s.",
            "Choose an earlier start.",
        )
    wanted = shot.count if options.seconds is None else round(options.seconds * FPS)
    count = min(wanted, shot.count - offset)
    if count < _SHORTEST_S * FPS:
        raise _too_short(count / FPS)
    return shot.start + offset, count


def _too_short(seconds: float) -> InputRefusedError:
    return InputRefusedError(
        "clip_too_short",
        f"There are {seconds:.1f} s to learn from; 3 s is the least, 5 s or more are better.",
        "Record at least 5 seconds in one go, or choose an earlier start.",
    )


def _sample_faces(video: Path, info: MediaInfo, start: int, count: int, tick: Tick) -> tuple[list[list[Face]], int]:
    """Up to two faces of some frames in whole pictures, and those pictures' height."""
    wanted = np.unique(np.linspace(start, start + count - 1, min(SAMPLES, count)).round().astype(int)).tolist()
    with (
        Landmarker(max_faces=2) as landmarker,
        ahead(lambda: decode_chosen(video, info, _LOOK_SIDE, wanted), tick) as pictures,
    ):
        found = [landmarker.detect(picture) or _search_squares(landmarker, picture) for picture in pictures]
    return found, scaled_size(info, _LOOK_SIDE)[1]


def _search_squares(landmarker: Landmarker, picture: npt.NDArray[np.uint8]) -> list[Face]:
    """A face too small for the whole picture may be found in a part of it: left, middle and right square."""
    height, width = picture.shape[:2]
    side = min(height, width)
    longer = max(height, width)
    if longer < 1.2 * side:
        return []
    for offset in ((longer - side) // 2, 0, longer - side):
        left, top = (offset, 0) if width > height else (0, offset)
        faces = landmarker.detect(picture[top : top + side, left : left + side])
        if faces:
            shift = np.array([left, top, 0], np.float32)
            return [Face(face.landmarks + shift, face.blendshapes, face.score) for face in faces]
    return []


def face_height(face: Face) -> float:
    """From the forehead's top to the chin, in pixels."""
    return float(np.linalg.norm(face.landmarks[FOREHEAD, :2] - face.landmarks[CHIN, :2]))


def _judge(
    faces: list[list[Face]], looked_height: int, info: MediaInfo
) -> tuple[tuple[int, int, int], float, list[dict[str, str]]]:
    scale = info.height / looked_height
    present = [one for one in faces if one]
    if len(present) < 0.5 * len(faces):
        raise InputRefusedError(
            "no_face",
            f"A face is seen in {len(present)} of {len(faces)} frames looked at.",
            "Use a clip in which one person looks toward the camera, the face lit and not covered.",
        )
    crowded = [one for one in present if len(one) > 1 and face_height(one[1]) > _LIKE_SIZE * face_height(one[0])]
    if len(crowded) > 0.5 * len(present):
        raise InputRefusedError(
            "several_faces",
            "Two faces of like size are seen in most frames.",
            "Use a clip of one person, or cut the picture to one.",
        )
    heights = np.array([face_height(one[0]) for one in present]) * scale
    face_px = float(np.median(heights))
    if face_px < SMALLEST_FACE_PX:
        raise InputRefusedError(
            "face_too_small",
            f"The face is {face_px:.0f} pixels tall; {SMALLEST_FACE_PX} are needed.",
            "Film closer, or use a version of the clip with more pixels.",
        )
    warnings = []
    if crowded:
        warnings.append({"code": "second_face", "message": "A second face is seen in some frames; the larger is used."})
    if face_px < 1.6 * SMALLEST_FACE_PX:
        warnings.append({"code": "face_small", "message": f"The face is {face_px:.0f} pixels tall; 250 look sharper."})
    boxes = np.array([one[0].box for one in present]) * scale
    return choose_crop(boxes, face_px, info.width, info.height), face_px, warnings


def choose_crop(boxes: npt.NDArray[np.floating], face_px: float, width: int, height: int) -> tuple[int, int, int]:
    """One square (left, top, side) that holds head and shoulders in all frames.

    Args:
        boxes: [n, 4] left, top, right, bottom of the face mesh in some frames, source pixels.
        face_px: its median height.
        width: of the picture.
        height: of the picture.
    """
    shorter = min(width, height)
    if max(width, height) - shorter <= 0.02 * shorter and face_px >= _KEEP_WHOLE * shorter:
        return (width - shorter) // 2, (height - shorter) // 2, shorter
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    middle = (low[0] + high[0]) / 2
    moving = float((high - low - np.median(boxes[:, 2:] - boxes[:, :2], axis=0)).max())
    side = round(_CROP_HEIGHTS * face_px + moving)
    if side > shorter and float((high - low).max()) < 0.8 * shorter:
        side = shorter
    left, top = middle - side / 2, low[1] - _ABOVE * face_px
    # Keep inside the picture where the square fits into it.
    left = min(max(left, 0), width - side) if side <= width else (width - side) / 2
    top = min(max(top, 0), height - side) if side <= height else (height - side) / 2
    return round(left), round(top), side
