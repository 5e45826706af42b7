"""Whether a CUDA device can be used here, and which packages are missing where not."""

from __future__ import annotations

import importlib.util

import torch

from core.errors import UsageError

_INSTALL = {
    "gsplat": "Run `pip install 'likeness-heads[gpu]'`, or use --device cpu.",
    "tinycudann": "Install tiny-cuda-nn's torch bindings from NVIDIA's repository, or use --device cpu.",
}


def cuda_device(package: str = "gsplat") -> torch.device:
    """The device that `package` (`gsplat` or `tinycudann`) computes on.

    Raises:
        UsageError: `cuda_unavailable`: the package is not installed, or torch sees no CUDA device.
    """
    if importlib.util.find_spec(package) is None:
        raise UsageError("cuda_unavailable", f"{package} is not installed.", _INSTALL[package])
    if not torch.cuda.is_available():
        raise UsageError(
            "cuda_unavailable",
            "torch sees no CUDA device here.",
            "Install a CUDA build of torch and the card's driver, or use --device cpu.",
        )
    return torch.device("cuda")
