"""From a folder of clips to motion tracks: intake, landmarks and head poses, without parsing. Trains nothing.

Several clips of one person are named `ID.mp4`, `IDb.mp4`, ...; a track is cached, so a run that was cut off goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from core.camera import Camera
from core.clip.build import WORKING_SIDE, clip_speech, follow_face
from core.clip.canonical import canonical_face
from core.clip.expression import calibrated_expression, expression_range, raw_expression
from core.clip.footage import identity_of
from core.clip.intake import ClipOptions, plan_clip
from core.clip.landmarks import mouth_opening
from core.clip.layout import FPS, SPEECH_MARGIN
from core.clip.speech import reduce_speech, speech_windows
from core.clip.tracking import FOCAL_AT_512, track_head
from core.errors import InputRefusedError, UsageError
from core.learn.motion_prior import MotionTrack, displacements
from core.media import decode_frames
from core.progress import StageContext

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")


@dataclass(frozen=True)
class CorpusClip:
    """One tracked clip of the corpus."""

    name: str
    identity: str
    speech: npt.NDArray[np.float32]
    """[n, 64] reduced speech, `SPEECH_MARGIN` steps before frame 0."""
    expression: npt.NDArray[np.float32]
    rotations: npt.NDArray[np.float64]
    displacement: npt.NDArray[np.float32]
    """[T, 468, 3] metres in head space, about the clip's mean."""
    opening: npt.NDArray[np.float64]

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.opening) / FPS

    def track(self, lag: int) -> MotionTrack:
        """The training view, with the speech of frame f taken at frame f + lag."""
        windows = speech_windows(self.speech, SPEECH_MARGIN, np.arange(len(self.opening)), lag)
        return MotionTrack(
            self.identity,
            torch.from_numpy(np.ascontiguousarray(windows, dtype=np.float32)),
            torch.from_numpy(self.expression),
            torch.from_numpy(self.rotations.astype(np.float32)),
            torch.from_numpy(self.displacement),
            self.opening,
        )


def read_corpus(folder: Path, cache: Path, context: StageContext) -> tuple[list[CorpusClip], dict[str, str]]:
    """All usable clips under `folder`, and a code for each that was refused.

    Raises:
        UsageError: `corpus_empty`.
    """
    videos = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not videos:
        raise UsageError("corpus_empty", f"There are no clips in {folder.name}.", f"Put {', '.join(SUFFIXES)} there.")
    cache.mkdir(parents=True, exist_ok=True)
    clips, refused = [], {}
    for number, video in enumerate(videos):
        context.report("corpus", number / len(videos))
        try:
            clips.append(_cached(video, cache, context))
        except InputRefusedError as error:
            refused[video.name] = error.code
    context.report("corpus", 1.0)
    return clips, refused


def _cached(video: Path, cache: Path, context: StageContext) -> CorpusClip:
    path = cache / f"{video.stem}.npz"
    if not path.exists():
        clip = _read(video, context)
        partial = path.with_suffix(".partial.npz")
        np.savez(
            partial,
            speech=clip.speech,
            expression=clip.expression,
            rotations=clip.rotations,
            displacement=clip.displacement,
            opening=clip.opening,
        )
        partial.replace(path)
    with np.load(path, allow_pickle=False) as file:
        return CorpusClip(video.stem, identity_of(video.stem), **{name: file[name] for name in file.files})


def _read(video: Path, context: StageContext) -> CorpusClip:
    plan = plan_clip(video, ClipOptions(size=WORKING_SIDE, seconds=None), context)
    pictures = decode_frames(
        video, plan.info, crop=plan.crop, size=WORKING_SIDE, start_frame=plan.start, count=plan.count
    )
    sighting = follow_face(pictures, plan.count)
    camera = Camera.centred(FOCAL_AT_512, WORKING_SIDE)
    track = track_head(sighting.landmarks, sighting.seen, camera)
    raw = raw_expression(sighting.blendshapes)
    vertices = canonical_face().vertices
    moved = displacements(sighting.landmarks, track.rotations, track.translations, camera, vertices)
    return CorpusClip(
        video.stem,
        identity_of(video.stem),
        reduce_speech(clip_speech(plan.audio, plan.start, plan.count)),
        calibrated_expression(raw, expression_range(raw[sighting.seen])),
        track.rotations,
        moved - moved.mean(0),
        mouth_opening(sighting.landmarks),
    )
