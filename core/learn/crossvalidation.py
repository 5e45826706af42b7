"""Which part of pre-training helps people it has never seen: fields trained without some, judged on those.

Motion is judged, not pictures (core.learn.judging): the field predicts how tracked landmarks move. A person's first 5 s
are what adaptation learns from; everything after them is what it is judged by. Each figure has a control beside it
with the same person's speech from another moment.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.avatar import FaceField
from core.clip.canonical import canonical_face
from core.errors import UsageError
from core.learn.corpus import Corpus, CorpusClip
from core.learn.judging import judge
from core.learn.kept_rows import read_rows, run_waiting
from core.learn.motion_prior import SCRATCH, PriorSchedule, awake, personalise, train_motion_prior
from core.learn.motion_track import MotionTrack
from core.progress import StageContext
from core.splat.torch_threads import single_torch_thread

VARIANTS = ("scratch", "universal", "personal", "contrast")
ADAPTED_FRAMES = 125
LEAST_FRAMES = 75
"""Fewer frames after the first five seconds tell nothing: such clips are learned from, never judged."""
OUTSIDE_FRAMES = 301
"""Of people outside the corpus the last 12 s are judged, as in the paper."""
OUTSIDE = "outside"


@dataclass(frozen=True)
class Row:
    """One person's clip under one field."""

    variant: str
    fold: str
    """Number of the fold, or `outside`."""
    seed: int
    person: str
    clip: str
    frames: int
    zero_shot: float
    """Opening correlation without adaptation."""
    zero_shot_wrong: float
    """The same with wrong audio."""
    zero_shot_lmd: float
    """Pixels at 512."""
    adapted: float
    """Opening correlation after five seconds."""
    adapted_wrong: float
    adapted_lmd: float


@dataclass(frozen=True)
class _Job:
    """One field to train and whom to judge it on."""

    variant: str
    fold: str
    seed: int
    learned: list[MotionTrack]
    judged: list[CorpusClip]
    schedule: PriorSchedule

    @property
    def key(self) -> tuple[str, str, int]:
        return self.variant, self.fold, self.seed


