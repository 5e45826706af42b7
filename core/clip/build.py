"""The stage that turns a video into a Clip folder: read, follow the face, track, parse, listen.

Frames and labels are streamed to their files and worked on in segments, by as many threads as there are cores; what
stays in memory is landmarks and sound. A build that was cut off goes on from the segments that it had finished, to the
very same clip, which does not depend on the number of threads either. Knows every part of this room and nothing of what
is learned from the clip.
"""

from __future__ import annotations

import threading
import wave
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.camera import Camera
from core.clip.alignment import align_track
from core.clip.blas import one_blas_thread
from core.clip.evidence import gather_evidence
from core.clip.expression import calibrated_expression, expression_range, raw_expression
from core.clip.intake import FRAME_SAMPLES, STAGE, ClipOptions, Plan, plan_clip
from core.clip.lag import Lag, measure_lag
from core.clip.landmarks import mouth_opening
from core.clip.layout import SPEECH_MARGIN, WORKING_SIDE, Clip, Reference
from core.clip.parallel import Spares, Tick, ahead, attend, awaited, beside, in_order
from core.clip.parsers import Parser, open_parser
from core.clip.parsing import KEY_FRAMES, ParsingModel
from core.clip.picture_file import PictureFile
from core.clip.plate import background_plate
from core.clip.report import make_report, refuse_unusable, write_report
from core.clip.scaling import scaled_labels, scaled_picture
from core.clip.sighting import Sighting, check_sighting, film_start, follow_face, segments
from core.clip.skin import Skin
from core.clip.speech import encode_speech, reduce_speech, speech_encoder
from core.clip.stage_clock import StageClock
from core.clip.tracking import FOCAL_AT_512, Track, track_head
from core.clip.unfinished import Unfinished
from core.clip.voice import frame_voice, voice_gate
from core.clip.whisper import WHISPER_FEATURES
from core.media import SPEECH_RATE_HZ, decode_frames
from core.progress import StageContext
from core.settings import load_own_models

__all__ = [
    "STAGE", "WORKING_SIDE", "Sighting", "applied_lag", "build_clip", "check_sighting", "clip_speech", "follow_face",
    "measure_sighting_lag",
]  # fmt: skip

_PLATE_FRAMES = 40
_STEP_SAMPLES = FRAME_SAMPLES // 2
_SPEECH_CONTEXT = 100
"""Steps beyond the margin that the encoder hears too."""
_PLANNED, _READ, _TRACKED, _JUDGED, _PARSED, _HEARD = 0.15, 0.45, 0.48, 0.5, 0.88, 0.9
"""How much of the stage is done after each of its parts."""

Picture = npt.NDArray[np.uint8]


class _Progress:
    """Reports to a context as the build goes on; `tick` looks at its cancel flag, and says that we are alive."""

    def __init__(self, context: StageContext) -> None:
        self._context = context
        self._done = 0.0
        self._lock = threading.Lock()

    def tick(self) -> None:
        self._context.check()
        self._context.report(STAGE, self._done)

    def at(self, done: float) -> None:
        """So much is done in all, 0..1."""
        with self._lock:
            self._done = max(self._done, done)
        self.tick()

    def add(self, done: float) -> None:
        """So much more is done; the next tick reports it. Any thread may say so."""
        with self._lock:
            self._done += done


