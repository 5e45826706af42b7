"""`likeness pretrain`: a folder of clips in, one universal motion field out (paper section 3.2, by landmarks).

The audio-video lag of each clip decides everything (feasibility file), so it is measured and taken out first.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from core.avatar import FaceField
from core.clip.canonical import canonical_face
from core.clip.lag import measure_lag
from core.clip.layout import SPEECH_MARGIN
from core.clip.speech import REDUCED_DIMENSION, speech_encoder
from core.learn.corpus import CorpusClip, read_corpus
from core.learn.motion_prior import PriorSchedule, opening_correlation, train_motion_prior
from core.learn.umf import FORMAT, UmfCard, write_umf
from core.progress import StageContext
from core.version import project_version


def pretrain(
    corpus: Path,
    output: Path,
    workdir: Path,
    schedule: PriorSchedule,
    seed: int,
    context: StageContext,
    validate: Path | None = None,
) -> dict[str, object]:
    """Train a field and write it with its card.

    Args:
        corpus: folder of clips (see core.learn.corpus).
        output: the UMF file.
        workdir: tracks are kept here: what a run that was cut off goes on from.
        schedule: of the regression.
        seed: of everything random.
        context: progress as stages `corpus`, `prior`.
        validate: folder of clips of people who are not in the corpus, judged zero-shot and never learned from.

    Returns:
        `umf`, `clips`, `refused`, `seconds`, `lags` (frames by clip), `correlation` (of predicted and tracked mouth
        opening on the training clips: fit, not quality), and with `validate` the same of people never seen:
        `validation` (name -> lag and correlation).
    """
    clips, refused = read_corpus(corpus, workdir / "tracks", context)
    vertices = torch.from_numpy(canonical_face().vertices.astype(np.float32))
    lags = {clip.name: clip_lag(clip) for clip in clips}
    tracks = [clip.track(lags[clip.name]) for clip in clips]
    field = train_motion_prior(tracks, vertices, schedule, seed, context)
    fit = {c.name: round(opening_correlation(field, t, vertices), 3) for c, t in zip(clips, tracks, strict=True)}
    seconds = {clip.name: round(clip.seconds, 2) for clip in clips}
    card = UmfCard(
        FORMAT, speech_encoder().name, REDUCED_DIMENSION, field.layers[0].shape[0], seconds, schedule.iterations,
        project_version(), "Apache-2.0",
    )  # fmt: skip
    write_umf(output, field, card)
    report: dict[str, object] = {
        "umf": str(output),
        "clips": len(clips),
        "refused": refused,
        "seconds": seconds,
        "lags": lags,
        "correlation": fit,
        "validation": {} if validate is None else _judge(field, validate, workdir, vertices, context),
        "schedule": asdict(schedule),
    }
    (workdir / "report.json").write_text(json.dumps(report, indent=1))
    return report


def _judge(
    field: FaceField, folder: Path, workdir: Path, vertices: torch.Tensor, context: StageContext
) -> dict[str, dict[str, float]]:
    judged = {}
    for clip in read_corpus(folder, workdir / "validation", context)[0]:
        lag = clip_lag(clip)
        correlation = opening_correlation(field, clip.track(lag), vertices)
        judged[clip.name] = {"lag": lag, "correlation": round(correlation, 3)}
    return judged


def clip_lag(clip: CorpusClip) -> int:
    """The clip's audio-video lag in frames where it can be told, else 0."""
    lag = measure_lag(clip.speech, SPEECH_MARGIN, clip.opening, np.ones(len(clip.opening), np.bool_))
    return lag.frames if lag.sure else 0
