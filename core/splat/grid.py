"""`encode_triplane`: points to features through three dense multi-resolution 2D grids, differentiable."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from core.splat import reference
from core.splat.border import check_finite, check_tensor, kernel_dtype, pointer
from core.splat.library import Library, check_status, choose

MAX_RESOLUTION = 2048


def encode_triplane(
    points: Tensor, table: Tensor, resolutions: Tensor, bound: float, *, backend: str | None = None
) -> Tensor:
    """Features of points from grids on the planes xy, yz and xz (InsTaG's encoder; nothing is hashed).

    A coordinate is mapped to [0, 1] by (x / bound + 1) / 2 and clamped, then to x01 * (resolution - 1) + 0.5 on a
    level; the four corners are blended bilinearly. Corner (i, j), i along the plane's first axis, is entry
    i + j * (resolution + 1) of its level.

    Args:
        points: [N, 3] float32, metres.
        table: [3, L, T] float32; entries of a level beyond (resolution + 1)^2 are unused and get zero gradients.
        resolutions: [L] int32, cells along a side, 2..2048 each.
        bound: half side of the cube the grids span, metres.
        backend: `native`, `torch`, `cuda` (tiny-cuda-nn), or None for the best of the first two.

    Returns:
        [N, 3 * L] features, plane-major. Gradients flow to `table` and `points` (zero where clamped).

    Raises:
        TypeError, ValueError: a wrong dtype, shape or size, a table too small, or NaN or infinity.
        UsageError: `cuda_unavailable`, where `cuda` was asked for.
    """
    on_cuda = backend == "cuda"
    library = None if on_cuda else choose(backend)
    dtype = torch.float32 if on_cuda else kernel_dtype(library is not None, points)
    check_tensor("points", points, (None, 3), dtype, anywhere=on_cuda)
    check_tensor("table", table, (3, None, None), dtype, anywhere=on_cuda)
    check_tensor("resolutions", resolutions, (table.shape[1],), torch.int32, anywhere=on_cuda)
    sizes = resolutions.tolist()
    largest = max(sizes, default=2)
    if largest > MAX_RESOLUTION or min(sizes, default=2) < 2:
        raise ValueError(f"resolutions must lie in 2..{MAX_RESOLUTION}")
    if (largest + 1) ** 2 > table.shape[2]:
        needed = (largest + 1) ** 2
        raise ValueError(f"table holds {table.shape[2]} entries a level, resolution {largest} needs {needed}")
    if not 0 < bound < float("inf"):
        raise ValueError(f"bound must be positive, not {bound}")
    check_finite("encode_triplane", points=points, table=table)
    if on_cuda:
        from core.splat import cuda

        return cuda.encode_triplane(points, table, resolutions, bound)
    if library is None:
        return reference.encode_triplane(points, table, resolutions, bound)
    features: Tensor = _NativeTriplane.apply(points, table, resolutions.contiguous(), bound, library)  # type: ignore[no-untyped-call]
    return features


class _NativeTriplane(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, resolutions: Tensor, bound: float, library: Library) -> Tensor:
        points, table = points.detach().contiguous(), table.detach().contiguous()
        levels, entries = table.shape[1:]
        features = torch.empty(points.shape[0], 3 * levels)
        status = library.call(
            "triplane_forward",
            points.shape[0],
            levels,
            entries,
            bound,
            *(pointer(tensor) for tensor in (resolutions, points, table, features)),
        )
        check_status(status, "encode_triplane")
        ctx.save_for_backward(points, table, resolutions)
        ctx.bound, ctx.library = bound, library
        return features

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        points, table, resolutions = ctx.saved_tensors
        gradient = gradient.contiguous()
        points_gradient = torch.empty_like(points) if ctx.needs_input_grad[0] else None
        table_gradient = torch.empty_like(table) if ctx.needs_input_grad[1] else None
        status = ctx.library.call(
            "triplane_backward",
            points.shape[0],
            *table.shape[1:],
            ctx.bound,
            *(pointer(tensor) for tensor in (resolutions, points, table, gradient, table_gradient, points_gradient)),
        )
        check_status(status, "encode_triplane")
        return points_gradient, table_gradient, None, None, None
