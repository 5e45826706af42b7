"""What of a head stands still: Gaussians away from the face, which no field has learned to move.

The universal field saw the face's mesh alone; what it says of hair, ears and the back of the head is an accident (about
0.15 mm). There the motion is replaced by its mean over the training frames: no picture shows the difference
(docs/learning.md), nothing there breathes with speech, and a third of the field's work falls away.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from core.avatar import Avatar, Gaussians, Motion
from core.clip.canonical import canonical_face
from core.learn.training_set import TrainingSet

REACH = 0.015
"""Metres from the mesh's nearest vertex (its edges are a centimetre long) within which a Gaussian moves."""
LOOKS = 32
"""Frames of which the mean is taken."""


@torch.no_grad()
def settled(avatar: Avatar, data: TrainingSet) -> Avatar:
    """The avatar with its face's Gaussians in order: those that move, then those that stand at their mean."""
    resting = _mean(avatar, data)
    face = avatar.face
    vertices = torch.from_numpy(canonical_face().vertices).float()
    moves = torch.cdist(face.means + resting.translation, vertices).amin(1) <= REACH
    stands = ~moves[:, None]
    rested = replace(
        face,
        means=face.means + stands * resting.translation,
        quaternions=face.quaternions + stands * _or_zero(resting.rotation, face.quaternions),
        scales=face.scales + stands * _or_zero(resting.scale, face.scales),
    )
    order = torch.argsort(stands[:, 0].int(), stable=True)
    ordered = Gaussians(**{name: value[order] for name, value in rested.tensors().items()})
    return replace(avatar, face=ordered, moving=int(moves.sum()))


def _mean(avatar: Avatar, data: TrainingSet) -> Motion:
    features = avatar.face_field.features(avatar.face.means)
    frames = range(0, data.count, max(1, data.count // LOOKS))
    field = avatar.face_field
    motions = [field.move(features, *field.condition(data.windows[i], data.expression[i])) for i in frames]
    return Motion(
        torch.stack([motion.translation for motion in motions]).mean(0),
        torch.stack([_or_zero(motion.rotation, avatar.face.quaternions) for motion in motions]).mean(0),
        torch.stack([_or_zero(motion.scale, avatar.face.scales) for motion in motions]).mean(0),
    )


def _or_zero(part: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if part is None else part
