"""The perceptual loss: LPIPS on one patch of the picture, where L1 and SSIM alone leave skin soft.

Facts sheet, section 4: patches, because a whole picture would cost more than all the rest of an iteration, and late,
because LPIPS pulls at shapes that are not there yet. Knows no branch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.perceptual import Lpips
from core.splat.lpips import SMALLEST_SIDE

PATCH = 128
"""Side in pixels of a 512-pixel frame."""


@dataclass(frozen=True)
class PatchLoss:
    """LPIPS of one random patch, weighted."""

    network: Lpips
    weight: float
    size: int
    """Side of the whole frame in pixels."""
    every: int = 1
    """Iterations to a patch."""

    def due(self, iteration: int) -> bool:
        """Whether this iteration has one."""
        return iteration % self.every == 0

    def __call__(self, image: Tensor, target: Tensor, inside: Tensor, generator: torch.Generator) -> Tensor:
        """Weighted distance of a patch about a random pixel of `inside`; zero where none is, or the crop is too small.

        Args:
            image: [3, H, W] drawn, 0..1.
            target: [3, H, W] recorded.
            inside: [H, W] bool, where the patch's middle may lie.
            generator: of the draw.
        """
        height, width = inside.shape
        side = max(SMALLEST_SIDE, PATCH * self.size // 512)
        rows, columns = torch.nonzero(inside, as_tuple=True)
        if len(rows) == 0 or min(height, width) < side:
            return torch.zeros(())
        chosen = int(torch.randint(len(rows), (1,), generator=generator))
        top = min(max(0, int(rows[chosen]) - side // 2), height - side)
        left = min(max(0, int(columns[chosen]) - side // 2), width - side)
        here = (slice(None), slice(top, top + side), slice(left, left + side))
        return self.weight * self.network.loss(image[here], target[here])
