"""The stage that turns a video into a Clip folder: read, follow the face, track, parse, listen.

Frames and labels are streamed to their files; what stays in memory is landmarks and sound. Knows every part of this
room and nothing of what is learned from the clip.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.camera import Camera
from core.clip.evidence import gather_evidence
from core.clip.expression import calibrated_expression, expression_range, raw_expression
from core.clip.intake import FRAME_SAMPLES, ClipOptions, Plan, plan_clip
from core.clip.lag import Lag, measure_lag
from core.clip.landmarks import LANDMARKS, Landmarker, mouth_opening
from core.clip.layout import SPEECH_MARGIN, Clip, Reference
from core.clip.parsing import KEY_FRAMES, fit_parsing, parse_frame
from core.clip.person import PersonSegmenter
from core.clip.plate import background_plate
from core.clip.report import make_report, refuse_unusable, write_report
from core.clip.scaling import scaled_labels, scaled_picture
from core.clip.speech import SPEECH_DIMENSION, encode_speech, reduce_speech
from core.clip.tracking import FOCAL_AT_512, Track, short_gaps, track_head
from core.errors import InputRefusedError
from core.media import SPEECH_RATE_HZ, decode_frames
from core.progress import StageContext

STAGE = "preprocess"
WORKING_SIDE = 512
"""Landmarks, poses and labels are found at this size, whatever the clip's own."""
_PLATE_FRAMES = 40
_LEAST_SEEN = 0.5
_BORDER_PX = 6.0
_MOST_OUTSIDE = 0.4
_STEP_SAMPLES = FRAME_SAMPLES // 2
_SPEECH_CONTEXT = 100
"""Steps beyond the margin that the encoder hears too."""

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


def build_clip(
    video: Path, folder: Path, options: ClipOptions, context: StageContext, plan: Plan | None = None
) -> Clip:
    """Make the clip's folder from a video file.

    Args:
        video: any video that `core.media.probe` accepts, with one person in it.
        folder: made here; `clip.json` is written last.
        options: which part, at which size.
        context: progress is reported as stage `preprocess`.
        plan: what `plan_clip` decided about this video with these options; None asks it here.

    Raises:
        InputRefusedError: `no_face`, `several_faces`, `face_too_small`, `face_leaves_frame`, `clip_too_short`,
            `no_audio`, `audio_silent`, those of `refuse_unusable` and of `core.media`.
        MissingModelError: a model file is not on this machine.
        CancelledError: as the context says.
    """
    context.report(STAGE, 0.0)
    plan = plan or plan_clip(video, options, context)
    context.report(STAGE, 0.15)
    folder.mkdir(parents=True, exist_ok=True)
    working = folder / ("frames.npy" if options.size == WORKING_SIDE else "frames.partial.npy")
    frames = _array_file(working, (plan.count, WORKING_SIDE, WORKING_SIDE, 3))
    sighting = _read_frames(plan, frames, context)
    check_sighting(sighting, plan)
    camera = Camera.centred(options.reference.focal if options.reference else FOCAL_AT_512, WORKING_SIDE)
    known_points = options.reference.rigid_points if options.reference else None
    track = track_head(sighting.landmarks, sighting.seen, camera, known_points)
    shown = (sighting.landmarks, sighting.seen, track, lambda number: frames[number])
    evidence = gather_evidence(plan, *shown, context.within(STAGE, 0.45, 0.5))
    refuse_unusable(evidence)
    labels = _array_file(folder / "labels.npy", (plan.count, options.size, options.size))
    plate = _parse(frames, labels, sighting, context)
    if options.size != WORKING_SIDE:
        _resize_frames(frames, folder / "frames.npy", options.size)
        plate = scaled_picture(plate, options.size)
        working.unlink()
    context.report(STAGE, 0.9)
    speech = clip_speech(plan.audio, plan.start, plan.count)
    _write_sound(folder / "audio.wav", plan)
    clip = _assemble(folder, plan, options, camera, track, sighting, plate, speech)
    write_report(make_report(evidence, measure_sighting_lag(speech, sighting)), folder)
    clip.save()
    context.report(STAGE, 1.0)
    return Clip.load(folder)


def _assemble(
    folder: Path,
    plan: Plan,
    options: ClipOptions,
    camera: Camera,
    track: Track,
    sighting: Sighting,
    plate: Picture,
    speech: npt.NDArray[np.float32],
) -> Clip:
    scale = options.size / WORKING_SIDE
    raw = raw_expression(sighting.blendshapes)
    reference = options.reference
    limits = reference.expression_range if reference else None
    if limits is None:
        limits = expression_range(raw[sighting.seen])
    lag = reference.lag_frames if reference else applied_lag(measure_sighting_lag(speech, sighting))
    return Clip(
        folder=folder,
        camera=camera.scaled(scale),
        reference=Reference(plan.crop, camera.fx, track.points, lag, limits),
        frames=np.load(folder / "frames.npy", mmap_mode="r"),
        labels=np.load(folder / "labels.npy", mmap_mode="r"),
        plate=plate,
        landmarks=sighting.landmarks * np.float32(scale),
        rotations=track.rotations,
        translations=track.translations,
        valid=sighting.seen,
        expression=calibrated_expression(raw, limits),
        speech=speech,
        speech_zero=SPEECH_MARGIN,
        start_frame=plan.start,
    )


