"""LPIPS (Zhang et al. 2018) version 0.1 with its AlexNet, in plain torch: no torchvision, no pickle.

Knows arrays and one weights file; no avatar and no video.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from core.models import locate

_CONVOLUTIONS = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))
"""Stride and padding of AlexNet's five convolutions; each is followed by a ReLU whose output is compared."""
_POOL_BEFORE = (1, 2)
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_NEVER_ZERO = 1e-10
"""Under the root: where all channels are zero the gradient of a bare root is infinite."""
SMALLEST_SIDE = 31
"""Pixels; in smaller pictures AlexNet's second pooling leaves nothing to compare."""


class Lpips:
    """The distance, with its weights loaded."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        """
        Args:
            weights: `conv{k}.weight` [out, in, h, w], `conv{k}.bias` [out] and `lin{k}.weight` [out] for k in 1..5,
                float32.
        """
        self._convolutions = [(weights[f"conv{k}.weight"], weights[f"conv{k}.bias"]) for k in range(1, 6)]
        self._linear = [weights[f"lin{k}.weight"].reshape(1, -1, 1, 1) for k in range(1, 6)]

    @staticmethod
    def from_file(path: Path) -> Lpips:
        """Load the weights from a safetensors file."""
        return Lpips(load_file(path))

    @staticmethod
    def published() -> Lpips:
        """With the published weights.

        Raises:
            MissingModelError: they are not on this machine.
        """
        return Lpips.from_file(locate("lpips_alexnet"))

    @torch.no_grad()
    def distance(self, rendered: npt.NDArray[np.uint8], recorded: npt.NDArray[np.uint8]) -> float:
        """LPIPS of two [H, W, 3] uint8 pictures with sides of at least 31 pixels; 0 for equal pictures."""
        if min(rendered.shape[:2]) < SMALLEST_SIDE or rendered.shape != recorded.shape:
            raise ValueError("LPIPS compares two pictures of the same shape with sides of at least 31 pixels")
        pair = torch.from_numpy(np.stack([rendered, recorded])).permute(0, 3, 1, 2).float() / 255
        return float(self.loss(pair[0], pair[1]))

    def loss(self, rendered: Tensor, recorded: Tensor) -> Tensor:
        """The same of two [3, H, W] pictures in 0..1, with gradients to the first alone."""
        with torch.no_grad():
            truth = self._layers(recorded)
        total = rendered.new_zeros(())
        for layer, true, weight in zip(self._layers(rendered), truth, self._linear, strict=True):
            total = total + ((layer - true).square() * weight).sum(1).mean()
        return total

    def _layers(self, picture: Tensor) -> list[Tensor]:
        """Five layers of a [3, H, W] picture, each position's channels brought to length one."""
        x = (picture[None] * 2 - 1 - torch.tensor(_SHIFT).view(1, 3, 1, 1)) / torch.tensor(_SCALE).view(1, 3, 1, 1)
        units = []
        for k, ((weight, bias), (stride, padding)) in enumerate(zip(self._convolutions, _CONVOLUTIONS, strict=True)):
            if k in _POOL_BEFORE:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(F.conv2d(x, weight, bias, stride, padding))
            units.append(x / (x.square().sum(1, keepdim=True) + _NEVER_ZERO).sqrt())
        return units
