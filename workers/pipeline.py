"""The one seam between the queue and the science: what a worker asks of `core.pipeline`, with options as plain JSON.

The science is imported only when the first stage runs, in the process that runs it. Tests of the platform put a tiny
pipeline in its place, through their own entry point (tests/workers/tiny_worker.py), never through a setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from core.progress import StageContext


class Pipeline(Protocol):
    """The stages that a worker can run."""

    def adapt_stage(
        self,
        stage: str,
        video: Path,
        workdir: Path,
        bundle: Path,
        options: Mapping[str, Any],
        context: StageContext,
    ) -> None:
        """One stage of an adaptation; goes on from its checkpoint in `workdir`, returns at once where it is done."""

    def render(
        self, bundle: Path, audio: Path, output: Path, options: Mapping[str, Any], context: StageContext
    ) -> dict[str, object]:
        """Speech + bundle -> one video. Returns what was measured."""


LoadPipeline = Callable[[], Pipeline]


class CorePipeline:
    """`core.pipeline` itself."""

    def adapt_stage(
        self,
        stage: str,
        video: Path,
        workdir: Path,
        bundle: Path,
        options: Mapping[str, Any],
        context: StageContext,
    ) -> None:
        """See `Pipeline.adapt_stage`."""
        from core import pipeline

        pipeline.adapt_stage(stage, video, workdir, bundle, pipeline.AdaptOptions(**options), context)

    def render(
        self, bundle: Path, audio: Path, output: Path, options: Mapping[str, Any], context: StageContext
    ) -> dict[str, object]:
        """See `Pipeline.render`."""
        from core import pipeline

        return pipeline.render(bundle, audio, output, pipeline.RenderOptions(**options), context)
