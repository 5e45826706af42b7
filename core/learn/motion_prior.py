"""Pre-training of the universal face field by regression onto tracked motion, without rendering.

The mesh's displacements of many people, seen in each one's own head space, are what a face does whoever it is: the
identity-free half of InsTaG (paper section 3.2) with landmarks in the place of pictures. Each person has a field of
their own beside the universal one (equation 5), and what two of those have in common costs (equations 6-7). Rotation
and scale answers see no target here and are zeroed. Knows no video.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from core.avatar import FaceField, Motion, MouthField
from core.avatar.personal import PersonalFaceField, deformation
from core.learn.contrast import MILLIMETRES, negative_contrast
from core.learn.identity_free import IdentityFree, RunningMeans
from core.learn.judging import LIPS, LOWER_LIP, UPPER_LIP
from core.learn.motion_track import MotionTrack
from core.learn.optimise import FieldAdamW
from core.learn.run_folder import RunFolder
from core.learn.together import ALONE, Together
from core.progress import StageContext

GRID_START = 1e-2
"""Largest grid value at the start. A field is a product of its grid, gates and codes: from the usual 1e-4 a thousand
steps pass before it leaves zero (docs/learning.md)."""
LOG_EVERY = 25
WATCH_EVERY = 250


@dataclass(frozen=True)
class PriorSchedule:
    """Hyper-parameters of the regression."""

    iterations: int = 1000
    people: int = 4
    """People a step, where there are so many."""
    frames: int = 8
    """Frames of each a step, of one clip."""
    points: int = 64
    """Mesh vertices a step, lips and chin preferred."""
    lip_weight: float = 6.0
    """How much more often a lip vertex is drawn than another."""
    jitter: float = 1e-3
    """Metres: standard deviation added to the vertices, so that the field is smooth between them."""
    noise: float = 0.3
    """Standard deviation added to the speech windows."""
    shift: int = 0
    """Frames by which speech may be shifted at random, against overfitting to one clip's lag."""
    personal: bool = True
    """Whether everyone has a field of their own (equation 5)."""
    personal_rate: float = 1.0
    """Factor on its learning rates. The paper's fifth is for runs a hundred times as long."""
    contrast: float = 1e-3
    """Weight of the negative contrast (equations 6-7), of motions in millimetres; 0 leaves it out. From 1e-2 on people
    never seen are served worse (docs/results.md)."""
    partners: int = 1
    """Other people drawn a step for it; the sum over all of them is estimated from them."""
    checkpoint_every: int = 250


PERSONAL = PriorSchedule(iterations=60, people=1, frames=16, points=160, noise=0.6)
PERSONAL_FACTOR = 0.3
"""Schedule, and factor on the learning rates, of the bend toward one person."""

SCRATCH = PriorSchedule(iterations=150, people=1, frames=16, noise=0.6)
"""For a person's few seconds without any universal field, at full rates: a baseline of validation only."""

FieldT = TypeVar("FieldT", bound=FaceField | MouthField)
Watch = Callable[[FaceField], dict[str, float]]


