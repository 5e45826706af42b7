"""`ssim` and `photometric_loss`: what the splatting losses compare pictures by, gradients in the same pass."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from core.splat import reference
from core.splat.border import check_finite, check_tensor, kernel_dtype, pointer
from core.splat.library import Library, choose


def ssim(image: Tensor, target: Tensor, *, backend: str | None = None) -> Tensor:
    """Mean SSIM of two pictures: 11-pixel Gaussian window, sigma 1.5, C1 = 1e-4, C2 = 9e-4 (range 0..1).

    The border is padded with zeros and every pixel counts, as in the loss of 3D Gaussian splatting; scores are not
    those of scikit-image, which leaves the border out.

    Args:
        image: [C, H, W] float32, 0..1.
        target: [C, H, W] float32, 0..1.
        backend: `native`, `torch`, or None for the best there is.

    Returns:
        A scalar, 1 for equal pictures. The gradient flows to `image` only.

    Raises:
        TypeError, ValueError: a wrong dtype or shape, an empty picture, or NaN or infinity.
    """
    return _compare("ssim", image, target, 0.0, 1.0, backend)


def photometric_loss(image: Tensor, target: Tensor, ssim_weight: float, *, backend: str | None = None) -> Tensor:
    """L1 + w (1 - SSIM) of two pictures, the loss of 3D Gaussian splatting, in one pass over them.

    Args:
        image: [C, H, W] float32, 0..1.
        target: [C, H, W] float32, 0..1.
        ssim_weight: w.
        backend: `native`, `torch`, or None for the best there is.

    Returns:
        A scalar, 0 for equal pictures. The gradient flows to `image` only.

    Raises:
        TypeError, ValueError: a wrong dtype or shape, an empty picture, or NaN or infinity.
    """
    return _compare("photometric_loss", image, target, 1.0, -ssim_weight, backend) + ssim_weight


def _compare(
    name: str, image: Tensor, target: Tensor, l1_weight: float, ssim_weight: float, backend: str | None
) -> Tensor:
    library = choose(backend)
    dtype = kernel_dtype(library is not None, image)
    check_tensor("image", image, (None, None, None), dtype)
    check_tensor("target", target, tuple(image.shape), dtype)
    if image.numel() == 0:
        raise ValueError(f"{name} needs at least one pixel")
    if library is None:
        check_finite(name, image=image, target=target)
        return reference.photometric(image, target, l1_weight, ssim_weight)
    value: Tensor = _Native.apply(image, target, library, name, l1_weight, ssim_weight)  # type: ignore[no-untyped-call]
    return value


class _Native(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, image: Tensor, target: Tensor, library: Library, name: str, l1_weight: float, ssim_weight: float
    ) -> Tensor:
        image, target = image.detach().contiguous(), target.detach().contiguous()
        gradient = torch.empty_like(image) if ctx.needs_input_grad[0] else None
        pointers = pointer(image), pointer(target)
        value = library.call("photometric", *image.shape, *pointers, l1_weight, ssim_weight, pointer(gradient))
        if math.isnan(value):
            check_finite(name, image=image, target=target)
            raise MemoryError(f"{name}: not enough memory")
        ctx.gradient = gradient
        return torch.tensor(value, dtype=image.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        whole = ctx.gradient is None or float(upstream) == 1.0
        return (ctx.gradient if whole else ctx.gradient * upstream, *(None,) * 5)
