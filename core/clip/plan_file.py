"""A clip's plan as two files: the stage that decides and the stage that tracks may run on different machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from core.clip.intake import Plan
from core.media import MediaInfo, Shot

_PLAN, _SOUND = "plan.json", "sound.npy"


def write_plan(plan: Plan, folder: Path) -> None:
    """Keep `plan` in `folder`, which is made here; its JSON is written last."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / _SOUND, plan.audio)
    told = {
        "info": asdict(plan.info),
        "shots": [asdict(shot) for shot in plan.shots],
        "shot": asdict(plan.shot),
        "start": plan.start,
        "count": plan.count,
        "crop": list(plan.crop),
        "face_px": plan.face_px,
        "warnings": plan.warnings,
    }
    partial = folder / (_PLAN + ".partial")
    partial.write_text(json.dumps(told))
    partial.replace(folder / _PLAN)


def has_plan(folder: Path) -> bool:
    """Whether `write_plan` has finished there."""
    return (folder / _PLAN).is_file()


def read_plan(folder: Path, video: Path) -> Plan:
    """What `write_plan` kept; `video` is where the same file lies now."""
    told = json.loads((folder / _PLAN).read_text())
    left, top, side = told["crop"]
    return Plan(
        video=video,
        info=MediaInfo(**told["info"]),
        audio=np.load(folder / _SOUND),
        shots=[_shot(shot) for shot in told["shots"]],
        shot=_shot(told["shot"]),
        start=told["start"],
        count=told["count"],
        crop=(left, top, side),
        face_px=told["face_px"],
        warnings=told["warnings"],
    )


def _shot(told: dict[str, object]) -> Shot:
    return Shot(**{**told, "jumps": tuple(told["jumps"])})  # type: ignore[arg-type]
