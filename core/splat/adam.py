"""`adam_step`: one step of Adam, with AdamW's decay, over all tensors of an optimiser in one pass."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.splat import reference
from core.splat.border import check_tensor, kernel_dtype, pointer
from core.splat.library import AdamTensorStruct, check_status, choose


@dataclass(frozen=True)
class AdamTensor:
    """One tensor of an optimiser, its gradient, and its moments; all of one shape."""

    value: Tensor
    """Changed in place."""
    gradient: Tensor
    first: Tensor
    """Running mean of the gradient; changed in place."""
    second: Tensor
    """Running mean of its square; changed in place."""
    rate: float
    decay: float = 0.0
    """Of the value in a step, times the rate, apart from the moments (Loshchilov & Hutter 2019)."""


@torch.no_grad()
def adam_step(
    tensors: Sequence[AdamTensor],
    steps: int,
    betas: tuple[float, float],
    epsilon: float,
    *,
    backend: str | None = None,
) -> None:
    """Step number `steps` of Adam (Kingma & Ba 2015) with corrected bias.

    Args:
        tensors: float32; values and moments contiguous.
        steps: 1 for the first.
        betas: how much of the first and of the second moment a step keeps.
        epsilon: added to the root of the second moment.
        backend: `native`, `torch`, or None for the best there is.

    Raises:
        TypeError, ValueError: a wrong dtype or shape, what is changed in place not contiguous, or steps below 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    library = choose(backend)
    for number, tensor in enumerate(tensors):
        _check(number, tensor, kernel_dtype(library is not None, tensor.value))
    bias1, bias2 = 1 - betas[0] ** steps, 1 - betas[1] ** steps
    if library is None:
        for tensor in tensors:
            state = tensor.value, tensor.gradient, tensor.first, tensor.second
            reference.adam(*state, tensor.rate / bias1, 1 - tensor.rate * tensor.decay, betas, bias2, epsilon)
        return
    gradients = [tensor.gradient.contiguous() for tensor in tensors]
    structs = (AdamTensorStruct * len(tensors))(
        *(
            AdamTensorStruct(
                pointer(tensor.value),
                pointer(gradient),
                pointer(tensor.first),
                pointer(tensor.second),
                gradient.numel(),
                tensor.rate / bias1,
                1 - tensor.rate * tensor.decay,
            )
            for tensor, gradient in zip(tensors, gradients, strict=True)
        )
    )
    check_status(library.call("adam", len(tensors), ctypes.byref(structs), *betas, bias2, epsilon), "adam_step")


def _check(number: int, tensor: AdamTensor, dtype: torch.dtype) -> None:
    value = tensor.value
    check_tensor(f"tensors[{number}].value", value, tuple(value.shape), dtype)
    for name, part in (("gradient", tensor.gradient), ("first", tensor.first), ("second", tensor.second)):
        # There are a hundred of them in a step: the long check is for what the short one does not let pass.
        same_kind = part.dtype == dtype and part.layout == value.layout and part.device == value.device
        if part.shape != value.shape or not same_kind:
            check_tensor(f"tensors[{number}].{name}", part, tuple(value.shape), dtype)
    for name, part in (("value", value), ("first", tensor.first), ("second", tensor.second)):
        if not part.is_contiguous():
            raise ValueError(f"tensors[{number}].{name} is changed in place and must be contiguous")
