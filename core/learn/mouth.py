"""The mouth branch's training: the mouth's interior inside the lip box, driven by speech and the face-mouth hook.

Behind the lip ring the branch may be anything: what it draws there the face covers, and penalising it leaves black gaps
at the lips' edge (feasibility file, defect 2: +0.95 dB at the mouth).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core.avatar import Gaussians, face_mouth_hook, hook_extremes, hook_rows
from core.avatar.drawing import draw_moved, moved
from core.avatar.motion import HOOK_RANK, HOOK_RANKS
from core.clip.layout import Label
from core.learn.losses import ALPHA_WEIGHT, MOTION_WEIGHT, coverage, reconstruction
from core.learn.sitting import Field, Learning
from core.learn.training_set import TrainingSet
from core.splat import Rasterization

MINIMUM_AREA = 20
"""Pixels of visible mouth interior, at 512, that make a frame worth learning from."""
ANY_EVERY = 5
"""Each 5th frame may be any, so that shut mouths are learned too."""


class MouthLoss:
    """Picks a frame and compares the drawn mouth branch with it."""

    def __init__(self, data: TrainingSet, face: Gaussians, face_field: Field, *, hooked: bool = True) -> None:
        """
        Args:
            data: the training frames.
            face: the finished face branch.
            face_field: how it moves.
            hooked: the face's motion reaches the mouth; zeros where not.
        """
        self._data, self._face, self._face_field = data, face, face_field
        self._hooked = float(hooked)
        self._hook_rows = hook_rows(face.means)
        least = MINIMUM_AREA * (data.size / 512) ** 2
        self._open: list[int] = np.nonzero(data.mouth_area >= least)[0].tolist() or list(range(data.count))
        self._extremes: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, branch: Learning) -> tuple[Tensor, Rasterization]:
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
        hook = face_mouth_hook(*self._face_extremes(index), rank) * self._hooked
        shape = moved(branch.gaussians, branch.field(branch.gaussians.means, data.windows[index], hook))
        drawn = draw_moved(shape, branch.gaussians.colors, data.poses[index], data.view(box), background)
        image = torch.where(ring, background[:, None, None], drawn.image)
        loss = (
            reconstruction(image, target)
            + ALPHA_WEIGHT * coverage(drawn.alpha, inside.float(), (~ring).float())
            + MOTION_WEIGHT * shape.magnitude
        )
        return loss, drawn

    @torch.no_grad()
    def _face_extremes(self, index: int) -> tuple[Tensor, Tensor]:
        """Extremes of the face branch's motion in a frame, computed when they are first asked for."""
        if index not in self._extremes:
            data = self._data
            motion = self._face_field(self._face.means, data.windows[index], data.expression[index])
            self._extremes[index] = hook_extremes(motion, self._hook_rows, HOOK_RANKS)
        return self._extremes[index]
