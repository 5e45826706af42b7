"""The paper's tables 5 and 6 on one's own clips: adaptations that lack one part each, measured on the same frames.

A person's clip is prepared once; every variant and seed is an adaptation of its own. Finished ones are kept, so a run
that was cut off goes on. Knows no terminal.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from core.bundle.file import read_bundle
from core.bundle.manifest import UmfReference
from core.bundle.package import package_avatar
from core.clip import ClipOptions, build_clip
from core.clip.layout import Clip
from core.errors import UsageError
from core.evaluate.protocol import measure
from core.learn.adaptation import WorkFolder, learn_face, learn_fuse, learn_mouth, load_avatar
from core.learn.kept_rows import read_rows, run_waiting
from core.learn.profiles import WHOLE, Method, profile
from core.learn.umf import NONE, find_umf
from core.progress import StageContext
from core.splat.torch_threads import single_torch_thread

TEST_FRAMES = 301
"""The last 12 s, as in the paper."""


@dataclass(frozen=True)
class Variant:
    """One row of the table."""

    name: str
    umf: str
    """Universal motion field: a shipped name, a file, or `none`."""
    method: Method = WHOLE


FULL = "full"
METHODS = {
    FULL: WHOLE,
    "no-aligner": Method(aligner=False),
    "no-hook": Method(hook=False),
    "single-branch": Method(mouth_branch=False),
    "no-lids": Method(lids=False),
    "no-perceptual": Method(perceptual=False),
}
SCRATCH = "scratch"
"""No universal field: TalkingGaussian's way."""
NAMES = (*METHODS, SCRATCH)


@dataclass(frozen=True)
class Row:
    """One adaptation and its figures (docs/metrics.md)."""

    variant: str
    person: str
    seed: int
    seconds: float
    psnr_a: float
    psnr_f: float
    psnr_mouth: float | None
    lpips_a: float | None
    lpips_f: float | None
    ssim_f: float
    lmd_px: float | None
    mouth_open_corr: float | None
    mouth_open_sd_ratio: float | None
    av_lag_frames: int | None
    identity_distance: float | None
    seam_ratio: float | None
    jitter_ratio: float | None


_WHAT = ("variant", "person", "seed", "seconds")
FIGURES = tuple(field.name for field in fields(Row) if field.name not in _WHAT)


@dataclass(frozen=True)
class _Job:
    variant: Variant
    person: str
    seed: int
    seconds: float
    profile: str
    folder: Path

    @property
    def key(self) -> tuple[str, str, int, float]:
        return self.variant.name, self.person, self.seed, self.seconds

    @property
    def learned(self) -> Path:
        return _learned(self.folder / self.person, self.seconds)


def _learned(clips: Path, seconds: float) -> Path:
    """Where the part that is learned from lies, among a person's clips."""
    return clips / f"first-{seconds:g}s"


def _tested(learned: Path) -> Path:
    """Where its test lies."""
    return learned.with_name(f"{learned.name}-test")


