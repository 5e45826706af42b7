"""Other speech on the recorded frames: no true mouth to compare with, so the speech itself and the silences judge.

Cross-domain audio as the paper tests it: poses, expression, torso and background are those of the test frames, forth
and back; what is said comes from another recording. Definitions: docs/metrics.md. Knows no terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.bundle.file import Bundle
from core.clip.backdrop import backdrop
from core.clip.lag import heard_around, shipped_predictor
from core.clip.landmarks import Landmarker, mouth_opening
from core.clip.layout import FPS, Clip
from core.evaluate.motion import correlation
from core.evaluate.pictures import Box, cut, face_box, psnr
from core.media.audio import check_speech_level, decode_audio
from core.progress import StageContext
from core.render.driving import ping_pong
from core.render.hearing import DrivingSpeech, prepare_speech
from core.render.scene import open_synthesiser
from core.render.synthesis import Frame, Motion, Stopwatch, synthesise

LOWEST, HIGHEST = 5.0, 95.0
"""Percentiles between which an opening ranges."""
SILENT_FRAMES = 15
"""A shorter silence has no frames left to judge."""
CLOSING_FRAMES = 5
"""200 ms: how long after a silence's start the mouth may still be open, and from when before its end it may open."""
CLOSED_SHARE = 0.2
"""Of the recorded range, above the recorded mouth's lowest: up to there a mouth counts as closed."""
MINUTE = 60 * FPS
DRIFT_FRAMES = 3 * MINUTE
"""Shorter speech has no first and last minute to compare."""
_REPORT_EVERY = 10


@dataclass(frozen=True)
class Recorded:
    """What the recorded test says of this person."""

    opening: npt.NDArray[np.float64]
    """[T] over its frames with a face."""
    still_box: Box
    """Crop F down to its middle: brow and eyes, which no speech moves."""

    @staticmethod
    def of(clip: Clip) -> Recorded:
        """From the clip's own landmarks."""
        landmarks = clip.landmarks[clip.valid]
        left, top, right, bottom = face_box(landmarks, clip.size)
        return Recorded(mouth_opening(landmarks), (left, top, right, (top + bottom) // 2))


def measure_driven(bundle: Bundle, clip: Clip, speech: Path, context: StageContext) -> dict[str, object]:
    """The figures of one speech; one that can't be had is None.

    Args:
        bundle: the avatar.
        clip: the test frames, prepared with the bundle's own reference.
        speech: any recording that `core.media` reads.
        context: progress as stage `speech`, and cancelling.

    Returns:
        `speech` (the file's name), `frames`, `frames_without_face`, `opening_corr_predicted`, `opening_range_ratio`,
        `closed_in_silence`, `silent_frames`, `drift`.

    Raises:
        UsageError: `file_not_found`.
        InputRefusedError: `audio_silent`, `no_audio`, or what `core.media` says of a file that it can't read.
    """
    samples = decode_audio(speech)
    check_speech_level(samples)
    heard, recorded = prepare_speech(samples), Recorded.of(clip)
    frames = np.arange(heard.frames)
    opening, stills = np.full(heard.frames, np.nan), np.full(heard.frames, np.nan)
    valid = np.nonzero(clip.valid)[0]
    order = valid[ping_pong(heard.frames, len(valid))]
    with Landmarker(tracking=True) as eyes:
        for number, rendered in enumerate(_driven(bundle, clip, order, heard)):
            context.check()
            faces = eyes.detect(rendered)
            if faces:
                opening[number] = mouth_opening(faces[0].landmarks)
            stills[number] = psnr(
                cut(rendered, recorded.still_box), cut(np.asarray(clip.frames[order[number]]), recorded.still_box)
            )
            if number % _REPORT_EVERY == 0:
                context.report("speech", number / heard.frames)
    context.report("speech", 1.0)
    seen = ~np.isnan(opening)
    predicted = shipped_predictor()(heard_around(heard.features, heard.zero, frames, 0))
    silent = judged_silence(heard.voice) & seen
    spoken = seen & (heard.voice > 0)
    agreement = correlation(opening[spoken], predicted[spoken])
    return {
        "speech": speech.name,
        "frames": heard.frames,
        "frames_without_face": int((~seen).sum()),
        "opening_corr_predicted": None if agreement is None else round(agreement, 4),
        "opening_range_ratio": _ratio(opening[seen], recorded.opening),
        "closed_in_silence": round(float(is_closed(opening[silent], recorded.opening).mean()), 4)
        if silent.any()
        else None,
        "silent_frames": int(silent.sum()),
        "drift": drift(opening, stills),
    }


def _driven(bundle: Bundle, clip: Clip, order: npt.NDArray[np.integer], heard: DrivingSpeech) -> Iterator[Frame]:
    synthesiser = open_synthesiser(bundle, clip.size)
    return synthesise(
        synthesiser,
        Motion(clip.rotations, clip.translations, clip.expression),
        order,
        lambda number: heard.windows(number, synthesiser.rest),
        lambda index: backdrop(clip.frames[index], clip.labels[index], clip.plate),
        Stopwatch(),
    )


def judged_silence(voice: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """The frames in which a mouth has to be closed.

    Args:
        voice: [F] how much each frame counts as speech, 0..1.

    Returns:
        [F] the inside of every silence of `SILENT_FRAMES`, `CLOSING_FRAMES` from its start and end.
    """
    silent = np.concatenate([[False], np.asarray(voice) == 0, [False]])
    borders = np.nonzero(np.diff(silent.astype(np.int8)))[0]
    judged = np.zeros(len(voice), bool)
    for start, end in zip(borders[::2], borders[1::2], strict=True):
        if end - start >= SILENT_FRAMES:
            judged[start + CLOSING_FRAMES : end - CLOSING_FRAMES] = True
    return judged


def is_closed(opening: npt.NDArray[np.float64], recorded: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether each opening is within `CLOSED_SHARE` of the recorded range above its lowest."""
    lowest, highest = np.percentile(recorded, [LOWEST, HIGHEST])
    return np.asarray(opening <= lowest + CLOSED_SHARE * (highest - lowest))


def drift(opening: npt.NDArray[np.float64], still_psnr: npt.NDArray[np.float64]) -> dict[str, float | None] | None:
    """The last minute beside the first: `opening_range_ratio`, and dB by which the still region became better.

    Args:
        opening: [F], NaN where no face was found.
        still_psnr: [F] dB of the still region against the recorded frame behind it.

    Returns:
        None where the speech is shorter than three minutes.
    """
    if len(opening) < DRIFT_FRAMES:
        return None
    first, last = opening[:MINUTE], opening[-MINUTE:]
    return {
        "opening_range_ratio": _ratio(last[~np.isnan(last)], first[~np.isnan(first)]),
        "still_psnr_change": round(float(still_psnr[-MINUTE:].mean() - still_psnr[:MINUTE].mean()), 3),
    }


def _ratio(opening: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]) -> float | None:
    if len(opening) < 3 or len(reference) < 3:
        return None
    spread = np.diff(np.percentile(reference, [LOWEST, HIGHEST]))[0]
    return round(float(np.diff(np.percentile(opening, [LOWEST, HIGHEST]))[0] / spread), 4) if spread > 0 else None
