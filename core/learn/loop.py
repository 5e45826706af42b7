"""The loop that both branches share: step, density control, checkpoints by the clock, progress, cancel.

What a frame's loss is, the caller says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from core.avatar import FaceField, MouthField
from core.learn.branch import Branch
from core.learn.density import DensityStatistics, revise
from core.learn.near import near_first
from core.learn.optimise import field_factor, structure_rates
from core.learn.profiles import BranchSchedule
from core.progress import StageContext
from core.splat import Rasterization

FieldT = TypeVar("FieldT", FaceField, MouthField)

CHECKPOINT_SECONDS = 10.0
REPORT_EVERY = 10
LOG_EVERY = 100


def train_branch(
    branch: Branch[FieldT],
    schedule: BranchSchedule,
    size: int,
    frame_loss: Callable[[Branch[FieldT]], tuple[Tensor, Rasterization]],
    folder: Path,
    stage: str,
    context: StageContext,
) -> None:
    """Train `branch` to the end of its schedule, from where it stands.

    Args:
        branch: changed in place; resumed from `folder/<stage>.checkpoint.safetensors` where that exists.
        schedule: iterations and density control.
        size: side of the whole frame in pixels.
        frame_loss: picks a frame, draws it, returns its loss and what was drawn.
        folder: where the checkpoint and the loss curve (`<stage>.jsonl`) go.
        stage: name for progress and files.
        context: asked for cancel at every iteration; a cancel leaves a checkpoint.
    """
    checkpoint = checkpoint_path(folder, stage)
    if checkpoint.exists():
        branch.restore(checkpoint)
    saved_at, recent = time.monotonic(), 0.0
    while branch.iteration < schedule.iterations:
        if context.is_cancelled():
            branch.save(checkpoint)
            context.check()
        progress = branch.iteration / schedule.iterations
        loss, drawn = frame_loss(branch)
        loss.backward()  # type: ignore[no-untyped-call]
        if progress < schedule.densify_until:
            branch.statistics.add(drawn, size)
        branch.structure.step(branch.gaussians, structure_rates(schedule.position_rate, progress))
        branch.motion.step(schedule.field_rate * field_factor(progress))
        branch.iteration += 1
        _control_density(branch, schedule)
        recent += loss.detach().item()
        if branch.iteration % REPORT_EVERY == 0:
            context.report(stage, branch.iteration / schedule.iterations)
        if branch.iteration % LOG_EVERY == 0:
            row = {"iteration": branch.iteration, "loss": recent / LOG_EVERY, "gaussians": branch.gaussians.count}
            with (folder / f"{stage}.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            recent = 0.0
        if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
            branch.save(checkpoint)
            saved_at = time.monotonic()


def checkpoint_path(folder: Path, stage: str) -> Path:
    """Where a stage's checkpoint lies."""
    return folder / f"{stage}.checkpoint.safetensors"


def _control_density(branch: Branch[FieldT], schedule: BranchSchedule) -> None:
    iteration = branch.iteration
    due = schedule.densify_from <= iteration <= schedule.densify_until * schedule.iterations
    if not due or iteration % schedule.densify_every:
        return
    revision = revise(branch.gaussians, branch.statistics, schedule, branch.generator)
    branch.gaussians = branch.structure.apply(branch.gaussians, revision)
    branch.statistics = DensityStatistics.empty(branch.gaussians.count)
    if branch.moving is not None:
        order, branch.moving = near_first(branch.gaussians.means)
        branch.gaussians = branch.structure.ordered(branch.gaussians, order)
