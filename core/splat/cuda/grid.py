"""`encode_triplane` on tiny-cuda-nn: the same features from the same table. NOT YET RUN ON HARDWARE.

tiny-cuda-nn scales its levels by a power that need not be whole, ours are whole numbers of cells, so each level is an
encoding of its own. Its dense grid of base resolution R + 1 has our corners (i + j (R + 1)) and places a coordinate u
at u R + 1/2; we want x (R - 1) + 1/2, so u = x (R - 1) / R.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import torch
from torch import Tensor

from core.splat.cuda.device import cuda_device
from core.splat.reference import PLANE_AXES


@cache
def _level(resolution: int) -> Any:
    """One tiny-cuda-nn encoding; its parameters are replaced at every call."""
    settings = {
        "otype": "DenseGrid",
        "n_levels": 1,
        "n_features_per_level": 1,
        "base_resolution": resolution + 1,
        "interpolation": "Linear",
    }
    return importlib.import_module("tinycudann").Encoding(2, settings, dtype=torch.float32)


def encode_triplane(points: Tensor, table: Tensor, resolutions: Tensor, bound: float) -> Tensor:
    """Features [N, 3 * L] of points [N, 3] from table [3, L, T]; the contract of `core.splat.encode_triplane`.

    Inputs may lie on any device, the features lie where `points` does. Checks are the caller's.

    Raises:
        UsageError: `cuda_unavailable`.
    """
    device = cuda_device("tinycudann")
    unit = ((points.to(device) / bound + 1) / 2).clamp(0, 1)
    columns = []
    for plane, axes in enumerate(PLANE_AXES):
        for level, resolution in enumerate(resolutions.tolist()):
            encoding = _level(resolution)
            entries = table[plane, level, : (resolution + 1) ** 2].to(device)
            padding = encoding.params.numel() - entries.numel()  # tiny-cuda-nn rounds a level up to whole eights
            parameters = torch.nn.functional.pad(entries, (0, padding))
            inputs = unit[:, list(axes)] * ((resolution - 1) / resolution)
            features = torch.func.functional_call(encoding, {"params": parameters}, (inputs,))
            columns.append(features[:, 0])
    return torch.stack(columns, -1).to(points.device)
