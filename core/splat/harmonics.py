"""`view_colors`: colours that depend on where the camera is, as spherical harmonics of degree 0, 1 or 2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from core.splat import reference
from core.splat.border import check_finite, check_tensor, kernel_dtype, pointer
from core.splat.library import Library, check_status, choose

BASES = (1, 4, 9)
"""Basis functions of degree 0, 1 and 2."""


def view_colors(coefficients: Tensor, means: Tensor, world_to_camera: Tensor, *, backend: str | None = None) -> Tensor:
    """RGB of each Gaussian as this camera sees it: max(0, 1/2 + sum over k of basis_k(direction) * coefficient_k).

    The direction runs from the camera to the Gaussian. Basis, signs and order are gsplat's (Sloan, "Efficient Spherical
    Harmonic Evaluation", JCGT 2013), so that bundles look the same on CUDA. The result is what `rasterize` takes as
    `colors`, alone or beside other channels.

    Args:
        coefficients: [N, K, 3] float32, K = 1, 4 or 9 for degree 0, 1 or 2.
        means: [N, 3] float32, world, metres.
        world_to_camera: [4, 4] float32, a rotation and a translation.
        backend: `native`, `torch` (also float64), or None for the best there is.

    Returns:
        [N, 3]. Gradients flow to `coefficients` and, through the direction, to `means`; none where a colour was cut.

    Raises:
        TypeError: a wrong dtype.
        ValueError: a wrong shape, or NaN or infinity in an input.
    """
    library = choose(backend)
    dtype = kernel_dtype(library is not None, means)
    check_tensor("means", means, (None, 3), dtype)
    check_tensor("coefficients", coefficients, (means.shape[0], None, 3), dtype)
    check_tensor("world_to_camera", world_to_camera, (4, 4), dtype)
    if coefficients.shape[1] not in BASES:
        raise ValueError(f"coefficients must be [N, K, 3] with K one of {BASES}, not K = {coefficients.shape[1]}")
    check_finite("view_colors", world_to_camera=world_to_camera)
    view = world_to_camera.detach()
    camera = -(view[:3, :3].T @ view[:3, 3])
    if library is None:
        check_finite("view_colors", coefficients=coefficients, means=means)
        return reference.view_colors(coefficients, means, camera)
    colors: Tensor = _NativeHarmonics.apply(coefficients, means, camera, library)  # type: ignore[no-untyped-call]
    return colors


class _NativeHarmonics(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, means: Tensor, camera: Tensor, library: Library) -> Tensor:
        coefficients, means = coefficients.detach().contiguous(), means.detach().contiguous()
        colors = torch.empty(means.shape[0], 3)
        status = library.call(
            "harmonics_forward",
            *coefficients.shape[:2],
            *(pointer(tensor) for tensor in (camera, means, coefficients, colors)),
        )
        check_status(status, "view_colors")
        ctx.save_for_backward(coefficients, means, camera, colors)
        ctx.library = library
        return colors

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        coefficients, means, camera, colors = ctx.saved_tensors
        gradient = gradient.contiguous()
        coefficients_gradient = torch.empty_like(coefficients) if ctx.needs_input_grad[0] else None
        means_gradient = torch.empty_like(means) if ctx.needs_input_grad[1] else None
        ctx.library.call(
            "harmonics_backward",
            *coefficients.shape[:2],
            *(pointer(tensor) for tensor in (camera, means, coefficients, colors, gradient)),
            *(pointer(tensor) for tensor in (coefficients_gradient, means_gradient)),
        )
        return coefficients_gradient, means_gradient, None, None
