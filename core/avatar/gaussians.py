"""The structure field: one branch's 3D Gaussians in head space, as raw parameters. Knows no motion and no training.

Facts sheet, section 2.1: scale activation softplus, opacity sigmoid, quaternions (wxyz) normalised when used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

MINIMUM_SCALE = 2e-4
"""Metres: smaller start scales only alias."""


@dataclass
class Gaussians:
    """N Gaussians; every tensor is a trainable leaf, float32."""

    means: Tensor
    """[N, 3] metres, head space."""
    quaternions: Tensor
    """[N, 4] wxyz, any length."""
    scales: Tensor
    """[N, 3] before softplus; metres after it."""
    opacities: Tensor
    """[N] before sigmoid."""
    colors: Tensor
    """[N, 3] linear in sRGB 0..1 (spherical harmonics of degree 0), not clamped."""

    @staticmethod
    def at(points: Tensor, colors: Tensor, spacing: Tensor, opacity: float) -> Gaussians:
        """Round Gaussians of one opacity.

        Args:
            points: [N, 3] metres.
            colors: [N, 3].
            spacing: [N] standard deviation in metres.
            opacity: 0..1, exclusive.
        """
        count = points.shape[0]
        quaternions = torch.zeros(count, 4)
        quaternions[:, 0] = 1
        scales = inverse_softplus(spacing.clamp(min=MINIMUM_SCALE))[:, None].repeat(1, 3)
        opacities = torch.full((count,), math.log(opacity / (1 - opacity)))
        return Gaussians(points.clone(), quaternions, scales, opacities, colors.clone()).trainable()

    @property
    def count(self) -> int:
        """N."""
        return int(self.means.shape[0])

    def tensors(self) -> dict[str, Tensor]:
        """The raw parameters by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def chosen(self, which: Tensor | slice) -> Gaussians:
        """Those of the given rows, mask or range, without gradients."""
        return Gaussians(**{k: v.detach()[which] for k, v in self.tensors().items()})

    def trainable(self) -> Gaussians:
        """The same values as contiguous leaves that want gradients."""
        return Gaussians(**{k: v.detach().contiguous().requires_grad_(True) for k, v in self.tensors().items()})

    def frozen(self) -> Gaussians:
        """The same values without gradients."""
        return Gaussians(**{k: v.detach().contiguous() for k, v in self.tensors().items()})

    def sigma(self) -> Tensor:
        """[N, 3] standard deviations in metres."""
        return F.softplus(self.scales)

    def opacity(self) -> Tensor:
        """[N] in 0..1."""
        return torch.sigmoid(self.opacities)


def inverse_softplus(x: Tensor) -> Tensor:
    """The y with softplus(y) = x, for x > 0."""
    return torch.log(torch.expm1(x))
