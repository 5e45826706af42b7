"""From a folder of clips to motion tracks on disk: intake, landmarks and head poses, without parsing. Trains nothing.

Several clips of one person are `ID.mp4`, `IDb.mp4`, ..., or any files in a folder `ID/`. A track is a folder of plain
arrays that are memory-mapped when they are used, and kept: a run that was cut off goes on.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.camera import Camera
from core.clip import footage
from core.clip.build import WORKING_SIDE, applied_lag, clip_speech, follow_face
from core.clip.canonical import canonical_face
from core.clip.expression import calibrated_expression, expression_range, raw_expression
from core.clip.intake import FRAME_SAMPLES, ClipOptions, plan_clip
from core.clip.lag import measure_lag
from core.clip.landmarks import mouth_opening
from core.clip.layout import FPS, SPEECH_MARGIN
from core.clip.speech import reduce_speech
from core.clip.tracking import FOCAL_AT_512, track_head
from core.errors import InputRefusedError, UsageError
from core.learn.motion_track import MotionTrack, displacements
from core.media import decode_frames
from core.progress import StageContext

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
QUIET = 0.1
"""Frames whose sound is below this part of the clip's 95th percentile (root mean square) count as silence."""
_CARD = "track.json"


@dataclass(frozen=True)
class CorpusClip:
    """One tracked clip of the corpus."""

    name: str
    video: Path
    track: MotionTrack
    spoken_seconds: float
    """How much of it is not silent."""

    @property
    def seconds(self) -> float:
        """Length."""
        return self.track.count / FPS


@dataclass(frozen=True)
class Corpus:
    """All usable clips of a folder, and why the others are not."""

    clips: list[CorpusClip]
    refused: dict[str, str]
    """Code of the refusal by file name."""

    @property
    def identities(self) -> list[str]:
        """The people, sorted."""
        return sorted({clip.track.identity for clip in self.clips})

    def without(self, identities: set[str]) -> Corpus:
        """The corpus without some people."""
        return Corpus([clip for clip in self.clips if clip.track.identity not in identities], self.refused)

    def report(self) -> dict[str, object]:
        """What a person should know before a long run: clips, lags, refusals, seconds and speech of everyone."""
        people = {
            identity: {
                "clips": [clip.name for clip in mine],
                "seconds": round(sum(clip.seconds for clip in mine), 2),
                "spoken_seconds": round(sum(clip.spoken_seconds for clip in mine), 2),
                "lags": [clip.track.lag for clip in mine],
            }
            for identity in self.identities
            for mine in [[clip for clip in self.clips if clip.track.identity == identity]]
        }
        return {"clips": len(self.clips), "refused": self.refused, "identities": people}


def read_corpus(folder: Path, tracks: Path, context: StageContext) -> Corpus:
    """Track all clips under `folder`.

    Args:
        folder: the clips, and folders of clips of one person each.
        tracks: where the tracks are kept.
        context: progress as stage `corpus`, cancel.

    Raises:
        UsageError: `corpus_empty`.
    """
    videos = {clip_name(folder, path): path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES}
    if not videos:
        raise UsageError("corpus_empty", f"There are no clips in {folder.name}.", f"Put {', '.join(SUFFIXES)} there.")
    clips, refused = [], {}
    for number, (name, video) in enumerate(videos.items()):
        context.report("corpus", number / len(videos))
        context.check()
        kept = tracks / name
        try:
            if not (kept / _CARD).exists():
                _track(video, kept, context)
        except InputRefusedError as error:
            refused[video.name] = error.code
            continue
        clips.append(read_track(kept, identity_of(folder, video), video))
    context.report("corpus", 1.0)
    return Corpus(clips, refused)


def clip_name(folder: Path, video: Path) -> str:
    """`id04b.mp4` -> `id04b`; `anna/monday.mp4` -> `anna-monday`."""
    return "-".join(video.relative_to(folder).with_suffix("").parts)


def identity_of(folder: Path, video: Path) -> str:
    """Whose clip it is: the folder's name within the corpus, else the file's without a letter after a number."""
    parts = video.relative_to(folder).with_suffix("").parts
    return parts[0] if len(parts) > 1 else footage.identity_of(parts[0])


def read_track(kept: Path, identity: str, video: Path) -> CorpusClip:
    """A track from its folder; the arrays stay on disk until they are asked for."""
    card = json.loads((kept / _CARD).read_text())
    arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in kept.glob("*.npy")}
    track = MotionTrack(
        identity=identity,
        zero=SPEECH_MARGIN,
        lag=card["lag"],
        frames=np.arange(len(arrays["opening"])),
        **arrays,
    )
    return CorpusClip(kept.name, video, track, card["spoken_seconds"])


def write_track(kept: Path, arrays: dict[str, npt.NDArray[np.floating]], lag: int, spoken_seconds: float) -> None:
    """Write a track's folder; its card comes last."""
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(kept / f"{name}.npy", np.ascontiguousarray(array))
    (kept / _CARD).write_text(json.dumps({"lag": lag, "spoken_seconds": round(spoken_seconds, 2)}))


def _track(video: Path, kept: Path, context: StageContext) -> None:
    plan = plan_clip(video, ClipOptions(size=WORKING_SIDE, seconds=None), context)
    pictures = decode_frames(
        video, plan.info, crop=plan.crop, size=WORKING_SIDE, start_frame=plan.start, count=plan.count
    )
    sighting = follow_face(pictures, plan.count)
    camera = Camera.centred(FOCAL_AT_512, WORKING_SIDE)
    track = track_head(sighting.landmarks, sighting.seen, camera, jumps=plan.jumps)
    raw = raw_expression(sighting.blendshapes)
    speech = reduce_speech(clip_speech(plan.audio, plan.start, plan.count))
    opening = mouth_opening(sighting.landmarks)
    lag = measure_lag(speech, SPEECH_MARGIN, opening, sighting.seen)
    vertices = canonical_face().vertices
    arrays: dict[str, npt.NDArray[np.floating]] = {
        "speech": speech,
        "expression": calibrated_expression(raw, expression_range(raw[sighting.seen])),
        "rotations": track.rotations.astype(np.float32),
        "displacement": displacements(sighting.landmarks, track.rotations, track.translations, camera, vertices),
        "opening": opening,
        "pixels_per_metre": (camera.fx / track.translations[:, 2]).astype(np.float32),
    }
    sound = plan.audio[plan.start * FRAME_SAMPLES : (plan.start + plan.count) * FRAME_SAMPLES]
    write_track(kept, arrays, applied_lag(lag), _spoken_seconds(sound))


def _spoken_seconds(sound: npt.NDArray[np.float32]) -> float:
    whole = sound[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    loudness = np.sqrt((whole.astype(np.float64) ** 2).mean(1))
    return float((loudness > QUIET * np.percentile(loudness, 95)).sum()) / FPS
