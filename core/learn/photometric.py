"""Pre-training from pictures (paper, section 3.2): the universal fields and everyone's structure and own fields.

First the faces, from the field that landmarks gave; then the mouths behind them, from nothing. A step draws one frame
of one clip, as an adaptation's step does, moved by the sum of the universal and the person's own field (equation 5);
what two people's own fields have in common costs (equations 6-7). Pictures overfit, so runs are short (feasibility
file). There is no density control: the motion is what is wanted, the structures are thrown away.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from core.avatar import FaceField, Gaussians, MouthField
from core.avatar.personal import PersonalFaceField, PersonalMouthField
from core.clip.canonical import canonical_face
from core.learn.face import FaceLoss
from core.learn.filmed import Filmed
from core.learn.identity_free import IdentityFree, RunningMeans
from core.learn.initialise import face_gaussians, mouth_gaussians
from core.learn.motion_prior import awake
from core.learn.mouth import MouthLoss
from core.learn.optimise import field_factor, structure_rates
from core.learn.run_folder import RunFolder
from core.learn.sitting import Field, FrameLoss, Sitting, TwoFields
from core.learn.together import ALONE, Together
from core.progress import StageContext

LOG_EVERY = 50
WATCH_EVERY = 500


@dataclass(frozen=True)
class PhotometricSchedule:
    """Hyper-parameters of both stages; iterations count single frames of single clips."""

    face: int = 1500
    """Iterations of the faces; 0 leaves them as they start, hooks then come from the universal field alone."""
    mouth: int = 3000
    """Iterations of the mouths; 0 for no universal mouth field."""
    surface_points: int = 2000
    """Gaussians of a face on the mesh."""
    shell_points: int = 1200
    """Gaussians of a face on the head's shell."""
    mouth_points: int = 1000
    warm_up: float = 0.2
    """Fraction of a stage in which the structures alone learn."""
    face_rate: float = 0.0
    """Factor on the universal face field's learning rates; at 0 landmarks alone form it, and pictures only show it."""
    mouth_rate: float = 1.0
    """Factor on the universal mouth field's."""
    personal: bool = True
    """Whether everyone has a field of their own (equation 5)."""
    personal_rate: float = 1.0
    """Factor on its learning rates."""
    contrast: float = 1e-3
    """Weight of the negative contrast, of motions in millimetres."""
    partners: int = 1
    """Other people drawn a step for it; the sum over all of them is estimated from them."""
    contrast_every: int = 2
    """Steps from one with the contrast to the next, which then counts for all of them."""
    position_rate: float = 3.2e-5
    """Metres a step at the start, as in an adaptation."""
    colour_rate: float = 5e-3
    """Of colours, a step: seven times an adaptation's, for each clip gets a few hundred steps and no more."""
    checkpoint_every: int = 500


UniversalT = TypeVar("UniversalT", FaceField, MouthField)
PersonalT = TypeVar("PersonalT", PersonalFaceField, PersonalMouthField)
Watch = Callable[[UniversalT], dict[str, float]]