def crossvalidate(
    corpus: Corpus,
    outside: Corpus | None,
    folder: Path,
    schedule: PriorSchedule,
    leave_out: int,
    seeds: int,
    processes: int,
    context: StageContext,
) -> list[Row]:
    """Train and judge every variant on every fold with every seed; what `folder` holds already is not repeated.

    Args:
        corpus: the people; those with a clip long enough to be judged are left out in turn.
        outside: people who are never learned from, judged under fields of the whole corpus; None for nobody.
        folder: `rows.jsonl`, one row for each judged clip.
        schedule: of pre-training, for all variants.
        leave_out: people left out at once.
        seeds: 0 ... seeds - 1.
        processes: trainings at a time, one thread each.
        context: progress as stage `validation`.

    Raises:
        UsageError: `corpus_too_small`: nobody can be left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "rows.jsonl"
    rows = read_rows(kept, Row)
    done = {(row.variant, row.fold, row.seed) for row in rows}
    jobs = list(_jobs(corpus, outside, schedule, leave_out, seeds))
    waiting = [job for job in jobs if job.key not in done]
    return rows + run_waiting(_run, waiting, len(jobs) - len(waiting), kept, processes, context, "validation")


def folds(corpus: Corpus, leave_out: int) -> list[list[str]]:
    """Who is left out together: everyone who can be judged once, the long-filmed spread over the folds.

    Raises:
        UsageError: `corpus_too_small`.
    """
    seconds = {person: sum(c.seconds for c in _judged(corpus, {person})) for person in corpus.identities}
    people = sorted((person for person in seconds if seconds[person]), key=lambda person: -seconds[person])
    count = -(-len(people) // leave_out)
    if count == 0 or len(corpus.identities) <= leave_out:
        raise UsageError(
            "corpus_too_small",
            f"{leave_out} can't be left out: {len(people)} of {len(corpus.identities)} people have 8 s in one clip.",
            "Add clips, or leave fewer out.",
        )
    return [people[start::count] for start in range(count)]


def _judged(corpus: Corpus, people: set[str]) -> list[CorpusClip]:
    long_enough = ADAPTED_FRAMES + LEAST_FRAMES
    return [clip for clip in corpus.clips if clip.track.identity in people and clip.track.count >= long_enough]


def _jobs(
    corpus: Corpus, outside: Corpus | None, schedule: PriorSchedule, leave_out: int, seeds: int
) -> Iterator[_Job]:
    for seed in range(seeds):
        if outside is not None:
            everyone = [clip.track for clip in corpus.clips]
            for variant in VARIANTS:
                yield _Job(variant, OUTSIDE, seed, everyone, outside.clips, schedule)
        for number, people in enumerate(folds(corpus, leave_out)):
            learned = [clip.track for clip in corpus.without(set(people)).clips]
            for variant in VARIANTS:
                yield _Job(variant, str(number), seed, learned, _judged(corpus, set(people)), schedule)


def _run(job: _Job) -> list[Row]:
    vertices = torch.from_numpy(canonical_face().vertices.astype(np.float32))
    with single_torch_thread():
        field = _train(job, vertices)
        return [_judge(job, clip, field, vertices) for clip in job.judged]


def _train(job: _Job, vertices: Tensor) -> FaceField:
    """The field before adaptation; of `scratch` an untrained one."""
    if job.variant == "scratch":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(job.seed)
            return awake(FaceField())
    schedule = replace(
        job.schedule,
        personal=job.variant != "universal",
        contrast=job.schedule.contrast if job.variant == "contrast" else 0.0,
    )
    return train_motion_prior(job.learned, vertices, schedule, job.seed, StageContext())


def _judge(job: _Job, clip: CorpusClip, field: FaceField, vertices: Tensor) -> Row:
    track = clip.track
    frames = OUTSIDE_FRAMES if job.fold == OUTSIDE else track.count - ADAPTED_FRAMES
    first, last = track.count - frames, track.count
    seen, unseen = track.part(0, ADAPTED_FRAMES), track.part(first, last)
    wrong = track.with_wrong_audio().part(first, last)
    adapted = copy.deepcopy(field)
    if job.variant == "scratch":
        personalise(adapted, seen, vertices, job.seed, StageContext(), SCRATCH, 1.0)
    else:
        personalise(adapted, seen, vertices, job.seed, StageContext())
    before, after = judge(field, seen, unseen, vertices), judge(adapted, seen, unseen, vertices)
    return Row(
        job.variant, job.fold, job.seed, track.identity, clip.name, frames,
        zero_shot=round(before.opening_correlation, 4),
        zero_shot_wrong=round(judge(field, seen, wrong, vertices).opening_correlation, 4),
        zero_shot_lmd=round(before.lmd_px, 4),
        adapted=round(after.opening_correlation, 4),
        adapted_wrong=round(judge(adapted, seen, wrong, vertices).opening_correlation, 4),
        adapted_lmd=round(after.lmd_px, 4),
    )  # fmt: skip


FIGURES = ("zero_shot", "zero_shot_wrong", "zero_shot_lmd", "adapted", "adapted_wrong", "adapted_lmd")
Summary = dict[str, dict[str, dict[str, float]]]


def summarise(rows: list[Row]) -> Summary:
    """`corpus` and `outside` -> variant -> figure: the mean over people (each the mean of their clips, weighted by
    frames) and seeds, and `..._sd`, its standard deviation over seeds."""
    groups: dict[str, Callable[[Row], bool]] = {
        "corpus": lambda row: row.fold != OUTSIDE,
        OUTSIDE: lambda row: row.fold == OUTSIDE,
    }
    found: Summary = {}
    for group, belongs in groups.items():
        mine = [row for row in rows if belongs(row)]
        variants = [variant for variant in VARIANTS if any(row.variant == variant for row in mine)]
        if mine:
            found[group] = {v: _means([row for row in mine if row.variant == v]) for v in variants}
    return found


def _means(rows: list[Row]) -> dict[str, float]:
    result = {}
    for figure in FIGURES:
        by_seed = []
        for seed in sorted({row.seed for row in rows}):
            people = []
            for person in sorted({row.person for row in rows}):
                mine = [row for row in rows if row.person == person and row.seed == seed]
                if mine:
                    people.append(np.average([getattr(r, figure) for r in mine], weights=[r.frames for r in mine]))
            by_seed.append(np.mean(people))
        result[figure] = round(float(np.mean(by_seed)), 3)
        result[f"{figure}_sd"] = round(float(np.std(by_seed)), 3)
    return result


def as_markdown(summary: Summary) -> str:
    """The summary as tables: correlation / wrong-audio control / lip distance, without and with five seconds."""
    lines = []
    for group, variants in summary.items():
        lines += [
            f"| {group} | zero-shot | wrong audio | LMD px | after 5 s | wrong audio | LMD px |",
            "|---|---|---|---|---|---|---|",
        ]
        for variant, figures in variants.items():
            cells = [f"{figures[name]:.3f} ± {figures[f'{name}_sd']:.3f}" for name in FIGURES]
            lines.append(f"| {variant} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)
