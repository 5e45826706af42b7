"""The face branch's training: head without the mouth's interior, over a background drawn anew at every iteration.

A fixed background colour leaks into the lips; a random one doesn't (feasibility file, defect 3).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core.avatar.drawing import draw
from core.clip.layout import Label
from core.learn.losses import ALPHA_WEIGHT, MOTION_WEIGHT, coverage, reconstruction
from core.learn.sitting import Learning
from core.learn.training_set import TrainingSet
from core.splat import Rasterization

GUIDED_EVERY = 10
"""Each 10th frame shows a widely opened mouth (the facts sheet's lip-opening window, bounded)."""
FACE_LABELS = (Label.HAIR, Label.SKIN, Label.LIPS)


class FaceLoss:
    """Picks a frame and compares the drawn face branch with it."""

    def __init__(self, data: TrainingSet) -> None:
        self._data = data
        widest = np.argsort(data.opening)[-max(1, data.count // 4) :]
        self._wide: list[int] = widest.tolist()

    def __call__(self, branch: Learning) -> tuple[Tensor, Rasterization]:
        """Loss and drawing of the branch's next frame."""
        data = self._data
        guided = branch.iteration % GUIDED_EVERY == GUIDED_EVERY - 1
        index = branch.draw_from(self._wide) if guided else branch.next_frame(data.count)
        background = torch.rand(3, generator=branch.generator)
        box = data.head_boxes[index]
        pixels, labels = data.crop(index, box)
        inside = torch.from_numpy(np.isin(labels, FACE_LABELS))
        target = torch.where(inside, pixels, background[:, None, None])
        motion = branch.field(branch.gaussians.means, data.windows[index], data.expression[index])
        drawn = draw(branch.gaussians, motion, data.poses[index], data.view(box), background)
        loss = (
            reconstruction(drawn.image, target)
            + ALPHA_WEIGHT * coverage(drawn.alpha, inside.float())
            + MOTION_WEIGHT * motion.magnitude()
        )
        return loss, drawn
