"""The last stage: both branches composited over the real backdrop, and everything tuned together.

Each branch learned by itself against a mask of its own, and masks are wrong at the edge of lips and hair. Here the
picture alone decides, so shapes and motion learn on: the official code freezes them (facts sheet, section 4, "Fuse"),
which costs lips and sharpness (docs/learning.md).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.avatar import Avatar, Gaussians, Motion, face_mouth_hook, hook_extremes, hook_rows
from core.avatar.drawing import compose, draw
from core.learn.contribution import TURNED, painted_pixels, recoloured, shows
from core.learn.losses import reconstruction
from core.learn.optimise import RATES, FieldAdamW, GaussianAdam
from core.learn.patches import PatchLoss
from core.learn.training_set import TrainingSet, as_picture
from core.progress import StageContext

STRUCTURE_RATES = {**RATES, "means": 3.2e-6, "opacities": 1e-2}
"""Positions at a tenth of the rate that the face stage starts with."""
FIELD_FACTOR = 0.2
"""On the fields' rates: where their own stages end."""
LEFT = 0.1
"""Of every rate at the end; it falls evenly."""
REPORT_EVERY = 5
LOOKS = 12
"""Frames in which a Gaussian has to show at least once."""


@dataclass(frozen=True)
class _Moved:
    face: Motion
    mouth: Motion


def fuse(
    avatar: Avatar,
    data: TrainingSet,
    backdrops: npt.NDArray[np.uint8],
    iterations: int,
    perceptual: PatchLoss | None,
    seed: int,
    context: StageContext,
    *,
    hooked: bool = True,
) -> Avatar:
    """The avatar with both branches tuned together, without Gaussians that never show.

    Those that show only when the head turns further than it did take their neighbours' colours.

    Short enough (seconds to two minutes) to start anew where it was cut off.

    Args:
        avatar: with both branches trained; of its fields, copies of those parameters learn that want gradients.
        data: the training frames.
        backdrops: [T, S, S, 3] torso over background plate for each of them.
        iterations: single frames.
        perceptual: added to the loss where it is due; None leaves it out.
        seed: of the frame order.
        context: progress as stage `fuse`.
        hooked: the face's motion reaches the mouth; zeros where not.
    """
    avatar, seen = _without_invisible(avatar, data)
    generator = torch.Generator().manual_seed(seed)
    fields = copy.deepcopy(avatar.face_field), copy.deepcopy(avatar.mouth_field)
    branches = avatar.face.trainable(), avatar.mouth.trainable()
    tuned = replace(avatar, face=branches[0], face_field=fields[0], mouth=branches[1], mouth_field=fields[1])
    structures = [(branch, GaussianAdam(branch)) for branch in branches]
    motions = [FieldAdamW(field) for field in fields]
    for iteration in range(iterations):
        context.check()
        index = int(torch.randint(data.count, (1,), generator=generator))
        image, target = _picture(tuned, _move(tuned, data, index, hooked=hooked), data, backdrops, index)
        loss = reconstruction(image, target)
        if perceptual is not None and perceptual.due(iteration):
            loss = loss + perceptual(image, target, torch.ones_like(target[0], dtype=torch.bool), generator)
        loss.backward()  # type: ignore[no-untyped-call]
        fade = 1 - (1 - LEFT) * iteration / iterations
        rates = {name: rate * fade for name, rate in STRUCTURE_RATES.items()}
        for branch, adam in structures:
            adam.step(branch, rates)
        for motion in motions:
            motion.step(FIELD_FACTOR * fade)
        if iteration % REPORT_EVERY == 0:
            context.report("fuse", iteration / iterations)
    context.report("fuse", 1.0)
    for field in fields:
        field.requires_grad_(False)
    face, mouth = (branch.frozen() for branch in branches)
    return replace(tuned, face=recoloured(face, seen.face), mouth=recoloured(mouth, seen.mouth))


@dataclass(frozen=True)
class _Seen:
    """[N] bool of each branch: which Gaussians some training picture shows."""

    face: Tensor
    mouth: Tensor


def _without_invisible(avatar: Avatar, data: TrainingSet) -> tuple[Avatar, _Seen]:
    """The avatar without the Gaussians that no picture shows, turned further or not, and what is seen of the others."""
    frames = range(0, data.count, max(1, data.count // LOOKS))
    with torch.no_grad():
        moved = [(_move(avatar, data, index), data.poses[index]) for index in frames]
    face_seen, face = _shown(avatar.face, [(m.face, pose) for m, pose in moved], data)
    mouth_seen, mouth = _shown(avatar.mouth, [(m.mouth, pose) for m, pose in moved], data)
    moving = None if avatar.moving is None else int(face[: avatar.moving].sum())
    kept = replace(avatar, face=avatar.face.chosen(face), mouth=avatar.mouth.chosen(mouth), moving=moving)
    return kept, _Seen(face_seen[face], mouth_seen[mouth])


def _shown(gaussians: Gaussians, pictures: list[tuple[Motion, Tensor]], data: TrainingSet) -> tuple[Tensor, Tensor]:
    """[N] bool: what these pictures show, and what they or the same turned further do."""
    seen = shows(painted_pixels(gaussians, pictures, data.camera), data.size)
    return seen, seen | shows(painted_pixels(gaussians, pictures, data.camera, TURNED), data.size)


def _move(avatar: Avatar, data: TrainingSet, index: int, *, hooked: bool = True) -> _Moved:
    moving = slice(avatar.moving)
    face = avatar.face_field(avatar.face.means[moving], data.windows[index], data.expression[index])
    hook = face_mouth_hook(*hook_extremes(face, hook_rows(avatar.face.means[moving]))) * float(hooked)
    return _Moved(face, avatar.mouth_field(avatar.mouth.means, data.windows[index], hook))


def _picture(
    avatar: Avatar, moved: _Moved, data: TrainingSet, backdrops: npt.NDArray[np.uint8], index: int
) -> tuple[Tensor, Tensor]:
    """What both branches make of a frame's head box over its backdrop, and what was recorded there: [3, h, w] each."""
    box = left, top, right, bottom = data.head_boxes[index]
    view, pose = data.view(box), data.poses[index]
    target, _ = data.crop(index, box)
    backdrop = as_picture(backdrops[index, top:bottom, left:right])
    face = draw(avatar.face, moved.face, pose, view, None)
    mouth = draw(avatar.mouth, moved.mouth, pose, view, None)
    return compose(face, mouth, backdrop, data.size), target
