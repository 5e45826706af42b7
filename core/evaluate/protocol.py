"""`likeness evaluate`: the avatar plays the end of a recording again, and is measured against it.

Self-reconstruction, as the paper tests it: speech, pose, expression, torso and background come from the recorded test
frames, and only the head is synthesised. Definitions: docs/metrics.md. Knows no jobs and no terminal.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.bundle.file import Bundle, read_bundle
from core.bundle.portrait import reference
from core.clip import ClipOptions, build_clip
from core.clip.backdrop import backdrop
from core.clip.landmarks import Face, Landmarker
from core.clip.layout import FPS, Clip
from core.clip.speech import reduce_speech, speech_windows
from core.errors import InputRefusedError, UsageError
from core.evaluate.driven import measure_driven
from core.evaluate.lip_sync import LipSync
from core.evaluate.mouth import MouthInside
from core.evaluate.pictures import face_box
from core.evaluate.scores import Scores
from core.evaluate.seam import Seam
from core.media.encode import VideoWriter
from core.progress import StageContext
from core.provenance.label import DisclosureLabel
from core.render.scene import open_synthesiser
from core.render.synthesis import Frame, Motion, Stopwatch, synthesise

STAGE = "evaluate"
FEWEST_FRAMES, MOST_FRAMES = 25, 3000
_CHOICE = re.compile(r"last:(\d{1,5})")
_REPORT_EVERY = 10


def evaluate(
    bundle: Path,
    video: Path,
    *,
    frames: str = "last:301",
    side_by_side: Path | None = None,
    speech: Sequence[Path] = (),
    context: StageContext,
) -> dict[str, object]:
    """Measure an avatar against frames it has not learned from.

    Args:
        bundle: the `.likeness` file.
        video: the recording it was made from, or another of the same person with the same camera.
        frames: `last:N`: the last N frames of the longest shot.
        side_by_side: where to write recorded | rendered as an MP4, or None.
        speech: other recordings, to be spoken over the same frames.
        context: progress as stages `evaluate` and `speech` (and those of `build_clip`), and cancelling.

    Returns:
        The JSON of `likeness evaluate`; a figure that could not be had is None, and `missing` names the reason.

    Raises:
        UsageError: `frames_unknown`, `file_not_found`.
        InputRefusedError: what `build_clip` says of the video; `no_face` where no test frame shows a face.
        BundleError: see `read_bundle`.
    """
    last_frames = _last_frames(frames)
    opened = read_bundle(bundle)
    with tempfile.TemporaryDirectory(prefix="likeness-evaluate-") as scratch:
        wanted = ClipOptions(size=opened.manifest.size, last_frames=last_frames, reference=reference(opened))
        clip = build_clip(video, Path(scratch) / "clip", wanted, context)
        figures = measure(opened, clip, side_by_side, context)
        if speech:
            figures["speech"] = [measure_driven(opened, clip, recording, context) for recording in speech]
        return figures


def measure(bundle: Bundle, clip: Clip, side_by_side: Path | None, context: StageContext) -> dict[str, object]:
    """The figures of `evaluate` for a clip that is prepared already, with the bundle's own reference.

    Raises:
        InputRefusedError: `no_face` where none of its frames is valid.
        MissingModelError: `own_model_missing`, `own_model_unusable` of SyncNet's weights, where they are set.
    """
    order = np.nonzero(clip.valid)[0]
    if not len(order):
        raise InputRefusedError("no_face", "No test frame shows a face.", "Choose frames in which the face is seen.")
    scores = Scores(face_box(clip.landmarks[order], clip.size), len(order))
    stopwatch, seam, mouth, lip_sync = Stopwatch(), Seam(), MouthInside(), LipSync()
    audio = clip.folder / "audio.wav"
    writer: AbstractContextManager[VideoWriter | None] = nullcontext()
    if side_by_side is not None:
        writer = VideoWriter(side_by_side, 2 * clip.size, clip.size, fps=FPS, audio=audio if audio.is_file() else None)
    mark = DisclosureLabel.for_size(clip.size, clip.size)
    with (
        Landmarker(tracking=True) as rendered_eyes,
        Landmarker(tracking=True) as recorded_eyes,
        writer as film,
    ):
        for number, rendered in enumerate(_rendered(bundle, clip, order, stopwatch)):
            context.check()
            recorded = np.asarray(clip.frames[order[number]])
            labels = np.asarray(clip.labels[order[number]])
            seam.add(rendered, recorded, labels)
            mouth.add(rendered, recorded, labels)
            faces = _face(rendered_eyes, rendered), _face(recorded_eyes, recorded)
            scores.add(rendered, recorded, *faces)
            lip_sync.add(rendered, recorded, *faces)
            if film is not None:
                film.write(np.concatenate([recorded, mark.burn(rendered)], axis=1))
            if number % _REPORT_EVERY == 0:
                context.report(STAGE, number / len(order))
    context.report(STAGE, 1.0)
    fps = stopwatch.fps
    figures = scores.report()
    missing = figures.pop("missing")
    if lip_sync.asked:
        figures["syncnet"], reason = lip_sync.report(audio)
        if reason is not None and isinstance(missing, dict):
            missing["syncnet"] = reason
    return {
        **figures,
        "psnr_mouth": mouth.psnr,
        "seam_ratio": seam.ratio,
        "fps_model": None if fps is None else round(fps, 2),
        "train_overlap_frames": _overlap(bundle, clip),
        "missing": missing,
    }


def _rendered(bundle: Bundle, clip: Clip, order: npt.NDArray[np.integer], stopwatch: Stopwatch) -> Iterator[Frame]:
    features, lag = reduce_speech(clip.speech, clip.speech_features), clip.reference.lag_frames
    return synthesise(
        open_synthesiser(bundle, clip.size),
        Motion(clip.rotations, clip.translations, clip.expression),
        order,
        lambda number: speech_windows(features, clip.speech_zero, order[number : number + 1], lag)[0],
        lambda index: backdrop(clip.frames[index], clip.labels[index], clip.plate),
        stopwatch,
    )


def _face(eyes: Landmarker, frame: Frame) -> Face | None:
    faces = eyes.detect(frame)
    return faces[0] if faces else None


def _overlap(bundle: Bundle, clip: Clip) -> int:
    """Test frames that the avatar has learned from, if the video is the one that it was made from."""
    source = bundle.manifest.source_frames
    first, last = max(source.start, clip.start_frame), min(source.start + source.count, clip.start_frame + clip.count)
    return max(0, last - first)


def _last_frames(choice: str) -> int:
    match = _CHOICE.fullmatch(choice)
    if match is None or not FEWEST_FRAMES <= int(match[1]) <= MOST_FRAMES:
        raise UsageError(
            "frames_unknown",
            f"The choice of frames '{choice[:40]}' is not understood.",
            f"Write last:N with N from {FEWEST_FRAMES} to {MOST_FRAMES}, for example last:301.",
        )
    return int(match[1])
