"""Differentiable Gaussian splatting and the other kernels of a training step, fast on a CPU.

The surface: `rasterize`, `move`, `view_colors`, `encode_triplane`, `mlp`, `convolve`, `photometric_loss`, `ssim`,
`LpipsNetwork` and `adam_step`; for finished frames `mlp_from`, `bounds` and `composite`. Each runs on the native
library where one loads and on a plain torch reference otherwise, which is also the tests' oracle. `core.splat.cuda` has
`rasterize` and `encode_triplane` on CUDA. This room knows Gaussians, grids and pictures; it must not know of heads,
speech or training schedules.
"""

from core.splat.adam import AdamTensor, adam_step
from core.splat.composite import Bounds, Layer, bounds, composite
from core.splat.convolution import convolve
from core.splat.grid import encode_triplane
from core.splat.harmonics import view_colors
from core.splat.library import backend_name
from core.splat.lpips import LpipsNetwork
from core.splat.movement import Moved, move
from core.splat.network import mlp, mlp_from, mlp_split
from core.splat.rasterization import Rasterization, ScreenStatistics, rasterize
from core.splat.similarity import photometric_loss, ssim

__all__ = [
    "AdamTensor",
    "Bounds",
    "Layer",
    "LpipsNetwork",
    "Moved",
    "Rasterization",
    "ScreenStatistics",
    "adam_step",
    "backend_name",
    "bounds",
    "composite",
    "convolve",
    "encode_triplane",
    "mlp",
    "mlp_from",
    "mlp_split",
    "move",
    "photometric_loss",
    "rasterize",
    "ssim",
    "view_colors",
]
