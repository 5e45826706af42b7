"""What we would make of a clip, without making it: a verdict, measurements, warnings. Writes no files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from core.camera import Camera
from core.clip.build import (
    STAGE,
    WORKING_SIDE,
    check_sighting,
    clip_speech,
    follow_face,
    measure_sighting_lag,
)
from core.clip.intake import FRAME_SAMPLES, ClipOptions, Plan, plan_clip
from core.clip.landmarks import mouth_opening
from core.clip.layout import FPS
from core.clip.rotations import yaw_pitch_roll
from core.clip.tracking import FOCAL_AT_512, short_gaps, track_head
from core.media import decode_frames, loud_seconds
from core.progress import StageContext

_BLURRED = 12.0
"""Variance of the Laplacian inside the face box at 512 pixels, below which a warning is due."""
_TURNED_DEGREES = 30.0
_QUIET_DB = -38.0
_STILL_MOUTH = 0.01
_OUT_OF_SYNC = 1


def inspect_clip(video: Path, options: ClipOptions, context: StageContext) -> dict[str, object]:
    """Judge a clip as `build_clip` would, and measure it.

    Returns:
        `verdict` ("usable" or "usable_with_warnings"), `duration_s`, `fps`, `size` [width, height], `shots` (start and
        end in seconds), `used` (start and end in seconds), `crop`, `face_px`, `frames_without_face`, `yaw_degrees`
        [lowest, highest], `pitch_degrees`, `pose_rmse_px`, `sharpness`, `loudness_dbfs`, `speech_seconds`,
        `mouth_opening_sd`, `lag_frames` (null where the measurement is not sure), `lag_correlation`, `warnings` (code,
        message).

    Raises:
        InputRefusedError: as `build_clip`.
    """
    plan = plan_clip(video, options, context)
    context.report(STAGE, 0.4)
    sharpness: list[float] = []
    pictures = decode_frames(
        plan.video, plan.info, crop=plan.crop, size=WORKING_SIDE, start_frame=plan.start, count=plan.count
    )

    def watched() -> Iterator[npt.NDArray[np.uint8]]:
        for number, picture in enumerate(pictures):
            context.check()
            context.report(STAGE, 0.4 + 0.5 * number / plan.count)
            if number % 10 == 0:
                sharpness.append(_sharpness(picture))
            yield picture

    sighting = follow_face(watched(), plan.count)
    check_sighting(sighting, plan)
    track = track_head(sighting.landmarks, sighting.seen, Camera.centred(FOCAL_AT_512, WORKING_SIDE))
    angles = yaw_pitch_roll(track.rotations[sighting.seen])
    opening = mouth_opening(sighting.landmarks[sighting.seen])
    sound = plan.audio[plan.start * FRAME_SAMPLES : (plan.start + plan.count) * FRAME_SAMPLES]
    lag = measure_sighting_lag(clip_speech(plan.audio, plan.start, plan.count), sighting)
    loudness = float(20 * np.log10(np.sqrt(np.mean(sound.astype(np.float64) ** 2)) + 1e-9))
    measured: dict[str, object] = {
        "duration_s": round(plan.info.duration_s, 3),
        "fps": round(plan.info.fps, 3),
        "size": [plan.info.width, plan.info.height],
        "shots": [[shot.start / FPS, shot.stop / FPS] for shot in plan.shots],
        "used": [plan.start / FPS, (plan.start + plan.count) / FPS],
        "crop": list(plan.crop),
        "face_px": round(plan.face_px, 1),
        "frames_without_face": int((~sighting.seen).sum()),
        "yaw_degrees": [round(float(angles[:, 0].min()), 1), round(float(angles[:, 0].max()), 1)],
        "pitch_degrees": [round(float(angles[:, 1].min()), 1), round(float(angles[:, 1].max()), 1)],
        "pose_rmse_px": round(track.rmse, 2),
        "sharpness": round(float(np.median(sharpness)), 1),
        "loudness_dbfs": round(loudness, 1),
        "speech_seconds": round(loud_seconds(sound), 2),
        "mouth_opening_sd": round(float(opening.std()), 4),
        "lag_frames": lag.frames if lag.sure else None,
        "lag_correlation": round(lag.correlation, 3),
    }
    warnings = [*plan.warnings, *_warnings(plan, measured, angles, sighting.seen)]
    if lag.sure and abs(lag.frames) > _OUT_OF_SYNC:
        warnings.append({"code": "out_of_sync", "message": f"Sound and lips are {lag.frames} frames apart; corrected."})
    if not lag.sure:
        warnings.append(
            {"code": "lag_unsure", "message": "The lips follow this voice too little to measure their lag."}
        )
    return {"verdict": "usable_with_warnings" if warnings else "usable", **measured, "warnings": warnings}


def _sharpness(picture: npt.NDArray[np.uint8]) -> float:
    middle = picture[WORKING_SIDE // 4 : 3 * WORKING_SIDE // 4, WORKING_SIDE // 4 : 3 * WORKING_SIDE // 4]
    return float(cv2.Laplacian(cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())


def _warnings(
    plan: Plan,
    measured: dict[str, object],
    angles: npt.NDArray[np.float64],
    seen: npt.NDArray[np.bool_],
) -> list[dict[str, str]]:
    found = []
    if float(str(measured["sharpness"])) < _BLURRED:
        found.append({"code": "blurred", "message": "The picture is soft; the head will be no sharper."})
    if float(np.abs(angles[:, 0]).max()) > _TURNED_DEGREES:
        found.append({"code": "head_turned", "message": "The head turns far to the side in some frames."})
    if float(str(measured["loudness_dbfs"])) < _QUIET_DB:
        found.append({"code": "quiet", "message": "The voice is quiet; lips may follow it less well."})
    if float(str(measured["mouth_opening_sd"])) < _STILL_MOUTH:
        found.append({"code": "mouth_still", "message": "The mouth hardly moves in this part: is it the speaker's?"})
    if not (seen | short_gaps(seen)).all():
        found.append({"code": "face_lost", "message": "The face is away for more than 5 frames; those are left out."})
    if len(plan.shots) > 1:
        found.append({"code": "cut", "message": "The clip has cuts; only its longest shot is used."})
    if plan.shot.jumps:
        found.append({"code": "jump_cut", "message": "The shot holds a jump cut; motion is smoothed across it."})
    return found
