"""What we would make of a clip, without making it: the report, and on request a picture that shows what was found.

Leaves nothing behind but that picture.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.camera import Camera
from core.clip.appearance import look_distance
from core.clip.build import (
    STAGE,
    WORKING_SIDE,
    check_sighting,
    clip_speech,
    follow_face,
    measure_sighting_lag,
)
from core.clip.contact_sheet import Shown, draw_sheet
from core.clip.evidence import gather_evidence
from core.clip.intake import ClipOptions, plan_clip
from core.clip.parallel import attend
from core.clip.report import make_report, refuse_unusable
from core.clip.tracking import FOCAL_AT_512, track_head
from core.media import decode_frames, write_png
from core.progress import StageContext

_PLANNED = 0.15
"""How much of the stage `plan_clip` reports."""

Picture = npt.NDArray[np.uint8]


def inspect_clip(video: Path, options: ClipOptions, context: StageContext, sheet: Path | None = None) -> dict[str, Any]:
    """Judge a clip as `build_clip` would, and measure it.

    Args:
        video: as for `build_clip`.
        options: as for `build_clip`.
        context: progress is reported as stage `preprocess`.
        sheet: where the contact sheet goes, a PNG; None draws none, which is quicker.

    Returns:
        The report (`core.clip.report.make_report`).

    Raises:
        InputRefusedError: as `build_clip`.
        MissingModelError: a model file is not on this machine.
        CancelledError: as the context says.
    """
    plan = plan_clip(video, options, context)
    apart = look_distance(plan.count)
    end = 0.8 if sheet is None else 0.6
    with tempfile.TemporaryDirectory(prefix="likeness-inspect-") as folder:
        kept = _pictures_file(Path(folder), -(-plan.count // apart))
        tick = context.within(STAGE, _PLANNED, end)

        def watched() -> Iterator[Picture]:
            stream = decode_frames(
                plan.video, plan.info, crop=plan.crop, size=WORKING_SIDE, start_frame=plan.start, count=plan.count
            )
            for number, picture in enumerate(stream):
                tick(number / plan.count)
                if number % apart == 0:
                    kept[number // apart] = picture
                yield picture

        def picture_of(number: int) -> Picture:
            return np.asarray(kept[number // apart])

        sighting = follow_face(watched(), plan.count, context.check)
        check_sighting(sighting, plan)
        camera = Camera.centred(FOCAL_AT_512, WORKING_SIDE)
        followed = attend(
            lambda: track_head(sighting.landmarks, sighting.seen, camera, jumps=plan.jumps), lambda: tick(1.0)
        )
        watch = context.within(STAGE, end, end + 0.1)
        evidence = gather_evidence(plan, sighting.landmarks, sighting.seen, followed, picture_of, watch)
        refuse_unusable(evidence)
        speech = attend(lambda: clip_speech(plan.audio, plan.start, plan.count), lambda: watch(1.0))
        lag = measure_sighting_lag(speech, sighting)
        report = make_report(evidence, lag)
        if sheet is not None:
            shown = Shown(video.name, report, evidence, lag, camera, picture_of)
            write_png(sheet, draw_sheet(shown, context.within(STAGE, end + 0.1, 1.0)))
    context.report(STAGE, 1.0)
    return report


def _pictures_file(folder: Path, count: int) -> Picture:
    """[count, 512, 512, 3] on disk: memory does not grow with the clip's length."""
    shape = (count, WORKING_SIDE, WORKING_SIDE, 3)
    return np.lib.format.open_memmap(folder / "pictures.npy", mode="w+", dtype=np.uint8, shape=shape)