def train_motion_prior(
    tracks: list[MotionTrack],
    vertices: Tensor,
    schedule: PriorSchedule,
    seed: int,
    context: StageContext,
    folder: RunFolder | None = None,
    watch: Watch | None = None,
    together: Together = ALONE,
) -> FaceField:
    """One universal face field from many people's tracks: the average over the run's steps.

    Args:
        tracks: at least one of this process's people; people are drawn by the square root of their footage.
        vertices: [468, 3] canonical mesh, metres.
        schedule: hyper-parameters.
        seed: of the start and of every draw.
        context: progress as stage `prior`; cancel, which leaves a checkpoint.
        folder: where checkpoints and curves go, and what the run goes on from; None keeps nothing.
        watch: asked every 250 iterations what to log of the averaged field as it stands (validation).
        together: this process among others.
    """
    people = sorted({track.identity for track in tracks})
    state = IdentityFree.start(
        lambda: awake(FaceField()),
        lambda: awake(PersonalFaceField()),
        people if schedule.personal else [],
        seed,
        together,
    )
    if folder is not None:
        state.restore(folder)
    draw = _Draw(tracks, people, vertices, schedule)
    recent = RunningMeans()
    while state.iteration < schedule.iterations:
        if context.is_cancelled():
            if folder is not None:
                state.save(folder)
            context.check()
        factor = _prior_factor(state.iteration / schedule.iterations)
        batch = draw(state.generator)
        loss, contrast = _losses(state, batch, schedule)
        (loss + schedule.contrast * contrast).backward()  # type: ignore[no-untyped-call]
        state.step([part.identity for part in batch.parts], factor, schedule.personal_rate * factor)
        recent.add(loss, contrast)
        if state.iteration % LOG_EVERY == 0 or state.iteration == schedule.iterations:
            context.report("prior", state.iteration / schedule.iterations)
            row: dict[str, object] = {"iteration": state.iteration, **recent.take(together)}
            if watch is not None and state.iteration % WATCH_EVERY == 0:
                row |= watch(_without_untrained(state.averaged()))
            if folder is not None:
                folder.add(row)
        if folder is not None and state.iteration % schedule.checkpoint_every == 0:
            state.save(folder)
    return _without_untrained(state.averaged())


def personalise(
    field: FaceField,
    track: MotionTrack,
    vertices: Tensor,
    seed: int,
    context: StageContext,
    schedule: PriorSchedule = PERSONAL,
    factor: float = PERSONAL_FACTOR,
) -> None:
    """Bend a field toward one person's own few seconds, in place; a second or two.

    Args:
        field: parameters that want gradients learn; the others stay.
        track: the person's own.
        vertices: [468, 3] canonical mesh, metres.
        seed: of every draw.
        context: asked for cancel.
        schedule: hyper-parameters; there is nobody to contrast with.
        factor: on the usual learning rates.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = FieldAdamW(field)
    draw = _Draw([track], [track.identity], vertices, schedule)
    for _ in range(schedule.iterations):
        context.check()
        batch = draw(generator)
        [part] = batch.parts
        _motion_loss(_motion(field, batch.points, part.windows, part.expression), part).backward()  # type: ignore[no-untyped-call]
        optimiser.step(factor)


def awake(field: FieldT) -> FieldT:
    """A fresh field with its grid at `GRID_START`."""
    with torch.no_grad():
        field.grid.table.mul_(GRID_START / field.grid.table.abs().max())
    return field


def _prior_factor(progress: float) -> float:
    return 1.0 if progress < 0.3 else float(0.03 ** ((progress - 0.3) / 0.7))


def _without_untrained(field: FaceField) -> FaceField:
    """The field with its rotation and scale answers, which saw no target, at zero."""
    with torch.no_grad():
        field.layers[-1][3:] = 0
    return field


@dataclass(frozen=True)
class _Part:
    """B frames of one person's clip."""

    identity: str
    windows: Tensor
    """[B, 8, 16, 64]"""
    expression: Tensor
    """[B, 6]"""
    target: Tensor
    """[B, N, 3] metres."""
    rotations: Tensor
    """[B, 3, 3]"""


@dataclass(frozen=True)
class _Batch:
    """The same N points of several people."""

    points: Tensor
    """[N, 3]"""
    parts: list[_Part]


