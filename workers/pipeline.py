"""The one seam between the queue and the science: what a worker asks of `core.pipeline`, with options as plain JSON.

The science is imported only when the first stage runs, in the process that runs it. Tests of the platform put a tiny
pipeline in its place, through their own entry point (tests/workers/tiny_worker.py), never through a setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from core.jobs.kinds import JobKind
from core.progress import StageContext

if TYPE_CHECKING:
    from core.pipeline import RenderStage

NEEDS: dict[str, tuple[str, ...]] = {
    "intake": (),
    "preprocess": ("intake",),
    "adapt-face": ("preprocess",),
    "adapt-mouth": ("preprocess", "adapt-face"),
    "fuse": ("preprocess", "adapt-face", "adapt-mouth"),
    "package": ("preprocess", "fuse"),
    "speech": (),
    "synthesise": ("speech",),
    "mux": ("speech", "synthesise"),
    "corpus": (),
    "prior": ("corpus",),
}
"""Whose files a stage reads."""
IGNORED: dict[str, frozenset[str]] = {
    "intake": frozenset({"umf", "seed", "device", "consent_id"}),
    "preprocess": frozenset({"umf", "seed", "device", "consent_id"}),
    "adapt-face": frozenset({"consent_id"}),
    "adapt-mouth": frozenset({"consent_id"}),
    "fuse": frozenset({"consent_id"}),
    "speech": frozenset({"label"}),
    "corpus": frozenset({"iterations", "seed"}),
}
"""Options that change nothing of what a stage makes."""


@dataclass(frozen=True)
class Task:
    """One stage, or one segment of it, on this machine."""

    kind: JobKind
    stage: str
    segment: int
    inputs: Mapping[str, Path]
    """`video` and perhaps `umf`; `bundle` and `audio`; or `corpus`, a folder."""
    options: Mapping[str, Any]
    workdir: Path
    """Holds the files of earlier stages, and this one's checkpoint."""
    output: Path
    """Where the last stage puts the job's result."""
    segment_seconds: float

    def at(self, stage: str, segment: int = 0) -> Task:
        """The same job's task of another stage."""
        return replace(self, stage=stage, segment=segment)


@dataclass(frozen=True)
class Made:
    """What a stage says when it is done; what it made are its files."""

    measured: dict[str, object] = field(default_factory=dict)
    fan_out: int = 1
    """In how many segments the next stage can be worked on."""


class Pipeline(Protocol):
    """The stages that a worker can run."""

    def run(self, task: Task, context: StageContext) -> Made:
        """Run a stage; goes on from its checkpoint in the work folder, returns at once where it is done."""

    def files(self, task: Task) -> Sequence[str]:
        """Files and folders of the work folder that the stage leaves for those after it."""

    def checkpoints(self, task: Task) -> Sequence[str]:
        """Files and folders of the work folder from which the stage goes on when it was cut off; some may be absent."""


LoadPipeline = Callable[[], Pipeline]


class CorePipeline:
    """`core.pipeline` itself."""

    def run(self, task: Task, context: StageContext) -> Made:
        """See `Pipeline.run`."""
        from core import pipeline

        if task.kind is JobKind.ADAPT:
            chosen = {**task.options, **({"umf": str(task.inputs["umf"])} if "umf" in task.inputs else {})}
            options = pipeline.AdaptOptions(**chosen)
            said = pipeline.adapt_stage(task.stage, task.inputs["video"], task.workdir, task.output, options, context)
            return Made(said)
        if task.kind is JobKind.PRETRAIN:
            wanted = pipeline.PretrainOptions(**task.options)
            corpus = task.inputs["corpus"]
            return Made(pipeline.pretrain_stage(task.stage, corpus, task.workdir, task.output, wanted, context))
        made = pipeline.render_stage(_render_stage(task), pipeline.RenderOptions(**task.options), context)
        segments = made.get("segments", 1)
        return Made(made, segments if isinstance(segments, int) else 1)

    def files(self, task: Task) -> Sequence[str]:
        """See `Pipeline.files`."""
        from core import pipeline

        if task.kind is JobKind.ADAPT:
            return pipeline.ADAPT_FILES[task.stage]
        if task.kind is JobKind.PRETRAIN:
            return ("tracks", "corpus.json") if task.stage == "corpus" else ()
        return _render_stage(task).files()

    def checkpoints(self, task: Task) -> Sequence[str]:
        """See `Pipeline.checkpoints`."""
        from core import pipeline

        if task.kind is JobKind.PRETRAIN:
            return ("tracks",) if task.stage == "corpus" else ("prior", "run.json")
        return pipeline.ADAPT_CHECKPOINTS.get(task.stage, ())


def _render_stage(task: Task) -> RenderStage:
    from core import pipeline

    return pipeline.RenderStage(
        stage=task.stage,
        segment=task.segment,
        bundle=task.inputs["bundle"],
        audio=task.inputs["audio"],
        workdir=task.workdir,
        output=task.output,
        segment_seconds=task.segment_seconds,
    )
