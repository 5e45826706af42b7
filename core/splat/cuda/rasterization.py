"""`rasterize` on gsplat: the same arguments and results as `core.splat.rasterize`.

Only translates: gsplat's conventions are ours. Checks of shapes, dtypes and numbers are the caller's. What has been run
on hardware and what has not: docs/splatting.md.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from core.camera import Camera
from core.splat.cuda.device import cuda_device
from core.splat.rasterization import Rasterization, ScreenStatistics


def rasterize(
    means: Tensor,
    quaternions: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    world_to_camera: Tensor,
    camera: Camera,
    background: Tensor | None,
    geometry_channels: int,
) -> Rasterization:
    """Draw with gsplat; inputs may lie on any device, results lie where `means` does.

    Channels from `geometry_channels` on are drawn by a second call with detached geometry: their gradients reach
    colours only. Radii are gsplat's: whole pixels, rounded up. Pictures repeat bit for bit, gradients only to about
    2e-7 of their norm: gsplat adds them up with atomics.

    Raises:
        UsageError: `cuda_unavailable`.
    """
    device = cuda_device()
    home = means.device
    geometry = [tensor.to(device) for tensor in (means, quaternions, scales, opacities)]
    colors = colors.to(device)
    background = None if background is None else background.to(device)
    frame = _Frame(world_to_camera.to(device), camera)
    count, channels = colors.shape
    # With no channel for the geometry the first call is for alpha alone.
    reaching = colors[:, :geometry_channels] if geometry_channels else colors.new_zeros(count, 1)
    behind = None if background is None or not geometry_channels else background[:geometry_channels]
    image, alpha, meta = frame.draw(geometry, reaching, behind)
    maps = image[:0]
    if geometry_channels < channels:
        detached = [tensor.detach() for tensor in geometry]
        behind = None if background is None else background[geometry_channels:]
        maps = frame.draw(detached, colors[:, geometry_channels:], behind)[0]
    return Rasterization(image[:geometry_channels].to(home), maps.to(home), alpha.to(home), _statistics(meta, home))


class _Frame:
    """What one picture is drawn with, beside the Gaussians, in gsplat's form: one camera in a batch of one."""

    def __init__(self, world_to_camera: Tensor, camera: Camera) -> None:
        self.camera = camera
        self.view = world_to_camera[None]
        rows = [[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]]
        self.intrinsics = torch.tensor([rows], dtype=world_to_camera.dtype, device=world_to_camera.device)

    def draw(
        self, geometry: list[Tensor], colors: Tensor, background: Tensor | None
    ) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """[C, H, W], [H, W] and gsplat's intermediate results."""
        if not len(colors):
            return self._nothing(geometry, colors, background)
        image, alpha, meta = importlib.import_module("gsplat.rendering").rasterization(
            *geometry,
            colors,
            self.view,
            self.intrinsics,
            self.camera.width,
            self.camera.height,
            near_plane=0.01,
            eps2d=0.3,
            packed=False,
            backgrounds=None if background is None else background[None],
        )
        return image[0].permute(2, 0, 1), alpha[0, ..., 0], meta

    def _nothing(
        self, geometry: list[Tensor], colors: Tensor, background: Tensor | None
    ) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """What `draw` returns of no Gaussians: gsplat 1.5.3 divides by their number, which ends the process."""
        screen = geometry[0][None, :, :2]
        zero = screen.sum() + sum(tensor.sum() for tensor in (*geometry, colors))  # so that a backward finds its leaves
        behind = colors.new_zeros(colors.shape[1]) if background is None else background
        alpha = zero + colors.new_zeros(self.camera.height, self.camera.width)
        radii = torch.zeros(1, 0, 2, dtype=torch.int32, device=colors.device)
        return behind[:, None, None] + alpha, alpha, {"means2d": screen, "radii": radii}


def _statistics(meta: dict[str, Any], home: torch.device) -> ScreenStatistics:
    means, radii = meta["means2d"], meta["radii"][0].to(home)
    visible = (radii > 0).all(-1)
    statistics = ScreenStatistics(means[0].detach().to(home), torch.where(visible, radii.amax(-1), 0).float())
    if means.requires_grad:

        def keep(gradient: Tensor) -> None:
            statistics.gradient = gradient[0].detach().clone().to(home)

        means.register_hook(keep)
    return statistics
