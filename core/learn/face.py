"""The face branch's training: head without the mouth's interior, over a background drawn anew at every iteration.

A fixed background colour leaks into the lips; a random one doesn't (feasibility file, defect 3). Where the recording
shows the mouth's inside, the recording itself is the background: parsing errs by a pixel or two at the lips' edge, and
what it calls mouth may be lip. A random colour punishes that lip, the recorded one asks only that it look right.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.avatar.drawing import draw_moved, moved
from core.clip.layout import Label
from core.learn.losses import ALPHA_WEIGHT, MOTION_WEIGHT, coverage, reconstruction
from core.learn.patches import PatchLoss
from core.learn.sitting import Learning
from core.learn.training_set import TrainingSet
from core.splat import Rasterization

GUIDED_EVERY = 10
"""Each 10th frame shows a widely opened mouth (the facts sheet's lip-opening window, bounded), another one a blink."""
SHUT = 0.5
"""Blink coefficient from which lids count as shut."""
FACE_LABELS = (Label.HAIR, Label.SKIN, Label.LIPS)


class FaceLoss:
    """Picks a frame and compares the drawn face branch with it."""

    def __init__(
        self,
        data: TrainingSet,
        *,
        mouth: bool = False,
        perceptual: PatchLoss | None = None,
        perceptual_from: int = 0,
    ) -> None:
        """
        Args:
            data: the training frames.
            mouth: the branch paints the mouth's interior too, for want of a branch that does.
            perceptual: added where it is due from iteration `perceptual_from` on; None leaves it out.
            perceptual_from: see there.
        """
        self._data = data
        self._perceptual = perceptual
        self._perceptual_from = perceptual_from
        self._belongs = np.isin(np.arange(256), (*FACE_LABELS, Label.MOUTH) if mouth else FACE_LABELS)
        widest = np.argsort(data.opening)[-max(1, data.count // 4) :]
        shut = np.nonzero(data.expression[:, -1].numpy() >= SHUT)[0]
        self._guided: dict[int, list[int]] = {GUIDED_EVERY - 1: widest.tolist(), GUIDED_EVERY // 2 - 1: shut.tolist()}

    def __call__(self, branch: Learning) -> tuple[Tensor, Rasterization]:
        """Loss and drawing of the branch's next frame."""
        data = self._data
        guided = self._guided.get(branch.iteration % GUIDED_EVERY)
        index = branch.draw_from(guided) if guided else branch.next_frame(data.count)
        background = torch.rand(3, generator=branch.generator)
        box = data.head_boxes[index]
        pixels, labels = data.crop(index, box)
        belongs = np.take(self._belongs, labels)
        shown = belongs | (labels == Label.MOUTH)
        inside = torch.from_numpy(belongs)
        covered = inside.float()
        target = torch.lerp(background[:, None, None], pixels, torch.from_numpy(shown).float())
        means = branch.gaussians.means[: branch.moving]
        shape = moved(branch.gaussians, branch.field(means, data.windows[index], data.expression[index]))
        drawn = draw_moved(shape, branch.gaussians.colors, data.poses[index], data.view(box), background)
        image = _before(drawn, pixels - background[:, None, None], shown & ~belongs)
        loss = (
            reconstruction(image, target)
            + ALPHA_WEIGHT * coverage(drawn.alpha, covered)
            + MOTION_WEIGHT * shape.magnitude
        )
        late = branch.iteration >= self._perceptual_from
        if self._perceptual is not None and late and self._perceptual.due(branch.iteration):
            loss = loss + self._perceptual(image, target, inside, branch.generator)
        return loss, drawn


def _before(drawn: Rasterization, behind: Tensor, hole: npt.NDArray[np.bool_]) -> Tensor:
    """The drawn picture with something added to its background in a hole of it.

    Args:
        drawn: [3, h, w] and its alpha.
        behind: [3, h, w] what to add.
        hole: [h, w] where.
    """
    rows, columns = np.nonzero(hole.any(1))[0], np.nonzero(hole.any(0))[0]
    if not len(rows):
        return drawn.image
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    seen = (1 - drawn.alpha[part]) * torch.from_numpy(hole[part]).float()
    image = drawn.image.clone()
    image[(slice(None), *part)] += seen * behind[(slice(None), *part)]
    return image