def build_clip(
    video: Path,
    folder: Path,
    options: ClipOptions,
    context: StageContext,
    plan: Plan | None = None,
    clock: StageClock | None = None,
) -> Clip:
    """Make the clip's folder from a video file, or go on with it where an earlier call was cut off.

    Args:
        video: any video that `core.media.probe` accepts, with one person in it.
        folder: made here; `clip.json` is written last. What another build left in it is removed.
        options: which part, at which size.
        context: progress is reported as stage `preprocess`, and the cancel flag is looked at, several times a second.
        plan: what `plan_clip` decided about this video with these options; None asks it here.
        clock: is told how long each part takes.

    Raises:
        InputRefusedError: `no_face`, `several_faces`, `face_too_small`, `face_leaves_frame`, `clip_too_short`,
            `no_audio`, `audio_silent`, those of `refuse_unusable` and of `core.media`.
        MissingModelError: a model file is not on this machine.
        CancelledError: as the context says.
    """
    timed = clock or StageClock()
    progress = _Progress(context)
    progress.at(0.0)
    chosen = plan or plan_clip(video, options, context, timed)
    progress.at(_PLANNED)
    with one_blas_thread(), Unfinished(folder, chosen, options) as work:
        hearing = beside(lambda: _hear(chosen, work, timed))
        with timed.part("frames, landmarks"):
            sighting = _read_frames(chosen, work, progress)
        progress.at(_READ)
        check_sighting(sighting, chosen)
        camera = Camera.centred(options.reference.focal if options.reference else FOCAL_AT_512, WORKING_SIDE)
        known_points = options.reference.rigid_points if options.reference else None
        with timed.part("tracking"):
            track = attend(
                lambda: track_head(sighting.landmarks, sighting.seen, camera, known_points, chosen.jumps),
                progress.tick,
            )
        with timed.part("alignment"):
            known_skin = options.reference.skin if options.reference else None
            told = (sighting.landmarks, sighting.seen, track, camera, progress.tick, known_skin, chosen.jumps)
            aligned, skin = align_track(work.frames.__getitem__, *told)
        progress.at(_TRACKED)
        with timed.part("evidence"):
            shown = (sighting.landmarks, sighting.seen, track, lambda number: work.frames[number])
            evidence = gather_evidence(chosen, *shown, context.within(STAGE, _TRACKED, _JUDGED))
            refuse_unusable(evidence)
        progress.at(_JUDGED)
        with timed.part("labels"):
            _parse(work, sighting, progress)
        progress.at(_PARSED)
        with timed.part("plate"):
            plate = attend(lambda: _plate(work), progress.tick)
        with timed.part("rest"):
            plate = _resized(folder, work, plate, options.size, progress)
            speech = awaited(hearing, progress.tick)
            _write_sound(folder / "audio.wav", chosen)
            lag = measure_sighting_lag(speech, sighting)
            clip = _assemble(folder, chosen, options, camera, aligned, skin, sighting, plate, speech, lag)
            write_report(make_report(evidence, lag), folder)
            clip.save()
            work.remove()
    progress.at(1.0)
    return Clip.load(folder)


def _assemble(
    folder: Path,
    plan: Plan,
    options: ClipOptions,
    camera: Camera,
    track: Track,
    skin: Skin,
    sighting: Sighting,
    plate: Picture,
    speech: npt.NDArray[np.float32],
    measured: Lag,
) -> Clip:
    scale = options.size / WORKING_SIDE
    raw = raw_expression(sighting.blendshapes)
    reference = options.reference
    limits = reference.expression_range if reference else None
    if limits is None:
        limits = expression_range(raw[sighting.seen])
    lag = reference.lag_frames if reference else applied_lag(measured)
    return Clip(
        folder=folder,
        camera=camera.scaled(scale),
        reference=Reference(plan.crop, camera.fx, track.points, lag, limits, skin),
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
        voice=frame_voice(voice_gate(plan.audio), np.arange(plan.start, plan.start + plan.count), lag),
        speech_features=speech_encoder().name,
    )


def measure_sighting_lag(speech: npt.NDArray[np.float32], sighting: Sighting) -> Lag:
    """Audio-video lag of a clip from its own speech ([n, D], `SPEECH_MARGIN` steps before its time 0) and lips.

    The predictor was trained on Whisper's features; of others it is never sure.
    """
    if speech_encoder().name != WHISPER_FEATURES:
        return Lag(0, 0.0, 0.0)
    return measure_lag(reduce_speech(speech), SPEECH_MARGIN, mouth_opening(sighting.landmarks), sighting.seen)


def applied_lag(lag: Lag) -> int:
    """The lag that a clip is corrected by: none where the measurement is not sure."""
    return lag.frames if lag.sure else 0


