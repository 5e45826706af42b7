"""`likeness pretrain`: a folder of clips in, one universal motion field out (paper section 3.2, by landmarks).

The audio-video lag of each clip decides everything (feasibility file), so it is measured and taken out first.
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

from core.avatar import FaceField
from core.clip.canonical import canonical_face
from core.clip.speech import REDUCED_DIMENSION, speech_encoder
from core.errors import InputRefusedError, UsageError
from core.learn.corpus import Corpus, read_corpus
from core.learn.curves import draw_curves
from core.learn.judging import opening_correlation
from core.learn.motion_prior import PriorSchedule, train_motion_prior
from core.learn.run_folder import RunFolder
from core.learn.together import ALONE, Together
from core.learn.umf import FORMAT, UmfCard, write_umf
from core.progress import StageContext
from core.version import project_version

Report = dict[str, object]


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
) -> Report:
    """Train a field and write it with its card.

    Args:
        folder: of clips (see core.learn.corpus).
        output: the UMF file; the first process writes it.
        workdir: tracks, checkpoints and curves are kept here: what a run that was cut off goes on from.
        schedule: of the regression.
        seed: of everything random.
        context: progress as stages `corpus`, `prior`.
        validate: folder of clips of people who are not in the corpus, judged zero-shot and never learned from.
        announce: told the corpus report before anything is learned.
        together: this process among others.

    Returns:
        `umf`, `clips`, `refused`, `seconds`, `lags` (frames by clip), `correlation` (of predicted and tracked mouth
        opening on the training clips: fit, not quality), `schedule`, `iterations_per_s` (of this attempt),
        `peak_rss_mb`, and with `validate` the correlation for people never seen: `validation` (name -> lag and
        correlation).

    Raises:
        UsageError: `corpus_empty`, `too_many_processes`; `workdir_of_another_run` where `workdir` holds a run of other
            clips, options or seed.
        InputRefusedError: `corpus_refused`.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    if together.rank > 0:
        together.wait()  # the first process tracks, the others find its tracks
    corpus = usable_corpus(folder, workdir, context)
    others = Corpus([], {}) if validate is None else read_corpus(validate, workdir / "validation", context)
    _claim(workdir, corpus, schedule, seed, together)
    if together.rank == 0:
        together.wait()
        announce(corpus.report())
    vertices = torch.from_numpy(canonical_face().vertices.astype(np.float32))
    run = RunFolder(workdir / "prior", together)
    mine = together.share(corpus.identities)
    tracks = [clip.track for clip in corpus.clips if clip.track.identity in mine]
    watch = _Watch(others, vertices)
    started, from_iteration = time.monotonic(), max(run.iterations(), default=0)
    field = train_motion_prior(tracks, vertices, schedule, seed, context, run, watch, together)
    rate = (schedule.iterations - from_iteration) / (time.monotonic() - started)
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
        "schedule": asdict(schedule),
        "iterations_per_s": round(rate, 2),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if together.rank == 0:
        hidden = field.layers[0].shape[0]
        iterations, version = schedule.iterations, project_version()
        hears = speech_encoder().name
        card = UmfCard(FORMAT, hears, REDUCED_DIMENSION, hidden, seconds, iterations, version, "Apache-2.0")
        write_umf(output, field, card)
        draw_curves(run.rows(), workdir / "curves.svg")
        (workdir / "report.json").write_text(json.dumps(report, indent=1))
    return report


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


def _claim(workdir: Path, corpus: Corpus, schedule: PriorSchedule, seed: int, together: Together) -> None:
    """Make the work folder this run's own, or refuse: checkpoints of one run don't fit another."""
    record = workdir / "run.json"
    mine = {
        "clips": {clip.name: clip.track.count for clip in corpus.clips},
        "schedule": asdict(schedule),
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
