"""The six steps, as the stages that the command line runs in one process and the workers run one by one.

Each stage takes files and options, writes files into a work folder, reports through a `StageContext`, and does nothing
where its result is there already. It must not know of jobs, queues or terminals.
"""

from __future__ import annotations

import hashlib
import json
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.bundle import UmfReference, package_avatar
from core.clip import ClipOptions, build_clip, inspect_clip
from core.clip.intake import plan_clip
from core.clip.layout import Clip
from core.clip.plan_file import has_plan, read_plan, write_plan
from core.clip.report import read_report
from core.errors import UsageError
from core.learn.adaptation import WorkFolder, learn_face, learn_fuse, learn_mouth, load_avatar
from core.learn.motion_prior import PriorSchedule
from core.learn.pretraining import pretrain, usable_corpus
from core.learn.profiles import profile
from core.learn.umf import find_umf
from core.progress import StageContext
from core.render import render_speech
from core.render.scene import Look
from core.render.segments import Measured, join_segments, listen, segment_borders, synthesise_segment
from core.splat import backend_name
from core.splat.device import check_device, drawing_on
from core.splat.torch_threads import single_torch_thread

ADAPT_STAGES = ("intake", "preprocess", "adapt-face", "adapt-mouth", "fuse", "package")
ADAPT_FILES = {
    "intake": ("intake",),
    "preprocess": ("clip",),
    "adapt-face": ("face.safetensors",),
    "adapt-mouth": ("mouth.safetensors",),
    "fuse": ("avatar.safetensors",),
    "package": (),
}
"""What each stage leaves in the work folder for those after it."""
ADAPT_CHECKPOINTS = {
    "adapt-face": ("face.checkpoint.safetensors", "face.jsonl"),
    "adapt-mouth": ("mouth.checkpoint.safetensors", "mouth.jsonl"),
}
"""What a stage that was cut off goes on from, in the work folder."""
_COUNTED_AS = {"intake": "preprocess", "adapt-face": "face", "adapt-mouth": "mouth"}
"""The names under which the JSON of `likeness adapt` counts seconds."""


@dataclass(frozen=True)
class AdaptOptions:
    """What a user may choose about an adaptation."""

    profile: str = "standard"
    """`draft` (256x256), `standard` (512x512), `paper` (512x512, the paper's iteration counts)."""
    start_s: float = 0.0
    """Seconds into the longest shot."""
    seconds: float = 5.0
    """How much of the shot to learn from."""
    device: str = "auto"
    """What draws the Gaussians: `cpu`, `cuda` (through gsplat), or `auto`, which is the CPU."""
    umf: str = "base"
    """Universal motion field to start from: a shipped name, a file, or `none` (from scratch)."""
    seed: int = 0
    consent_id: str | None = None
    """Of the recorded consent, where there is one; the bundle names it."""


def adapt_stage(
    stage: str, video: Path, workdir: Path, bundle: Path, options: AdaptOptions, context: StageContext
) -> dict[str, object]:
    """Run one of `ADAPT_STAGES`, in their order; files in `workdir` carry the state between them.

    A stage that was cut off goes on from its checkpoint in `workdir`; a finished one returns at once. The seconds a
    stage took, over all its attempts, end up in `workdir/seconds.json`.

    Returns:
        `preprocess`: `{"report"}`, what `inspect` says of the clip; the others: nothing.

    Raises:
        InputRefusedError: the clip can't be used (stages `intake` and `preprocess`).
        UsageError: the options don't fit together.
        CancelledError: after a checkpoint was written.
    """
    profile(options.profile)
    find_umf(options.umf)
    check_device(options.device)
    workdir.mkdir(parents=True, exist_ok=True)
    work = WorkFolder(workdir)
    started = time.monotonic()
    try:
        with single_torch_thread(), drawing_on(options.device):
            _run_stage(stage, video, work, bundle, options, context)
    finally:
        _add_seconds(workdir, _COUNTED_AS.get(stage, stage), time.monotonic() - started)
    return {"report": read_report(work.clip)} if stage == "preprocess" else {}


def _run_stage(
    stage: str, video: Path, work: WorkFolder, bundle: Path, options: AdaptOptions, context: StageContext
) -> None:
    chosen = profile(options.profile)
    wanted = ClipOptions(size=chosen.size, start_s=options.start_s, seconds=options.seconds)
    planned = work.root / "intake"
    if stage == "intake":
        if not has_plan(planned):
            write_plan(plan_clip(video, wanted, context), planned)
    elif stage == "preprocess":
        if not (work.clip / "clip.json").exists():
            build_clip(video, work.clip, wanted, context, read_plan(planned, video))
    elif stage == "adapt-face":
        learn_face(work, chosen, find_umf(options.umf), options.seed, context)
    elif stage == "adapt-mouth":
        learn_mouth(work, chosen, find_umf(options.umf), options.seed, context)
    elif stage == "fuse":
        learn_fuse(work, chosen, options.seed, context)
    elif stage == "package":
        packaged = work.root / "packaged"
        if not (packaged.exists() and bundle.exists()):
            umf = find_umf(options.umf)
            used = "none" if umf is None else UmfReference(umf.name, umf.sha256)
            avatar, clip, consent = load_avatar(work.avatar), Clip.load(work.clip), options.consent_id
            package_avatar(bundle, avatar, clip, options.profile, used, context, consent_id=consent)
            packaged.touch()
    else:
        raise ValueError(f"no stage {stage!r}")


