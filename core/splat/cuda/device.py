"""Whether a CUDA device can be used here, and which packages are missing where not."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextlib import redirect_stdout
from functools import cache

import torch

from core.errors import UsageError

_INSTALL = {
    "gsplat": "Run `pip install 'likeness-heads[gpu]'`, or use --device cpu.",
    "tinycudann": "Install tiny-cuda-nn's torch bindings from NVIDIA's repository, or use --device cpu.",
}
_TOOLKIT = "Install the CUDA toolkit (nvcc) of torch's CUDA version, ninja and a C++ compiler, or use --device cpu."


@cache
def cuda_device(package: str = "gsplat") -> torch.device:
    """The device that `package` (`gsplat` or `tinycudann`) computes on; asked for once a process.

    gsplat's wheel holds sources: the first call on a machine compiles them, which takes minutes and a CUDA toolkit.

    Raises:
        UsageError: `cuda_unavailable`: the package is not installed, torch sees no CUDA device, or gsplat's kernels
            can't be compiled.
    """
    if importlib.util.find_spec(package) is None:
        raise UsageError("cuda_unavailable", f"{package} is not installed.", _INSTALL[package])
    if not torch.cuda.is_available():
        raise UsageError(
            "cuda_unavailable",
            "torch sees no CUDA device here.",
            "Install a CUDA build of torch and the card's driver, or use --device cpu.",
        )
    if package == "gsplat":
        _load_gsplat()
    return torch.device("cuda")


def _load_gsplat() -> None:
    """Compile or load gsplat's kernels now: without nvcc gsplat says nothing until a picture fails on a None."""
    try:
        with redirect_stdout(sys.stderr):  # it reports on stdout, which is the JSON's
            kernels = importlib.import_module("gsplat.cuda._backend")._C
    except (ImportError, OSError, RuntimeError) as error:
        shown = " `python -c 'import gsplat.cuda._backend'` shows why."
        raise UsageError("cuda_unavailable", "gsplat's kernels can't be compiled.", _TOOLKIT + shown) from error
    if kernels is None:
        raise UsageError("cuda_unavailable", "gsplat finds no CUDA toolkit to compile its kernels with.", _TOOLKIT)
