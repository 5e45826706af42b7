"""Density control: where pictures pull hard, Gaussians are cloned or split; where they do nothing, removed.

The strategy of 3D Gaussian Splatting (Kerbl et al. 2023, section 5.2), with gradients rescaled to the whole frame so
that one threshold serves every crop, and without green-colour pruning, which a random background makes needless.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.avatar import Gaussians
from core.avatar.gaussians import inverse_softplus
from core.learn.profiles import BranchSchedule
from core.splat import Rasterization
from core.splat.reference import rotation_matrices

SPLIT_SCALE = 5e-4
"""Metres: larger Gaussians are split in two, smaller ones cloned (percent_dense 0.005 of a 0.1 m extent)."""
SPLIT_SHRINK = 1.6


@dataclass
class DensityStatistics:
    """Screen-space gradients since the last round."""

    total: Tensor
    """[N] sum of gradient norms in normalised device units."""
    seen: Tensor
    """[N] how often the Gaussian had one."""

    @staticmethod
    def empty(count: int) -> DensityStatistics:
        """Nothing seen yet of `count` Gaussians."""
        return DensityStatistics(torch.zeros(count), torch.zeros(count))

    def add(self, drawn: Rasterization, size: int) -> None:
        """Take in one backward pass.

        Args:
            drawn: the crop; its loss was a mean over the crop's own pixels.
            size: side of the whole frame.
        """
        height, width = drawn.alpha.shape
        gradient = drawn.screen.gradient
        if gradient is None:
            raise ValueError("no backward pass has reached this drawing")
        norms = gradient.norm(dim=1) * (size / 2 * width * height / size**2)
        self.total += norms
        self.seen += norms > 0

    def mean(self) -> Tensor:
        """[N]"""
        return self.total / self.seen.clamp(min=1)


@dataclass(frozen=True)
class Revision:
    """What one round of density control decided: rows to keep, and rows to append."""

    keep: Tensor
    """[N] bool."""
    added: Gaussians
    """Clones and halves; their optimiser state starts at zero."""


@torch.no_grad()
def revise(
    gaussians: Gaussians, statistics: DensityStatistics, schedule: BranchSchedule, generator: torch.Generator
) -> Revision:
    """Decide one round; the number of Gaussians never goes above `schedule.cap`."""
    gradients = statistics.mean()
    pulled = gradients >= schedule.gradient_threshold
    room = max(0, schedule.cap - gaussians.count)
    if int(pulled.sum()) > room:
        strongest = torch.topk(torch.where(pulled, gradients, torch.zeros(())), min(room, gaussians.count)).indices
        pulled = torch.zeros_like(pulled)
        pulled[strongest] = True
    sigma = gaussians.sigma()
    largest = sigma.amax(1)
    cloned = pulled & (largest <= SPLIT_SCALE)
    split = pulled & ~cloned
    rows = gaussians.tensors()
    halves = {name: value[split].repeat_interleave(2, dim=0) for name, value in rows.items()}
    halves["scales"] = inverse_softplus(sigma[split] / SPLIT_SHRINK).repeat_interleave(2, dim=0)
    spread = torch.randn(halves["means"].shape, generator=generator) * sigma[split].repeat_interleave(2, dim=0)
    turn = rotation_matrices(halves["quaternions"])
    halves["means"] = halves["means"] + torch.einsum("nij,nj->ni", turn, spread)
    added = Gaussians(**{name: torch.cat([value[cloned], halves[name]]) for name, value in rows.items()})
    keep = ~split & (gaussians.opacity() > schedule.minimum_opacity) & (largest < schedule.maximum_scale)
    return Revision(keep, added)
