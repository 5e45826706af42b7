"""gsplat's own torch functions as a peer to measure against and to check pictures with (the optional `gpu` extra).

Two things gsplat has on CUDA only: the index of (pixel, Gaussian) pairs and nerfacc's sums along rays. The stand-ins
here are plain torch. The index is computed once, outside what is timed, which flatters the peer.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.splat import reference
from core.splat.scene import BenchmarkScene


@dataclass(frozen=True)
class PairIndex:
    """The pairs that contribute to a picture, by pixel and front to back."""

    gaussians: Tensor
    """[M] int64."""
    pixels: Tensor
    """[M] int64, row-major."""


def contributing_pairs(scene: BenchmarkScene) -> PairIndex:
    """Every (pixel, Gaussian) with alpha >= 1/255 that is reached with transmittance above 1e-4 after it."""
    camera = scene.camera
    screen, covariance, depth = reference.project(
        scene.means, scene.quaternions, scene.scales, scene.world_to_camera, camera
    )
    conic = torch.linalg.inv(covariance)
    reach = torch.sqrt(2 * torch.log((255 * scene.opacities).clamp(min=1.0)))
    extent = reach[:, None] * torch.diagonal(covariance, dim1=-2, dim2=-1).sqrt()
    limits = torch.tensor([camera.width - 1, camera.height - 1])
    first = (screen - 0.5 - extent).ceil().clamp(min=0).long()
    last = torch.minimum((screen - 0.5 + extent).floor().long(), limits)
    drawn = (depth > reference.NEAR_PLANE) & (scene.opacities >= reference.ALPHA_THRESHOLD)
    size = (last - first + 1).clamp(min=0) * drawn[:, None]
    area = size[:, 0] * size[:, 1]
    gaussians = torch.repeat_interleave(torch.arange(len(area)), area)
    within = torch.arange(len(gaussians)) - torch.repeat_interleave(area.cumsum(0) - area, area)
    x = first[gaussians, 0] + within % size[gaussians, 0]
    y = first[gaussians, 1] + within // size[gaussians, 0]
    offset = torch.stack([x, y], -1) + 0.5 - screen[gaussians]
    power = -0.5 * (offset[:, None] @ conic[gaussians] @ offset[:, :, None])[:, 0, 0]
    alpha = (scene.opacities[gaussians] * power.exp()).clamp(max=reference.ALPHA_MAX)
    kept = alpha >= reference.ALPHA_THRESHOLD
    gaussians, pixels, alpha = gaussians[kept], (y * camera.width + x)[kept], alpha[kept]
    rank = torch.empty_like(area)
    rank[torch.argsort(depth, stable=True)] = torch.arange(len(area))
    order = torch.argsort(pixels * len(area) + rank[gaussians])
    gaussians, pixels, alpha = gaussians[order], pixels[order], alpha[order]
    after = _transmittance(alpha, pixels) * (1 - alpha)
    alive = after > reference.TRANSMITTANCE_THRESHOLD
    return PairIndex(gaussians[alive], pixels[alive])


def _transmittance(alphas: Tensor, rays: Tensor) -> Tensor:
    """What reaches each sample: the product of (1 - alpha) over the earlier samples of its ray."""
    logs = torch.log1p(-alphas.double())
    running = logs.cumsum(0) - logs
    starts = torch.ones_like(rays, dtype=torch.bool)
    starts[1:] = rays[1:] != rays[:-1]
    ray_number = starts.long().cumsum(0) - 1
    return (running - running[starts][ray_number]).exp().to(alphas.dtype)


def _render_weight_from_alpha(alphas: Tensor, ray_indices: Tensor, n_rays: int) -> tuple[Tensor, Tensor]:
    del n_rays
    transmittance = _transmittance(alphas, ray_indices)
    return alphas * transmittance, transmittance


def _accumulate_along_rays(weights: Tensor, values: Tensor | None, ray_indices: Tensor, n_rays: int) -> Tensor:
    source = weights[:, None] if values is None else weights[:, None] * values
    return torch.zeros(n_rays, source.shape[-1], dtype=source.dtype).index_add(0, ray_indices, source)


def available() -> bool:
    """Whether gsplat is installed."""
    return importlib.util.find_spec("gsplat") is not None


def renderer(scene: BenchmarkScene, pairs: PairIndex) -> Callable[..., tuple[Tensor, Tensor]]:
    """A function of means, quaternions, scales, opacities, colours that draws with gsplat's torch code.

    It returns image [H, W, C] and alpha [H, W], differentiable.

    Raises:
        ModuleNotFoundError: gsplat is not installed.
    """
    implementation: Any = importlib.import_module("gsplat.cuda._torch_impl")
    camera = scene.camera
    intrinsics = torch.tensor([[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]])
    nerfacc = types.ModuleType("nerfacc")
    nerfacc.__dict__.update(
        render_weight_from_alpha=_render_weight_from_alpha, accumulate_along_rays=_accumulate_along_rays
    )

    def draw(
        means: Tensor, quaternions: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor
    ) -> tuple[Tensor, Tensor]:
        covariances, _ = implementation._quat_scale_to_covar_preci(quaternions, scales, compute_preci=False)
        _, screen, _, conics, _ = implementation._fully_fused_projection(
            means, covariances, scene.world_to_camera[None], intrinsics[None], camera.width, camera.height
        )
        previous = sys.modules.get("nerfacc")
        sys.modules["nerfacc"] = nerfacc
        try:
            image, alpha = implementation.accumulate(
                screen,
                conics,
                opacities[None],
                colors[None],
                pairs.gaussians,
                pairs.pixels,
                torch.zeros_like(pairs.pixels),
                camera.width,
                camera.height,
            )
        finally:
            if previous is None:
                del sys.modules["nerfacc"]
            else:
                sys.modules["nerfacc"] = previous
        return image[0], alpha[0, ..., 0]

    return draw
