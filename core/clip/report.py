"""The report on a clip: verdict, measurements, and what its user should know, from evidence gathered elsewhere.

The same report is printed by `likeness inspect`, kept in the clip's folder, and stored with the job. Reads and decodes
nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.clip.checks import CHECKS, HINTS, Finding, Limit
from core.clip.evidence import Evidence
from core.clip.lag import Lag
from core.clip.landmarks import mouth_opening
from core.clip.layout import FPS
from core.clip.rotations import yaw_pitch_roll
from core.clip.tracking import short_gaps
from core.clip.voicing import voiced_frames
from core.errors import InputRefusedError

REPORT = "report.json"
_WORKING_SIDE = 512
_COVERED = 0.2
"""Share of the face under a patch that is not the person's, from which on a frame counts as covered. Of the real clips
only one reaches it, where long hair falls over the cheek (docs/clip.md)."""
_TURNED_DEGREES, _AWAY_DEGREES = 30.0, 45.0
_BORDER_PX = 3.0
"""At 512 pixels: a mesh that comes this near to the recording's own border touches it."""
_OUT_OF_SYNC = 1


def measure(evidence: Evidence) -> dict[str, Any]:
    """Every measurement, by the names that docs/clip.md lists, as plain numbers; None where one could not be had."""
    plan, seen, looks = evidence.plan, evidence.seen, evidence.appearance
    angles = yaw_pitch_roll(evidence.track.rotations[seen])
    away = np.abs(angles[:, :2]).max(1)
    searched = looks.hands[looks.hands >= 0]
    sound = evidence.sound
    rate = plan.info.video_kbps * 1000 / (plan.info.fps * plan.face_px**2)
    measured: dict[str, Any] = {
        "face_px": plan.face_px,
        "frames_without_face": int((~seen).sum()),
        "brightness": float(np.median(looks.brightness)),
        "overexposed": float(np.median(looks.full)),
        "blur": float(np.median(looks.blur)),
        "glare": float(np.median(looks.glare)),
        "frames_covered": float((looks.covered > _COVERED).mean()),
        "frames_hand_before_face": float((searched == 2).mean()) if len(searched) else None,
        "frames_with_hands": float((searched >= 1).mean()) if len(searched) else None,
        "yaw_degrees": [round(float(angles[:, 0].min()), 1), round(float(angles[:, 0].max()), 1)],
        "pitch_degrees": [round(float(angles[:, 1].min()), 1), round(float(angles[:, 1].max()), 1)],
        "frames_turned": float((away > _TURNED_DEGREES).mean()),
        "frames_turned_away": float((away > _AWAY_DEGREES).mean()),
        "frames_at_border": float(_at_border(evidence).mean()),
        "pose_rmse_px": evidence.track.rmse,
        "loudness_dbfs": float(20 * np.log10(np.sqrt(np.mean(sound.astype(np.float64) ** 2)) + 1e-6)),
        "speech_seconds": int(voiced_frames(sound, plan.count).sum()) / FPS,
        "mouth_opening_sd": float(mouth_opening(evidence.landmarks[seen]).std()),
        "bits_per_face_pixel": rate if plan.info.video_kbps > 0 else None,
    }
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in measured.items()}


def refuse_unusable(evidence: Evidence) -> None:
    """Refuse a clip that can be seen and heard but not learned from.

    Raises:
        InputRefusedError: `too_dark`, `too_blurred`, `face_covered`, `head_turned_away`, `no_speech`.
    """
    measured = measure(evidence)
    for check in CHECKS:
        missed = check.missed(measured[check.name])
        if missed is not None and missed[1]:
            raise InputRefusedError(missed[0].code, missed[0].message, missed[0].hint)


def make_report(evidence: Evidence, lag: Lag) -> dict[str, Any]:
    """The report on a clip that was not refused.

    Returns:
        `verdict` ("usable" or "usable_with_warnings"), `warnings` (code, message, hint), what was read (`duration_s`,
        `fps`, `size`, `shots`, `used`, `crop`), everything that `measure` names, `lag_frames` (null where it is not
        sure) and `lag_correlation`, and `limits`: name -> `least`, and the values that lead to a warning and a refusal.
    """
    plan, measured = evidence.plan, measure(evidence)
    findings = [Finding(one["code"], one["message"], HINTS[one["code"]]) for one in plan.warnings]
    known = {one.code for one in findings}
    missed = (check.missed(measured[check.name]) for check in CHECKS)
    findings += [one[0] for one in missed if one is not None and one[0].code not in known]
    findings += _about_time(evidence, lag)
    return {
        "verdict": "usable_with_warnings" if findings else "usable",
        "warnings": [one.as_dict() for one in findings],
        "duration_s": round(plan.info.duration_s, 3),
        "fps": round(plan.info.fps, 3),
        "size": [plan.info.width, plan.info.height],
        "shots": [[shot.start / FPS, shot.stop / FPS] for shot in plan.shots],
        "used": [plan.start / FPS, (plan.start + plan.count) / FPS],
        "crop": list(plan.crop),
        **measured,
        "lag_frames": lag.frames if lag.sure else None,
        "lag_correlation": round(lag.correlation, 3),
        "limits": {check.name: _limits(check.least, check.warning, check.refusal) for check in CHECKS},
    }


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Keep the report in a clip's folder."""
    (folder / REPORT).write_text(json.dumps(report, indent=1, allow_nan=False))


def read_report(folder: Path) -> dict[str, Any] | None:
    """The report of a clip's folder; None where an earlier version of this project made it."""
    path = folder / REPORT
    return dict(json.loads(path.read_text())) if path.exists() else None


def _limits(least: bool, warning: Limit | None, refusal: Limit | None) -> dict[str, Any]:
    return {
        "least": least,
        "warning": None if warning is None else warning.value,
        "refusal": None if refusal is None else refusal.value,
    }


def _at_border(evidence: Evidence) -> npt.NDArray[np.bool_]:
    """[T] whether the face's mesh touches the recording's border."""
    left, top, side = evidence.plan.crop
    unit = side / _WORKING_SIDE
    points = evidence.landmarks[..., :2] * unit + np.array([left, top], np.float32)
    margin = _BORDER_PX * unit
    info = evidence.plan.info
    beyond = (points < margin) | (points > np.array([info.width, info.height]) - margin)
    return np.asarray(beyond.any((1, 2)) & evidence.seen)


def _about_time(evidence: Evidence, lag: Lag) -> list[Finding]:
    plan, seen = evidence.plan, evidence.seen
    told = []
    if not (seen | short_gaps(seen)).all():
        told.append(("face_lost", "The face is away for more than 5 frames; those are left out."))
    if len(plan.shots) > 1:
        told.append(("cut", f"The clip has {len(plan.shots) - 1} cuts; only its longest shot is used."))
    if plan.shot.jumps:
        told.append(("jump_cut", "The shot holds a jump cut; the head jumps there."))
    if not lag.sure:
        told.append(("lag_unsure", f"The lips follow this voice too little ({lag.correlation:.2f}) to tell their lag."))
    elif abs(lag.frames) > _OUT_OF_SYNC:
        told.append(("out_of_sync", f"Sound and lips are {lag.frames} frames apart; corrected."))
    return [Finding(code, message, HINTS[code]) for code, message in told]