def _read_frames(plan: Plan, work: Unfinished, progress: _Progress) -> Sighting:
    """Stream the crop into `work.frames` and look for the face in each, but for what is there already."""
    known = work.sightings()
    start = min(film_start(known), plan.count)

    def pictures() -> Generator[Picture, None, None]:
        yield from decode_frames(
            plan.video,
            plan.info,
            crop=plan.crop,
            size=WORKING_SIDE,
            start_frame=plan.start + start,
            count=plan.count - start,
        )

    def written(stream: Iterator[Picture]) -> Iterator[Picture]:
        for number, picture in enumerate(stream, start):
            work.frames[number] = picture
            progress.add((_READ - _PLANNED) / plan.count)
            yield picture

    if len(known) == len(segments(plan.count)):
        return follow_face((), plan.count, progress.tick, known)
    with ahead(pictures, progress.tick) as stream:
        return follow_face(written(stream), plan.count, progress.tick, known, work.keep_sighting)


def _parse(work: Unfinished, sighting: Sighting, progress: _Progress) -> None:
    """Fill `work.labels`, but for the segments that are there already."""
    whole, done = segments(len(work.frames)), work.labelled()
    if len(done) == len(whole):
        return
    parsers = Spares(lambda: open_parser(load_own_models()))
    model = attend(lambda: _parsing_model(work.frames, sighting, parsers), progress.tick)

    def label(number: int, pulse: Tick) -> int:
        with parsers.lent() as parser:
            labelled = parser.parse(model, work.frames, sighting.landmarks, whole[number])
            for frame, labels in zip(whole[number], labelled, strict=True):
                pulse()
                progress.add((_PARSED - _JUDGED) / len(work.frames))
                work.labels[frame] = labels
        return number

    waiting = [number for number in range(len(whole)) if number not in done]
    for number in in_order(waiting, label, progress.tick):
        work.keep_labelled(number)


def _parsing_model(frames: PictureFile, sighting: Sighting, parsers: Spares[Parser]) -> ParsingModel | None:
    found = np.nonzero(sighting.seen)[0]
    keys = found[np.linspace(0, len(found) - 1, min(KEY_FRAMES, len(found))).round().astype(int)]
    pictures, landmarks = [frames[int(key)] for key in keys], [sighting.landmarks[key] for key in keys]
    with parsers.lent() as parser:
        return parser.learn(pictures, landmarks)


def _plate(work: Unfinished) -> Picture:
    """The background plate at the working size."""
    apart = max(1, len(work.frames) // _PLATE_FRAMES)
    return background_plate((work.frames[number], work.labels[number]) for number in range(0, len(work.frames), apart))[
        0
    ]


def _resized(folder: Path, work: Unfinished, plate: Picture, size: int, progress: _Progress) -> Picture:
    """Write frames and labels at the clip's size, where that is not the working size, and return the plate in it."""
    if size == WORKING_SIDE:
        return plate
    count = len(work.frames)
    with (
        PictureFile(folder / "frames.npy", count, (size, size, 3)) as frames,
        PictureFile(folder / "labels.npy", count, (size, size)) as labels,
    ):
        for number in range(count):
            frames[number] = scaled_picture(work.frames[number], size)
            labels[number] = scaled_labels(work.labels[number], size)
            progress.add((_HEARD - _PARSED) / count)
            progress.tick()
    return scaled_picture(plate, size)


def _hear(plan: Plan, work: Unfinished, clock: StageClock) -> npt.NDArray[np.float32]:
    features = work.speech()
    if features is None:
        with clock.part("speech, beside the pictures"):
            features = clip_speech(plan.audio, plan.start, plan.count)
        work.keep_speech(features)
    return features


def clip_speech(audio: npt.NDArray[np.float32], start: int, count: int) -> npt.NDArray[np.float32]:
    """Speech features of frames start ... start + count of a recording, with `SPEECH_MARGIN` steps on either side.

    Args:
        audio: [n] 16 kHz from time 0 of the recording.
        start: first frame.
        count: frames.

    Returns:
        [2 count + 2 SPEECH_MARGIN, D]; where the recording has no sound for a step, it is zero.
    """
    first = 2 * start - SPEECH_MARGIN
    steps = 2 * count + 2 * SPEECH_MARGIN
    heard_from = max(0, first - _SPEECH_CONTEXT)
    heard_to = first + steps + _SPEECH_CONTEXT
    encoded = encode_speech(audio[heard_from * _STEP_SAMPLES : heard_to * _STEP_SAMPLES])
    features = np.zeros((steps, encoded.shape[1]), np.float32)
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