@dataclass
class Stage(Generic[UniversalT, PersonalT]):
    """One branch of everyone while it is learned."""

    name: str
    """`face` or `mouth`."""
    iterations: int
    universal_rate: float
    schedule: PhotometricSchedule
    state: IdentityFree[UniversalT, PersonalT]
    sittings: dict[str, Sitting]
    """By clip."""
    losses: dict[str, FrameLoss]
    """By clip."""
    rate: float | None = None
    """Iterations a second of this attempt, checkpoints and all; None where there was nothing left to do."""

    def draw(self) -> str:
        """A clip: people by the square root of their footage, their clips by length."""
        people = sorted({sitting.identity for sitting in self.sittings.values()})
        lengths = {who: {n: s.frames for n, s in self.sittings.items() if s.identity == who} for who in people}
        footage = torch.tensor([float(sum(mine.values())) for mine in lengths.values()]).sqrt()
        mine = lengths[people[self._one_of(footage)]]
        return list(mine)[self._one_of(torch.tensor([float(count) for count in mine.values()]))]

    def _one_of(self, weights: Tensor) -> int:
        return int(torch.multinomial(weights, 1, generator=self.state.generator))

    def step(self) -> tuple[Tensor, Tensor]:
        """One frame of one clip: the person's structure and own field move, the universal field does, nobody else's.

        Returns:
            Loss and contrast.
        """
        state, schedule = self.state, self.schedule
        name = self.draw()
        sitting = self.sittings[name]
        who = sitting.identity
        contrasted = schedule.contrast and state.iteration % schedule.contrast_every == 0
        partners = state.partners(who, schedule.partners) if contrasted else []
        own = state.personal[who].field if who in state.personal else None
        fields = TwoFields(state.universal.field, own, tuple(state.personal[other].field for other in partners))
        sitting.field = fields
        loss, _ = self.losses[name](sitting)
        share = schedule.contrast_every * (len(state.personal) - 1) / max(1, len(partners))
        contrast = share * fields.contrast
        (loss + schedule.contrast * contrast).backward()  # type: ignore[no-untyped-call]
        progress = state.iteration / self.iterations
        factor = field_factor(progress) if progress >= schedule.warm_up else 0.0
        sitting.step({**structure_rates(schedule.position_rate, progress), "colors": schedule.colour_rate})
        state.step([who], self.universal_rate * factor, schedule.personal_rate * factor)
        return loss.detach(), contrast.detach()

    def save(self, folder: RunFolder) -> None:
        """Write a checkpoint."""
        beside: dict[str, Tensor] = {}
        for name, sitting in self.sittings.items():
            beside |= sitting.tensors(f"sitting.{name}")
        self.state.save(folder, beside, {name: sitting.iteration for name, sitting in self.sittings.items()})

    def restore(self, folder: RunFolder) -> None:
        """Go on from the newest checkpoint, where there is one."""
        found = self.state.restore(folder)
        if found is not None:
            tensors, steps = found
            for name, sitting in self.sittings.items():
                sitting.restore(f"sitting.{name}", tensors, steps[name])

    def run(
        self, context: StageContext, folder: RunFolder, watch: Watch[UniversalT] | None, together: Together
    ) -> None:
        """Learn to the end of the schedule, from where `folder` says that an earlier run stood.

        Args:
            context: progress as the stage's name; cancel, which leaves a checkpoint.
            folder: checkpoints and curves: loss, contrast, iterations a second.
            watch: asked now and then what to log of the averaged universal field.
            together: this process among others.
        """
        self.restore(folder)
        state, recent = self.state, RunningMeans()
        first, started = state.iteration, time.monotonic()
        logged = (first, started)
        while state.iteration < self.iterations:
            if context.is_cancelled():
                self.save(folder)
                context.check()
            recent.add(*self.step())
            done, last = state.iteration, state.iteration == self.iterations
            if done % LOG_EVERY == 0 or last:
                context.report(self.name, done / self.iterations)
                now = time.monotonic()
                row: dict[str, object] = {"iteration": done, **recent.take(together)}
                row["iterations_per_s"] = round((done - logged[0]) / (now - logged[1]), 2)
                if watch is not None and (done % WATCH_EVERY == 0 or last):
                    row |= watch(state.averaged())
                folder.add(row)
                logged = (done, time.monotonic())
            if done % self.schedule.checkpoint_every == 0 or last:
                self.save(folder)
        if state.iteration > first:
            self.rate = round((state.iteration - first) / (time.monotonic() - started), 2)


@dataclass(frozen=True)
class Portrayed:
    """One clip when everything is learned."""

    filmed: Filmed
    face: Gaussians
    face_field: Field
    mouth: Gaussians
    mouth_field: Field


@dataclass(frozen=True)
class Photographed:
    """What the pictures gave."""

    face: FaceField
    """Universal; the one that came in where `face_rate` is 0."""
    mouth: MouthField | None
    """Universal; None where `mouth` is 0."""
    portraits: list[Portrayed]
    rates: dict[str, float | None]
    """Iterations a second by stage (see `Stage.rate`)."""


