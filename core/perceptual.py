"""LPIPS (Zhang et al. 2018) version 0.1 with its AlexNet and published weights: no torchvision, no pickle.

Knows arrays and one weights file; no avatar and no video.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor

from core.models import locate
from core.splat import LpipsNetwork
from core.splat.lpips import SMALLEST_SIDE


class Lpips:
    """The distance, with its weights loaded."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        """
        Args:
            weights: `conv{k}.weight` [out, in, h, w], `conv{k}.bias` [out] and `lin{k}.weight` [out] for k in 1..5,
                float32.
        """
        convolutions, biases, linear = (
            [weights[f"{name}{k}.{kind}"] for k in range(1, 6)]
            for name, kind in (("conv", "weight"), ("conv", "bias"), ("lin", "weight"))
        )
        self._network = LpipsNetwork(convolutions, biases, [one.flatten() for one in linear])

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
        """LPIPS of two [H, W, 3] uint8 pictures with sides of at least 31 pixels; 0, up to rounding, for equal ones."""
        if rendered.shape != recorded.shape or min(rendered.shape[:2]) < SMALLEST_SIDE:
            raise ValueError(f"LPIPS compares two pictures of one shape with sides of at least {SMALLEST_SIDE} pixels")
        pair = torch.from_numpy(np.stack([rendered, recorded])).permute(0, 3, 1, 2).float() / 255
        return float(self.loss(pair[0], pair[1]))

    def loss(self, rendered: Tensor, recorded: Tensor) -> Tensor:
        """The same of two [3, H, W] pictures in 0..1, with gradients to the first alone."""
        return self._network.distance(rendered, recorded)
