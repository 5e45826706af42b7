"""`likeness pretrain`: a folder of clips in, one universal motion field out (paper section 3.2).

The face is learned from landmarks, then shown in pictures, and the mouth from pictures behind it. The audio-video lag
of each clip decides everything (feasibility file), so it is measured and taken out first.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.avatar import FaceField, MouthField
from core.clip.canonical import canonical_face
from core.clip.speech import REDUCED_DIMENSION, speech_encoder
from core.errors import InputRefusedError, UsageError
from core.learn.corpus import Corpus, read_corpus
from core.learn.curves import draw_curves
from core.learn.filmed import filmed_corpus, prepare_pictures
from core.learn.judging import opening_correlation
from core.learn.motion_prior import PriorSchedule, train_motion_prior
from core.learn.photometric import Photographed, PhotometricSchedule, train_photometric
from core.learn.portraits import write_portraits
from core.learn.run_folder import RunFolder
from core.learn.together import ALONE, Together
from core.learn.umf import FORMAT, UmfCard, write_umf
from core.progress import StageContext
from core.version import project_version

Report = dict[str, object]
PICTURES = "pictures"
"""Folder of the prepared clips in a work folder."""


def usable_corpus(folder: Path, workdir: Path, context: StageContext) -> Corpus:
    """The tracked corpus; its report is left in `workdir/corpus.json`.

    Raises:
        UsageError: `corpus_empty`.
        InputRefusedError: `corpus_refused`: none of the clips can be used.
    """
    corpus = read_corpus(folder, workdir / "tracks", context)
    (workdir / "corpus.json").write_text(json.dumps(corpus.report(), indent=1))
    if not corpus.clips:
        raise InputRefusedError(
            "corpus_refused",
            f"None of the {len(corpus.refused)} clips can be used: {', '.join(sorted(set(corpus.refused.values())))}.",
            "Check them one by one with `likeness inspect`.",
        )
    return corpus


def pretrain(
    folder: Path,
    output: Path,
    workdir: Path,
    schedule: PriorSchedule,
    seed: int,
    context: StageContext,
    validate: Path | None = None,
    announce: Callable[[Report], None] = lambda _: None,
    together: Together = ALONE,
    photometric: PhotometricSchedule | None = None,
) -> Report:
    """Train a field and write it with its card.

    Args:
        folder: of clips (see core.learn.corpus).
        output: the UMF file; the first process writes it.
        workdir: tracks, checkpoints and curves are kept here: what a run that was cut off goes on from. With
            `photometric` the corpus as pictures too (about 1 MB a frame), and `portraits`, everyone drawn beside the
            recorded frame.
        schedule: of the regression.
        seed: of everything random.
        context: progress as stages `corpus`, `prior`, and with `photometric` `pictures`, `face` and `mouth`.
        validate: folder of clips of people who are not in the corpus, judged zero-shot and never learned from.
        announce: told the corpus report before anything is learned.
        together: this process among others.
        photometric: of the stages that learn from pictures; None leaves them out, and the file has no mouth field.

    Returns:
        `umf`, `clips`, `refused`, `seconds`, `lags` (frames by clip), `correlation` (of predicted and tracked mouth
        opening on the training clips: fit, not quality), `without_pictures` (code of the refusal by clip), `schedule`,
        `photometric` (its schedule, or null), `iterations_per_s` (by stage, of this attempt; null where nothing was
        left to do), `peak_rss_mb`, and with `validate` the correlation for people never seen: `validation` (name -> lag
        and correlation).

    Raises:
        UsageError: `corpus_empty`, `too_many_processes`; `workdir_of_another_run` where `workdir` holds a run of other
            clips, options or seed.
        InputRefusedError: `corpus_refused`.
        CancelledError: after a checkpoint was written.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    if together.rank > 0:
        together.wait()  # the first process tracks, the others find its tracks
    corpus = usable_corpus(folder, workdir, context)
    others = Corpus([], {}) if validate is None else read_corpus(validate, workdir / "validation", context)
    _claim(workdir, corpus, (schedule, photometric), seed, together)
    without_pictures = {} if photometric is None else prepare_pictures(corpus, workdir / PICTURES, context)
    if together.rank == 0:
        together.wait()
        announce(corpus.report())
    vertices = torch.from_numpy(canonical_face().vertices.astype(np.float32))
    run = RunFolder(workdir / "prior", together)
    mine = _mine(corpus, without_pictures, together)
    tracks = [clip.track for clip in corpus.clips if clip.track.identity in mine]
    watch = _Watch(others, vertices)
    started, from_iteration = time.monotonic(), max(run.iterations(), default=0)
    field = train_motion_prior(tracks, vertices, schedule, seed, context, run, watch, together)
    left = schedule.iterations - from_iteration
    rates: dict[str, float | None] = {"prior": round(left / (time.monotonic() - started), 2) if left else None}
    mouth: MouthField | None = None
    if photometric is not None:
        seen = _photograph(corpus, mine, field, photometric, seed, context, workdir, watch, together)
        field, mouth, rates = seen.face, seen.mouth, rates | seen.rates
    seconds = {clip.name: round(clip.seconds, 2) for clip in corpus.clips}
    report: Report = {
        "umf": str(output),
        "clips": len(corpus.clips),
        "refused": corpus.refused,
        "seconds": seconds,
        "lags": {clip.name: clip.track.lag for clip in corpus.clips},
        "correlation": _correlations(field, corpus, vertices),
        "validation": {
            clip.name: {"lag": clip.track.lag, "correlation": correlation}
            for clip, correlation in zip(others.clips, _correlations(field, others, vertices).values(), strict=True)
        },
        "without_pictures": without_pictures,
        "schedule": asdict(schedule),
        "photometric": None if photometric is None else asdict(photometric),
        "iterations_per_s": rates,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if together.rank == 0:
        write_umf(output, field, mouth, _card(field, mouth, seconds, schedule, photometric))
        draw_curves(run.rows(), workdir / "curves.svg")
        (workdir / "report.json").write_text(json.dumps(report, indent=1))
    return report


def _mine(corpus: Corpus, without_pictures: dict[str, str], together: Together) -> list[str]:
    """This process's people; each process has one with pictures at least."""
    shown = {clip.track.identity for clip in corpus.clips if clip.name not in without_pictures}
    together.share(sorted(shown))
    return together.share(sorted(corpus.identities, key=lambda who: (who not in shown, who)))


def _photograph(
    corpus: Corpus,
    mine: list[str],
    field: FaceField,
    schedule: PhotometricSchedule,
    seed: int,
    context: StageContext,
    workdir: Path,
    watch: _Watch,
    together: Together,
) -> Photographed:
    """The photometric stages over this process's people, with their curves and portraits."""
    filmed = filmed_corpus(corpus, workdir / PICTURES, mine)
    folders = RunFolder(workdir / "face", together), RunFolder(workdir / "mouth", together)
    seen = train_photometric(filmed, field, schedule, seed, context, folders, watch, together)
    write_portraits(seen.portraits, workdir / "portraits")
    if together.rank == 0:
        for folder in folders:
            draw_curves(folder.rows(), workdir / f"curves-{folder.root.name}.svg")
    return seen


def _card(
    face: FaceField,
    mouth: MouthField | None,
    seconds: dict[str, float],
    schedule: PriorSchedule,
    photometric: PhotometricSchedule | None,
) -> UmfCard:
    learned = {}
    if photometric is not None:
        learned = {"face": photometric.face if photometric.face_rate else 0, "mouth": photometric.mouth}
    return UmfCard(
        format_version=FORMAT,
        speech_features=speech_encoder().name,
        speech_dimension=REDUCED_DIMENSION,
        face_hidden=face.layers[0].shape[0],
        corpus=seconds,
        iterations=schedule.iterations,
        project_version=project_version(),
        licence="Apache-2.0",
        mouth_hidden=0 if mouth is None else mouth.layers[0].shape[0],
        photometric=learned,
    )


class _Watch:
    """Zero-shot opening correlation of people outside the corpus, for the curves."""

    def __init__(self, others: Corpus, vertices: Tensor) -> None:
        self._others = others
        self._vertices = vertices

    def __call__(self, field: FaceField) -> dict[str, float]:
        found = _correlations(field, self._others, self._vertices)
        return {f"correlation {name}": value for name, value in found.items()}


def _correlations(field: FaceField, corpus: Corpus, vertices: Tensor) -> dict[str, float]:
    return {clip.name: round(opening_correlation(field, clip.track, vertices), 3) for clip in corpus.clips}


def _claim(
    workdir: Path,
    corpus: Corpus,
    schedules: tuple[PriorSchedule, PhotometricSchedule | None],
    seed: int,
    together: Together,
) -> None:
    """Make the work folder this run's own, or refuse: checkpoints of one run don't fit another."""
    record = workdir / "run.json"
    mine = {
        "clips": {clip.name: clip.track.count for clip in corpus.clips},
        "schedule": asdict(schedules[0]),
        "photometric": None if schedules[1] is None else asdict(schedules[1]),
        "seed": seed,
        "processes": together.size,
    }
    if record.exists():
        if json.loads(record.read_text()) != mine:
            raise UsageError(
                "workdir_of_another_run",
                "The work folder holds a run of other clips, options, seed or number of processes.",
                "Repeat that run's own options, or name another folder.",
            )
    elif together.rank == 0:
        record.write_text(json.dumps(mine))