def start_faces(
    filmed: list[Filmed], face: FaceField, schedule: PhotometricSchedule, seed: int, together: Together = ALONE
) -> Stage[FaceField, PersonalFaceField]:
    """The faces before the first iteration, everyone moved by `face`."""
    people = _with_own(filmed, schedule)
    start = copy.deepcopy(face).requires_grad_(schedule.face_rate > 0)
    state = IdentityFree.start(lambda: start, lambda: awake(PersonalFaceField()), people, seed, together)
    points = schedule.surface_points, schedule.shell_points
    starts = {clip.name: face_gaussians(clip.data, canonical_face(), *points, seed) for clip in filmed}
    losses: dict[str, FrameLoss] = {clip.name: FaceLoss(clip.data) for clip in filmed}
    return Stage("face", schedule.face, schedule.face_rate, schedule, state, _sittings(filmed, starts, state), losses)


def start_mouths(
    filmed: list[Filmed],
    faces: Stage[FaceField, PersonalFaceField],
    schedule: PhotometricSchedule,
    seed: int,
    together: Together = ALONE,
) -> Stage[MouthField, PersonalMouthField]:
    """The mouths before the first iteration, behind learned faces.

    Their hooks come from the faces' surfaces: hair and ears, on the shell, don't speak.
    """
    people = _with_own(filmed, schedule)
    state = IdentityFree.start(lambda: awake(MouthField()), lambda: awake(PersonalMouthField()), people, seed, together)
    moving = moved_by(faces)
    losses: dict[str, FrameLoss] = {
        clip.name: MouthLoss(
            clip.data, faces.sittings[clip.name].gaussians.chosen(slice(schedule.surface_points)), moving[clip.name]
        )
        for clip in filmed
    }
    starts = {clip.name: mouth_gaussians(canonical_face(), schedule.mouth_points, seed) for clip in filmed}
    return Stage(
        "mouth", schedule.mouth, schedule.mouth_rate, schedule, state, _sittings(filmed, starts, state), losses
    )


def moved_by(stage: Stage[UniversalT, PersonalT]) -> dict[str, Field]:
    """How each clip's branch moves when all is learned: by the averaged universal field and the person's own."""
    universal = stage.state.averaged()
    own = {who: learner.field for who, learner in stage.state.personal.items()}
    return {name: TwoFields(universal, own.get(sitting.identity)) for name, sitting in stage.sittings.items()}


def _with_own(filmed: list[Filmed], schedule: PhotometricSchedule) -> list[str]:
    """Who gets a field of their own."""
    return sorted({clip.identity for clip in filmed}) if schedule.personal else []


def _sittings(
    filmed: list[Filmed], starts: dict[str, Gaussians], state: IdentityFree[UniversalT, PersonalT]
) -> dict[str, Sitting]:
    return {
        clip.name: Sitting.start(
            clip.identity, clip.data.count, starts[clip.name], state.universal.field, state.generator
        )
        for clip in filmed
    }


def train_photometric(
    filmed: list[Filmed],
    face: FaceField,
    schedule: PhotometricSchedule,
    seed: int,
    context: StageContext,
    folders: tuple[RunFolder, RunFolder],
    watch: Watch[FaceField] | None = None,
    together: Together = ALONE,
) -> Photographed:
    """Both stages.

    Args:
        filmed: this process's clips, at least one.
        face: the universal face field that landmarks gave.
        schedule: hyper-parameters.
        seed: of every start and every draw.
        context: progress as stages `face` and `mouth`; cancel, which leaves a checkpoint.
        folders: of the faces' and of the mouths' run.
        watch: what to log of the face field, where it learns.
        together: this process among others.
    """
    faces = start_faces(filmed, face, schedule, seed, together)
    faces.run(context, folders[0], watch if schedule.face_rate else None, together)
    mouths = start_mouths(filmed, faces, schedule, seed, together)
    mouths.run(context, folders[1], None, together)
    face_fields, mouth_fields = moved_by(faces), moved_by(mouths)
    portraits = [
        Portrayed(
            clip,
            faces.sittings[clip.name].gaussians.frozen(),
            face_fields[clip.name],
            mouths.sittings[clip.name].gaussians.frozen(),
            mouth_fields[clip.name],
        )
        for clip in filmed
    ]
    rates = {stage.name: stage.rate for stage in (faces, mouths)}
    return Photographed(faces.state.averaged(), mouths.state.averaged() if schedule.mouth else None, portraits, rates)
