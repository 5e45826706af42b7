"""The scene that the figures of docs/splatting.md are measured on: Gaussians on a head-sized ellipsoid shell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from core.camera import Camera


@dataclass(frozen=True)
class BenchmarkScene:
    """Inputs of `core.splat.rasterize`."""

    means: Tensor
    quaternions: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    world_to_camera: Tensor
    camera: Camera

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Means, quaternions, scales, opacities, colours."""
        return self.means, self.quaternions, self.scales, self.opacities, self.colors


def benchmark_scene(count: int, resolution: int, channels: int = 3, seed: int = 0) -> BenchmarkScene:
    """`count` Gaussians on an ellipsoid that fills 60 % of the picture; 3-sigma radii 3..8 px, opacities 0.3..0.99."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    distance, height = 4.0, 0.5
    pixels_per_unit = 2.0 * resolution / distance
    width = 0.6 / (math.pi * height)
    axes = torch.tensor([width, height, width], dtype=torch.float64) * resolution / pixels_per_unit
    means = torch.nn.functional.normalize(normal(count, 3), dim=-1) * axes * (1 + 0.01 * normal(count, 1))
    radius = 3.0 + 5.0 * uniform(count, 1)
    sigma = torch.sqrt(((radius / 3) ** 2 - 0.3).clamp(min=0.05))
    scales = sigma / pixels_per_unit * torch.exp(0.3 * normal(count, 3))
    quaternions = torch.nn.functional.normalize(normal(count, 4), dim=-1)
    opacities = 0.3 + 0.69 * uniform(count)
    colors = uniform(count, channels)
    view = torch.eye(4, dtype=torch.float64)
    angle = 0.2
    view[0, 0] = view[2, 2] = math.cos(angle)
    view[0, 2], view[2, 0] = math.sin(angle), -math.sin(angle)
    view[2, 3] = distance
    camera = Camera.centred(2.0 * resolution, resolution)
    return BenchmarkScene(
        means.float(), quaternions.float(), scales.float(), opacities.float(), colors.float(), view.float(), camera
    )
