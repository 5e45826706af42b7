"""Prints the figures that the limits of docs/clip.md rest on.

`python -m tests.core.clip.measure_reports CLIPS_DIR`: a row for each clip, as `likeness inspect` sees its first 5 s.
`python -m tests.core.clip.measure_reports`: the generated sample, spoiled step by step: when do the landmarks go?
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from core.camera import Camera
from core.clip import ClipOptions, inspect_clip
from core.clip.build import follow_face
from core.clip.evidence import gather_evidence
from core.clip.intake import plan_clip
from core.clip.landmarks import mouth_opening
from core.clip.report import measure
from core.clip.tracking import FOCAL_AT_512, track_head
from core.errors import InputRefusedError
from core.media import VideoWriter, decode_frames, probe
from core.progress import StageContext
from core.sample import generate_sample

SHOWN = (
    "face_px", "brightness", "overexposed", "blur", "glare", "frames_covered", "frames_hand_before_face",
    "frames_with_hands", "frames_turned", "frames_at_border", "pose_rmse_px", "speech_seconds", "bits_per_face_pixel",
)  # fmt: skip


def of_clips(folder: Path) -> None:
    print("| clip |", " | ".join(SHOWN), "| codes |")
    for path in sorted(folder.rglob("*.mp4")):
        try:
            report = inspect_clip(path, ClipOptions(), StageContext())
        except InputRefusedError as error:
            print(f"| {path.stem} | refused: {error.code}")
            continue
        codes = ", ".join(warning["code"] for warning in report["warnings"])
        print(f"| {path.stem} |", " | ".join(str(report[name]) for name in SHOWN), f"| {codes} |", flush=True)


def spoilt_frames(frames: list[np.ndarray]) -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray], int]]:
    """What is done to each frame, and the encoder's quantiser."""
    assert frames
    for sigma in (0.0, 1.0, 2.0, 3.0, 4.0):
        yield f"blur of {sigma:g} px", lambda one, s=sigma: cv2.GaussianBlur(one, (0, 0), s) if s else one, 18
    for light in (0.5, 0.3, 0.2, 0.12, 0.08, 0.05, 0.03):
        yield f"light times {light}", lambda one, x=light: (one * x).astype(np.uint8), 18
    for crf in (23, 28, 33, 38, 43):
        yield f"crf {crf}", lambda one: one, crf


def of_the_sample() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sample = generate_sample(Path(folder), seconds=4, size=256)
        frames = list(decode_frames(sample.video, probe(sample.video), crop=None, size=256))
        with np.load(sample.truth) as truth:
            true = truth["mouth_opening_px"]
        print("| spoiled by | brightness | blur | bits | pose rmse px | correlation of the mouth with the truth |")
        for name, spoil, crf in spoilt_frames(frames):
            path = Path(folder) / "spoilt.mp4"
            with VideoWriter(path, 256, 256, crf=crf, audio=sample.video) as writer:
                for one in frames:
                    writer.write(np.ascontiguousarray(spoil(one)))
            try:
                plan = plan_clip(path, ClipOptions(), StageContext())
                seen = list(decode_frames(path, plan.info, crop=plan.crop, size=512, count=plan.count))
                sighting = follow_face(iter(seen), plan.count)
            except InputRefusedError as error:
                print(f"| {name} | {error.code}")
                continue
            track = track_head(sighting.landmarks, sighting.seen, Camera.centred(FOCAL_AT_512, 512))
            shown = (sighting.landmarks, sighting.seen, track, lambda number, s=seen: s[number], lambda _: None)
            found = measure(gather_evidence(plan, *shown))
            agree = np.corrcoef(mouth_opening(sighting.landmarks), true[: plan.count])[0, 1]
            told = (found["brightness"], found["blur"], found["bits_per_face_pixel"], found["pose_rmse_px"])
            print(f"| {name} |", " | ".join(f"{value:.2f}" for value in told), f"| {agree:.2f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        of_clips(Path(sys.argv[1]))
    else:
        of_the_sample()