class _Draw:
    """Draws who is learned from, and which frames and points: people by the square root of their footage."""

    def __init__(self, tracks: list[MotionTrack], people: list[str], vertices: Tensor, schedule: PriorSchedule) -> None:
        self._people = people
        self._tracks = [[track for track in tracks if track.identity == person] for person in people]
        self._lengths = [torch.tensor([float(t.count) for t in mine]) for mine in self._tracks]
        self._footage = torch.stack([lengths.sum() for lengths in self._lengths]).sqrt()
        self._vertices = vertices
        self._schedule = schedule
        self._preference = torch.ones(len(vertices))
        self._preference[sorted({*LIPS.tolist(), *UPPER_LIP, *LOWER_LIP})] = schedule.lip_weight

    def __call__(self, generator: torch.Generator) -> _Batch:
        schedule = self._schedule
        count = min(schedule.people, len(self._people))
        people = torch.multinomial(self._footage, count, generator=generator).tolist()
        chosen = torch.multinomial(self._preference, schedule.points, generator=generator)
        points = self._vertices[chosen] + schedule.jitter * torch.randn(len(chosen), 3, generator=generator)
        return _Batch(points, [self._part(person, chosen.numpy(), generator) for person in people])

    def _part(self, person: int, chosen: npt.NDArray[np.int64], generator: torch.Generator) -> _Part:
        schedule = self._schedule
        clip = int(torch.multinomial(self._lengths[person], 1, generator=generator))
        track = self._tracks[person][clip]
        frames = torch.randint(track.count, (schedule.frames,), generator=generator).numpy()
        shift = int(torch.randint(-schedule.shift, schedule.shift + 1, (1,), generator=generator))
        windows = track.heard(frames, shift)
        windows = windows + schedule.noise * torch.randn(windows.shape, generator=generator)
        return _Part(
            self._people[person], windows, track.expressed(frames), track.moved(frames, chosen), track.turned(frames)
        )


def _losses(
    state: IdentityFree[FaceField, PersonalFaceField], batch: _Batch, schedule: PriorSchedule
) -> tuple[Tensor, Tensor]:
    """The regression's loss, and the contrast of everyone's own field with others': means over the step's people."""
    loss = contrast = torch.zeros(())
    windows = torch.cat([part.windows for part in batch.parts])
    expression = torch.cat([part.expression for part in batch.parts])
    moved = _motion(state.universal.field, batch.points, windows, expression).translation
    for part, translation in zip(batch.parts, moved.chunk(len(batch.parts)), strict=True):
        own = None
        if part.identity in state.personal:
            own = _motion(state.personal[part.identity].field, batch.points, part.windows, part.expression)
            contrast = contrast + _contrast(state, own, batch.points, part, schedule)
        loss = loss + _motion_loss(deformation(Motion(translation), own), part)
    return loss / len(batch.parts), contrast / len(batch.parts)


def _contrast(
    state: IdentityFree[FaceField, PersonalFaceField], own: Motion, points: Tensor, part: _Part, schedule: PriorSchedule
) -> Tensor:
    """Of one person's own motion with all others', estimated from the partners that are drawn."""
    partners = state.partners(part.identity, schedule.partners) if schedule.contrast else []
    if not partners:
        return torch.zeros(())
    with torch.no_grad():
        fields = [state.personal[name].field for name in partners]
        others = [MILLIMETRES * _swing(_motion(f, points, part.windows, part.expression), part) for f in fields]
    share = (len(state.personal) - 1) / len(partners)
    return share * negative_contrast(MILLIMETRES * _swing(own, part), others)


def _swing(motion: Motion, part: _Part) -> Tensor:
    """[B, N, 3] metres of a part's frames about their mean: of the rest the loss says nothing."""
    moved = motion.translation.view(part.target.shape)
    return moved - moved.mean(0)


def _motion(field: FaceField, points: Tensor, windows: Tensor, expression: Tensor) -> Motion:
    """Translations [B * N, 3], frame by frame."""
    return Motion(field.translated(field.features(points), windows, expression))


def _motion_loss(motion: Motion, part: _Part) -> Tensor:
    """Smooth L1 in millimetres, across the line of sight, of motions about the part's mean."""
    error = _swing(motion, part) - (part.target - part.target.mean(0))
    across = torch.einsum("bij,bnj->bni", part.rotations, error)[..., :2] * MILLIMETRES
    return F.smooth_l1_loss(across, torch.zeros_like(across))
