"""Differentiable Gaussian splatting and the other kernels of a training step, fast on a CPU.

`rasterize`, `view_colors`, `encode_triplane`, `mlp`, `ssim` and, for finished frames, `mlp_from` and `composite` are
the whole surface. Each runs on the native library where one loads and on a plain torch reference otherwise; the
reference is also the tests' oracle. `core.splat.cuda` has the first and third on a CUDA card. This room knows
Gaussians, grids and pictures; it must not know of heads, speech or training schedules.
"""

from core.splat.composite import Bounds, Layer, bounds, composite
from core.splat.grid import encode_triplane
from core.splat.harmonics import view_colors
from core.splat.library import backend_name
from core.splat.network import mlp, mlp_from
from core.splat.rasterization import Rasterization, ScreenStatistics, rasterize
from core.splat.similarity import ssim

__all__ = [
    "Bounds",
    "Layer",
    "Rasterization",
    "ScreenStatistics",
    "backend_name",
    "bounds",
    "composite",
    "encode_triplane",
    "mlp",
    "mlp_from",
    "rasterize",
    "ssim",
    "view_colors",
]