def adapt(
    video: Path, workdir: Path, bundle: Path, options: AdaptOptions, context: StageContext, *, resume: bool = False
) -> dict[str, object]:
    """All stages in one process. Returns the JSON of `likeness adapt` (DESIGN.md, section 3).

    Args:
        video: the user's clip.
        workdir: an empty or new folder, or with `resume` the folder of a run that was cut off.
        bundle: where the avatar goes.
        options: the user's choices.
        context: progress and cancel.
        resume: go on from what `workdir` holds.

    Raises:
        UsageError: `file_not_found`; `workdir_in_use` where `workdir` holds a run and `resume` is off;
            `workdir_of_another_run` where it is of another video or other options.
    """
    if not video.is_file():
        raise UsageError("file_not_found", f"There is no file {video.name}.", "Check the path.")
    if not bundle.absolute().parent.is_dir():
        raise UsageError("folder_not_found", "The folder for the bundle does not exist.", "Make it first.")
    _claim(workdir, video, options, resume=resume)
    began = time.monotonic()
    for stage in ADAPT_STAGES:
        adapt_stage(stage, video, workdir, bundle, options, context)
    return summary(workdir, bundle, options, time.monotonic() - began)


def summary(workdir: Path, bundle: Path, options: AdaptOptions, seconds_total: float) -> dict[str, object]:
    """The JSON of `likeness adapt`, from a finished work folder."""
    chosen = profile(options.profile)
    avatar = load_avatar(WorkFolder(workdir).avatar)
    clip = Clip.load(WorkFolder(workdir).clip)
    return {
        "bundle": str(bundle),
        "profile": options.profile,
        "device": "cuda (gsplat)" if options.device == "cuda" else f"cpu ({backend_name()})",
        "seconds_total": round(seconds_total, 2),
        "seconds": {name: round(value, 2) for name, value in _seconds(workdir).items()},
        "iterations": {
            "face": chosen.face.iterations,
            "mouth": chosen.mouth.iterations,
            "fuse": chosen.fuse_iterations,
        },
        "gaussians": {"face": avatar.face.count, "mouth": avatar.mouth.count},
        "frames_train": int(clip.valid.sum()),
        "umf": None if options.umf == "none" else options.umf,
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


@dataclass(frozen=True)
class RenderOptions:
    """What a user may choose about a render."""

    size: int | None = None
    """Output side in pixels; None is the avatar's own."""
    background: str | None = None
    """A colour (#rrggbb) or picture file in place of the recorded background."""
    label: bool = True
    """Burn the AI-generated label into the picture."""


def render(bundle: Path, audio: Path, output: Path, options: RenderOptions, context: StageContext) -> dict[str, object]:
    """Speech + avatar -> one MP4. Returns one item of the JSON of `likeness render`."""
    for path in (bundle, audio):
        if not path.is_file():
            raise UsageError("file_not_found", f"There is no file {path.name}.", "Check the path.")
    size, background, label = options.size, options.background, options.label
    with single_torch_thread():
        return render_speech(bundle, audio, output, size=size, background=background, label=label, context=context)


RENDER_STAGES = ("speech", "synthesise", "mux")


@dataclass(frozen=True)
class RenderStage:
    """What one stage of a render works on. Files in `workdir` carry the state between them."""

    stage: str
    """One of `RENDER_STAGES`."""
    segment: int
    """Which part of `synthesise`, 0 ... n - 1; 0 in the other stages."""
    bundle: Path
    audio: Path
    workdir: Path
    output: Path
    """Where `mux` puts the MP4."""
    segment_seconds: float

    def files(self) -> tuple[str, ...]:
        """What the stage leaves in the work folder for those after it."""
        return {
            "speech": ("speech.safetensors", "speech.json"),
            "synthesise": (f"segment-{self.segment}.mp4", f"segment-{self.segment}.json"),
            "mux": (),
        }[self.stage]


def render_stage(asked: RenderStage, options: RenderOptions, context: StageContext) -> dict[str, object]:
    """Run one stage of a render; a finished one returns at once.

    Returns:
        `speech`: `{"frames", "segments"}`; `synthesise`: `{"frames", "model_seconds", "seconds"}`; `mux`: what `render`
        does, but for `output`.

    Raises:
        As `render`.
    """
    asked.workdir.mkdir(parents=True, exist_ok=True)
    look, speech = Look(options.size, options.background, options.label), asked.workdir / "speech.safetensors"
    if asked.stage == "mux":
        told = _read_json(asked.workdir / "speech.json")
        numbers = range(int(told["segments"]))
        films = [asked.workdir / f"segment-{number}.mp4" for number in numbers]
        measured = [Measured(**_read_json(film.with_suffix(".json"))) for film in films]
        return join_segments(films, measured, asked.audio, asked.output)
    record = asked.workdir / asked.files()[1]
    if not record.exists():
        with single_torch_thread():
            if asked.stage == "speech":
                frames = listen(asked.bundle, asked.audio, speech, look, context)
                made: dict[str, object] = {
                    "frames": frames,
                    "segments": len(segment_borders(frames, asked.segment_seconds)) - 1,
                    "segment_seconds": asked.segment_seconds,
                }
            else:
                told = _read_json(asked.workdir / "speech.json")
                borders = segment_borders(told["frames"], told["segment_seconds"])
                first, last = borders[asked.segment], borders[asked.segment + 1]
                film = asked.workdir / asked.files()[0]
                made = asdict(synthesise_segment(asked.bundle, speech, film, first, last, look, context))
        record.write_text(json.dumps(made))
    return dict(_read_json(record))


PRETRAIN_STAGES = ("corpus", "prior")


@dataclass(frozen=True)
class PretrainOptions:
    """What a user may choose about pre-training a universal motion field."""

    iterations: int = PriorSchedule.iterations
    seed: int = 0


def pretrain_stage(
    stage: str, corpus: Path, workdir: Path, output: Path, options: PretrainOptions, context: StageContext
) -> dict[str, object]:
    """Run one of `PRETRAIN_STAGES`: `corpus` tracks the clips (kept in `workdir/tracks`), `prior` trains the field.

    Returns:
        `corpus`: `{"clips", "refused"}`; `prior`: the report of `core.learn.pretraining.pretrain`, but for `umf`.

    Raises:
        UsageError: `corpus_empty`.
        InputRefusedError: `corpus_refused`: none of the clips can be used.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with single_torch_thread():
        if stage == "corpus":
            tracked = usable_corpus(corpus, workdir, context)
            return {"clips": len(tracked.clips), "refused": tracked.refused}
        schedule = PriorSchedule(iterations=options.iterations)
        report = pretrain(corpus, output, workdir, schedule, options.seed, context)
    return {name: value for name, value in report.items() if name != "umf"}


def inspect(video: Path, options: AdaptOptions, context: StageContext, sheet: Path | None = None) -> dict[str, object]:
    """What we would make of this clip: verdict, codes, measurements; no training.

    Args:
        video: the user's clip.
        options: the user's choices.
        context: progress and cancel.
        sheet: where a contact sheet (PNG) goes; None draws none.

    Raises:
        InputRefusedError: the clip can't be used; its code says why.
        UsageError: `file_not_found`, `folder_not_found`.
    """
    if not video.is_file():
        raise UsageError("file_not_found", f"There is no file {video.name}.", "Check the path.")
    wanted = ClipOptions(size=profile(options.profile).size, start_s=options.start_s, seconds=options.seconds)
    if sheet is not None and not sheet.absolute().parent.is_dir():
        raise UsageError("folder_not_found", "The folder for the contact sheet does not exist.", "Make it first.")
    return inspect_clip(video, wanted, context, sheet)


def _claim(workdir: Path, video: Path, options: AdaptOptions, *, resume: bool) -> None:
    """Make `workdir` this run's own, or refuse."""
    record = workdir / "run.json"
    with video.open("rb") as file:
        mine = {"video": hashlib.file_digest(file, "sha256").hexdigest(), "options": asdict(options)}
    if record.exists():
        if not resume:
            raise UsageError(
                "workdir_in_use",
                "The work folder holds an earlier run.",
                "Add --resume to go on, or name another folder.",
            )
        if json.loads(record.read_text()) != mine:
            raise UsageError(
                "workdir_of_another_run",
                "The work folder belongs to another video or other options.",
                "Resume with the same call, or name another folder.",
            )
    workdir.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(mine))


def _read_json(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def _seconds(workdir: Path) -> dict[str, float]:
    path = workdir / "seconds.json"
    found: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _add_seconds(workdir: Path, stage: str, seconds: float) -> None:
    spent = _seconds(workdir)
    spent[stage] = spent.get(stage, 0.0) + seconds
    (workdir / "seconds.json").write_text(json.dumps(spent))
