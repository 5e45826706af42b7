"""The mouth branch's training: the mouth's interior inside the lip box, driven by speech and the face-mouth hook.

Behind the lip ring the branch may be anything: what it draws there the face covers, and penalising it leaves black gaps
at the lips' edge (feasibility file, defect 2: +0.95 dB at the mouth).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core.avatar import FaceField, Gaussians, MouthField, face_mouth_hook, hook_extremes
from core.avatar.drawing import draw
from core.avatar.motion import HOOK_RANK, HOOK_RANKS
from core.clip.layout import Label
from core.learn.branch import Branch
from core.learn.losses import ALPHA_WEIGHT, MOTION_WEIGHT, coverage, reconstruction
from core.learn.training_set import TrainingSet
from core.splat import Rasterization

MINIMUM_AREA = 20
"""Pixels of visible mouth interior, at 512, that make a frame worth learning from."""
ANY_EVERY = 5
"""Each 5th frame may be any, so that shut mouths are learned too."""


class MouthLoss:
    """Picks a frame and compares the drawn mouth branch with it."""

    def __init__(self, data: TrainingSet, face: Gaussians, face_field: FaceField, *, hooked: bool = True) -> None:
        """`hooked`: the face's motion reaches the mouth; zeros where not."""
        self._data = data
        self._hooked = float(hooked)
        least = MINIMUM_AREA * (data.size / 512) ** 2
        self._open: list[int] = np.nonzero(data.mouth_area >= least)[0].tolist() or list(range(data.count))
        self._hooks = _hooks(data, face, face_field)

    def __call__(self, branch: Branch[MouthField]) -> tuple[Tensor, Rasterization]:
        """Loss and drawing of the branch's next frame."""
        data = self._data
        anything = branch.iteration % ANY_EVERY == 0
        index = branch.next_frame(data.count) if anything else branch.draw_from(self._open)
        background = torch.rand(3, generator=branch.generator)
        box = data.lip_boxes[index]
        pixels, labels = data.crop(index, box)
        inside = torch.from_numpy(labels == Label.MOUTH)
        ring = torch.from_numpy(labels == Label.LIPS)
        target = torch.where(inside, pixels, background[:, None, None])
        rank = int(torch.randint(HOOK_RANK, HOOK_RANKS + 1, (1,), generator=branch.generator))
        hook = face_mouth_hook(*self._hooks[index], rank) * self._hooked
        motion = branch.field(branch.gaussians.means, data.windows[index], hook)
        drawn = draw(branch.gaussians, motion, data.poses[index], data.view(box), background)
        image = torch.where(ring, background[:, None, None], drawn.image)
        loss = (
            reconstruction(image, target)
            + ALPHA_WEIGHT * coverage(drawn.alpha, inside.float(), (~ring).float())
            + MOTION_WEIGHT * motion.magnitude()
        )
        return loss, drawn


@torch.no_grad()
def _hooks(data: TrainingSet, face: Gaussians, field: FaceField) -> list[tuple[Tensor, Tensor]]:
    """Extremes of the finished face branch's motion for every frame."""
    features = field.features(face.means)
    found = []
    for windows, expression in zip(data.windows, data.expression, strict=True):
        motion = field.move(features, *field.condition(windows, expression))
        found.append(hook_extremes(motion, HOOK_RANKS))
    return found