def variants(names: Sequence[str], umf: str, others: dict[str, str]) -> list[Variant]:
    """The variants of these names, and one for each other universal field.

    Args:
        names: out of `NAMES`.
        umf: the universal field of all but `scratch`.
        others: name of a further variant -> its universal field.

    Raises:
        UsageError: `variant_unknown`, and what `find_umf` says of the fields.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise UsageError("variant_unknown", f"There is no variant '{unknown[0]}'.", f"Choose of {', '.join(NAMES)}.")
    chosen = [Variant(name, NONE if name == SCRATCH else umf, METHODS.get(name, WHOLE)) for name in names]
    chosen += [Variant(name, field) for name, field in others.items()]
    for variant in chosen:
        find_umf(variant.umf)
    return chosen


def ablate(
    videos: Sequence[Path],
    folder: Path,
    chosen: Sequence[Variant],
    seconds: Sequence[float],
    profile_name: str,
    seeds: int,
    processes: int,
    context: StageContext,
    *,
    whole_tracking: bool = False,
) -> list[Row]:
    """Adapt and measure every variant of every person with every seed; what `folder` holds already is not repeated.

    Args:
        videos: one clip of each person, whose last 301 frames are the test.
        folder: prepared clips, avatars, side-by-side films and `rows.jsonl`.
        chosen: what `variants` gave.
        seconds: how much of each clip is learned from, one table for each.
        profile_name: `draft`, `standard` or `paper`.
        seeds: 0 ... seeds - 1.
        processes: adaptations at a time, one thread each.
        context: progress as stage `ablation` (and those of `build_clip`), and cancelling.
        whole_tracking: take the person's rigid points from the whole shot, test and all, as the paper's preparation
            does, and not from the seconds that are learned.

    Raises:
        UsageError: `profile_unknown`.
        InputRefusedError: what `build_clip` says of a video.
    """
    size = profile(profile_name).size
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "rows.jsonl"
    rows = read_rows(kept, Row)
    done = {(row.variant, row.person, row.seed, row.seconds) for row in rows}
    jobs = [
        _Job(variant, video.stem, seed, length, profile_name, folder)
        for seed in range(seeds)
        for length in seconds
        for video in videos
        for variant in chosen
    ]
    waiting = [job for job in jobs if job.key not in done]
    for video in videos:
        lengths = {job.seconds for job in waiting if job.person == video.stem}
        _prepare(video, folder / video.stem, lengths, size, whole_tracking, context)
    return rows + run_waiting(_rows, waiting, len(jobs) - len(waiting), kept, processes, context, "ablation")


def _prepare(
    video: Path, clips: Path, seconds: set[float], size: int, whole_tracking: bool, context: StageContext
) -> None:
    """The parts to learn from, each with a test of its own crop and tracking."""
    shared = None
    if whole_tracking and seconds:
        shared = _built(video, clips / "whole", ClipOptions(size=size, seconds=None), context).reference
    for length in sorted(seconds):
        part = _learned(clips, length)
        learned = _built(video, part, ClipOptions(size=size, seconds=length, reference=shared), context)
        tested = ClipOptions(size=size, last_frames=TEST_FRAMES, reference=learned.reference)
        _built(video, _tested(part), tested, context)


def _built(video: Path, folder: Path, wanted: ClipOptions, context: StageContext) -> Clip:
    return Clip.load(folder) if (folder / "clip.json").exists() else build_clip(video, folder, wanted, context)


def _rows(job: _Job) -> list[Row]:
    return [_run(job)]


def _run(job: _Job) -> Row:
    work = WorkFolder(job.folder / job.person / f"{job.variant.name}-{job.seconds:g}s-{job.seed}")
    shutil.rmtree(work.root, ignore_errors=True)
    work.root.mkdir(parents=True)
    work.clip.symlink_to(job.learned.resolve())
    chosen, umf, context = profile(job.profile), find_umf(job.variant.umf), StageContext()
    with single_torch_thread():
        learn_face(work, chosen, umf, job.seed, context, job.variant.method)
        learn_mouth(work, chosen, umf, job.seed, context, job.variant.method)
        learn_fuse(work, chosen, job.seed, context, job.variant.method)
        bundle = work.root.with_suffix(".likeness")
        used = NONE if umf is None else UmfReference(umf.name, umf.sha256)
        package_avatar(bundle, load_avatar(work.avatar), Clip.load(work.clip), job.profile, used, context)
        test = Clip.load(_tested(job.learned))
        figures = measure(read_bundle(bundle), test, work.root.with_suffix(".mp4"), context)
    shutil.rmtree(work.root)
    return _row(job, figures)


def _row(job: _Job, figures: dict[str, Any]) -> Row:
    pictures = {
        "psnr_a": figures["psnr"]["A"],
        "psnr_f": figures["psnr"]["F"],
        "lpips_a": figures["lpips"]["A"],
        "lpips_f": figures["lpips"]["F"],
        "ssim_f": figures["ssim"]["F"],
    }
    rest = {name: figures[name] for name in FIGURES if name not in pictures}
    return Row(job.variant.name, job.person, job.seed, job.seconds, **pictures, **rest)


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Seconds learned from -> variant -> figure: the mean over people and seeds, and `..._sd`, over seeds, of the
    mean over people. A figure that is null everywhere is left out."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for seconds in sorted({row.seconds for row in rows}):
        mine = [row for row in rows if row.seconds == seconds]
        names = list(dict.fromkeys(row.variant for row in mine))
        found[f"{seconds:g}"] = {name: _means([row for row in mine if row.variant == name]) for name in names}
    return found


def _means(rows: Sequence[Row]) -> dict[str, float]:
    result: dict[str, float] = {}
    for figure in FIGURES:
        by_seed = list(_by_seed(rows, figure))
        if by_seed:
            result[figure] = round(float(np.mean(by_seed)), 4)
            result[f"{figure}_sd"] = round(float(np.std(by_seed)), 4)
    return result


def _by_seed(rows: Sequence[Row], figure: str) -> Iterator[float]:
    for seed in sorted({row.seed for row in rows}):
        values = [getattr(row, figure) for row in rows if row.seed == seed]
        known = [value for value in values if value is not None]
        if known:
            yield float(np.mean(known))


def as_markdown(rows: Sequence[Row]) -> str:
    """One table for each length: means over people and seeds, plus or minus the deviation over seeds."""
    people, seeds = sorted({row.person for row in rows}), {row.seed for row in rows}
    lines = [f"Means over {', '.join(people)} and {len(seeds)} seeds; last {TEST_FRAMES} frames.", ""]
    for seconds, variants in summarise(rows).items():
        names = [name for name in FIGURES if any(name in figures for figures in variants.values())]
        lines += [f"| {seconds} s | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for variant, figures in variants.items():
            cells = [f"{figures[n]:.3f} ± {figures[f'{n}_sd']:.3f}" if n in figures else "" for n in names]
            lines.append(f"| {variant} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)
