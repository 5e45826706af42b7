"""`ssim`: structural similarity as the splatting losses use it, with its gradient in the same pass."""

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
    library = choose(backend)
    dtype = kernel_dtype(library is not None, image)
    check_tensor("image", image, (None, None, None), dtype)
    check_tensor("target", target, tuple(image.shape), dtype)
    if image.numel() == 0:
        raise ValueError("ssim needs at least one pixel")
    if library is None:
        check_finite("ssim", image=image, target=target)
        return reference.ssim(image, target)
    value: Tensor = _NativeSsim.apply(image, target, library)  # type: ignore[no-untyped-call]
    return value


class _NativeSsim(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor, library: Library) -> Tensor:
        image, target = image.detach().contiguous(), target.detach().contiguous()
        gradient = torch.empty_like(image) if ctx.needs_input_grad[0] else None
        value = library.call("ssim", *image.shape, pointer(image), pointer(target), pointer(gradient))
        if math.isnan(value):
            check_finite("ssim", image=image, target=target)
            raise MemoryError("ssim: not enough memory")
        ctx.gradient = gradient
        return torch.tensor(value, dtype=image.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, None, None]:
        return (None if ctx.gradient is None else ctx.gradient * upstream), None, None