def measure_sighting_lag(speech: npt.NDArray[np.float32], sighting: Sighting) -> Lag:
    """Audio-video lag of a clip from its own speech ([n, 384], `SPEECH_MARGIN` steps before its time 0) and lips."""
    return measure_lag(reduce_speech(speech), SPEECH_MARGIN, mouth_opening(sighting.landmarks), sighting.seen)


def applied_lag(lag: Lag) -> int:
    """The lag that a clip is corrected by: none where the measurement is not sure."""
    return lag.frames if lag.sure else 0


def _array_file(path: Path, shape: tuple[int, ...]) -> Picture:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


def _read_frames(plan: Plan, frames: Picture, context: StageContext) -> Sighting:
    """Stream the crop into `frames` and look for the face in each."""

    def pictures() -> Iterator[Picture]:
        stream = decode_frames(
            plan.video, plan.info, crop=plan.crop, size=WORKING_SIDE, start_frame=plan.start, count=plan.count
        )
        for number, picture in enumerate(stream):
            frames[number] = picture
            if number % 10 == 0:
                context.check()
                context.report(STAGE, 0.15 + 0.3 * number / plan.count)
            yield picture

    return follow_face(pictures(), plan.count)


def follow_face(pictures: Iterator[Picture], count: int) -> Sighting:
    """Landmarks of the largest face in each of `count` pictures of one film.

    Raises:
        InputRefusedError: `no_face` where none of them shows one.
    """
    landmarks = np.zeros((count, LANDMARKS, 3), np.float32)
    blendshapes = np.zeros((count, 52), np.float32)
    seen = np.zeros(count, np.bool_)
    with closing(Landmarker(tracking=True)) as landmarker:
        for number, picture in enumerate(pictures):
            faces = landmarker.detect(picture)
            if faces:
                landmarks[number], blendshapes[number], seen[number] = faces[0].landmarks, faces[0].blendshapes, True
    if not seen.any():
        raise _no_face("No face is seen in this part of the clip.")
    found = np.nonzero(seen)[0]
    nearest = found[np.abs(np.arange(count)[:, None] - found[None]).argmin(1)]
    return Sighting(landmarks[nearest], blendshapes[nearest], seen)


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


def _parse(frames: Picture, labels: Picture, sighting: Sighting, context: StageContext) -> Picture:
    """Fill `labels` (of the clip's own size) and return the background plate at the working size."""
    found = np.nonzero(sighting.seen)[0]
    keys = found[np.linspace(0, len(found) - 1, min(KEY_FRAMES, len(found))).round().astype(int)]
    segmenter = PersonSegmenter()
    model = fit_parsing([frames[key] for key in keys], [sighting.landmarks[key] for key in keys], segmenter)
    size = labels.shape[1]
    apart = max(1, len(frames) // _PLATE_FRAMES)
    shown: list[tuple[Picture, Picture]] = []
    for number in range(len(frames)):
        found_labels = parse_frame(model, frames[number], sighting.landmarks[number], segmenter)
        if number % apart == 0:
            shown.append((frames[number], found_labels))
        labels[number] = scaled_labels(found_labels, size)
        if number % 10 == 0:
            context.check()
            context.report(STAGE, 0.5 + 0.38 * number / len(frames))
    return background_plate(shown)[0]


def _resize_frames(frames: Picture, path: Path, size: int) -> None:
    resized = _array_file(path, (len(frames), size, size, 3))
    for number in range(len(frames)):
        resized[number] = scaled_picture(frames[number], size)


def clip_speech(audio: npt.NDArray[np.float32], start: int, count: int) -> npt.NDArray[np.float32]:
    """Speech features of frames start ... start + count of a recording, with `SPEECH_MARGIN` steps on either side.

    Args:
        audio: [n] 16 kHz from time 0 of the recording.
        start: first frame.
        count: frames.

    Returns:
        [2 count + 2 SPEECH_MARGIN, 384]; where the recording has no sound for a step, it is zero.
    """
    first = 2 * start - SPEECH_MARGIN
    steps = 2 * count + 2 * SPEECH_MARGIN
    heard_from = max(0, first - _SPEECH_CONTEXT)
    heard_to = first + steps + _SPEECH_CONTEXT
    encoded = encode_speech(audio[heard_from * _STEP_SAMPLES : heard_to * _STEP_SAMPLES])
    features = np.zeros((steps, SPEECH_DIMENSION), np.float32)
    low, high = max(first, heard_from), min(first + steps, heard_from + len(encoded))
    features[low - first : high - first] = encoded[low - heard_from : high - heard_from]
    return features


def _write_sound(path: Path, plan: Plan) -> None:
    samples = plan.audio[plan.start * FRAME_SAMPLES : (plan.start + plan.count) * FRAME_SAMPLES]
    samples = np.pad(samples, (0, plan.count * FRAME_SAMPLES - len(samples)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SPEECH_RATE_HZ)
        file.writeframes(np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
