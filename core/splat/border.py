"""Checks at the border between Python and the kernels: a wrong tensor is a clear error, never a wrong read."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from core.splat.library import load

MAX_ROWS = 2**31 - 1
"""The kernels count Gaussians and points with 32 bits."""


def check_tensor(
    name: str,
    tensor: Tensor,
    shape: tuple[int | None, ...],
    dtype: torch.dtype = torch.float32,
    *,
    anywhere: bool = False,
) -> None:
    """Raise unless `tensor` is dense, on the CPU (or `anywhere`), and has this shape (None: any size) and dtype.

    Raises:
        TypeError: not a tensor, or of another dtype.
        ValueError: another shape, sparse, not on the CPU, or more rows than the kernels count.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, not {type(tensor).__name__}")
    if tensor.layout != torch.strided:
        raise ValueError(f"{name} must be dense, not {tensor.layout}")
    if not _has_shape(tensor, shape):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must have shape [{wanted}], not {list(tensor.shape)}")
    if tensor.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}, not {tensor.dtype}")
    if shape and tensor.shape[0] > MAX_ROWS:
        raise ValueError(f"{name} has {tensor.shape[0]} rows, the most is {MAX_ROWS}")
    if not (tensor.is_cpu or anywhere):
        raise ValueError(f"{name} must be on the CPU, not on {tensor.device}")


def _has_shape(tensor: Tensor, shape: tuple[int | None, ...]) -> bool:
    """A plain loop: a hundred tensors are checked in a step."""
    have = tensor.shape
    if len(have) != len(shape):
        return False
    for size, want in zip(have, shape, strict=True):  # noqa: SIM110
        if want is not None and size != want:
            return False
    return True


def check_finite(what: str, **tensors: Tensor) -> None:
    """Raise unless every number is finite; for what no kernel looks at.

    Raises:
        ValueError: NaN or infinity, with the name of the tensor.
    """
    library = load()
    if library is not None and all(_is_plain(tensor) for tensor in tensors.values()):
        counts = (ctypes.c_int64 * len(tensors))(*(tensor.numel() for tensor in tensors.values()))
        first = library.call("first_not_finite", len(tensors), pointers(list(tensors.values())), counts)
        if first < len(tensors):
            raise ValueError(f"{what}: {list(tensors)[first]} holds NaN or infinity")
        return
    for name, tensor in tensors.items():
        # NaN and infinity survive a sum; a sum that overflows is looked at again, number by number.
        if not math.isfinite(tensor.detach().sum().item()) and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{what}: {name} holds NaN or infinity")


def _is_plain(tensor: Tensor) -> bool:
    """Whether C code reads it as it is."""
    return tensor.dtype == torch.float32 and tensor.is_cpu and tensor.is_contiguous()


def kernel_dtype(native: bool, first: Tensor) -> torch.dtype:
    """float32 for the native kernels; the torch reference takes float64 too."""
    if not native and isinstance(first, Tensor) and first.dtype == torch.float64:
        return torch.float64
    return torch.float32


def pointer(tensor: Tensor | None) -> int | None:
    """The address for ctypes; None is a null pointer."""
    return None if tensor is None else tensor.data_ptr()


def pointers(tensors: Sequence[Tensor | None]) -> ctypes.Array[ctypes.c_void_p]:
    """The addresses of several tensors for ctypes."""
    return (ctypes.c_void_p * len(tensors))(*(None if tensor is None else tensor.data_ptr() for tensor in tensors))
