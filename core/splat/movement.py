"""`move`: a structure's raw parameters and a motion to what `rasterize` draws, differentiable."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.splat import reference
from core.splat.border import check_tensor, kernel_dtype, pointer
from core.splat.library import (
    Library,
    MotionGradientStruct,
    MotionStruct,
    MovedStruct,
    RowsStruct,
    StructureStruct,
    check_status,
    choose,
)

MOTION_WIDTHS = (3, 4, 3)
"""Of translation, rotation and scale."""


@dataclass(frozen=True)
class Moved:
    """N Gaussians as `rasterize` takes them, and how far they were moved."""

    means: Tensor
    """[N, 3] metres."""
    quaternions: Tensor
    """[N, 4] wxyz, of any length."""
    scales: Tensor
    """[N, 3] metres."""
    opacities: Tensor
    """[N] 0..1."""
    magnitude: Tensor
    """Sum of the mean absolute values of translation, rotation and scale, over all N and their components."""


def move(
    means: Tensor,
    quaternions: Tensor,
    scales: Tensor,
    opacities: Tensor,
    translation: Tensor | None = None,
    rotation: Tensor | None = None,
    scale: Tensor | None = None,
    *,
    backend: str | None = None,
) -> Moved:
    """Add a motion to the first M of N Gaussians, then activate: softplus for scales, the sigmoid for opacities.

    Gradients flow to all that is given; facts sheet, sections 2.1 and 2.3.

    Args:
        means: [N, 3] float32, metres.
        quaternions: [N, 4] float32, wxyz.
        scales: [N, 3] float32, before softplus.
        opacities: [N] float32, before the sigmoid.
        translation: [M, 3] float32, metres, M at most N; None stands still.
        rotation: [M, 4] float32, added to the quaternions.
        scale: [M, 3] float32, added before softplus.
        backend: `native`, `torch`, or None for the best there is.

    Raises:
        TypeError, ValueError: a wrong dtype or shape.
    """
    library = choose(backend)
    dtype = kernel_dtype(library is not None, means)
    check_tensor("means", means, (None, 3), dtype)
    count = means.shape[0]
    check_tensor("quaternions", quaternions, (count, 4), dtype)
    check_tensor("scales", scales, (count, 3), dtype)
    check_tensor("opacities", opacities, (count,), dtype)
    motion = (translation, rotation, scale)
    moving = next((part.shape[0] for part in motion if part is not None and part.dim()), 0)
    if moving > count:
        raise ValueError(f"the motion has {moving} rows for {count} Gaussians")
    for name, part, width in zip(("translation", "rotation", "scale"), motion, MOTION_WIDTHS, strict=True):
        if part is not None:
            check_tensor(name, part, (moving, width), dtype)
    structure = (means, quaternions, scales, opacities)
    if library is None:
        return Moved(*reference.move(structure, motion))
    return Moved(*_NativeMove.apply(library, *structure, *motion))  # type: ignore[no-untyped-call]


class _NativeMove(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, library: Library, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        structure = [tensor.detach().contiguous() for tensor in tensors[:4] if tensor is not None]
        motion = [None if part is None else _with_dense_rows(part.detach()) for part in tensors[4:]]
        moving = next((part.shape[0] for part in motion if part is not None), 0)
        moved = [torch.empty_like(tensor) for tensor in structure]
        slopes = torch.empty_like(moved[2])
        sums = (ctypes.c_double * 3)()
        count = structure[0].shape[0]
        status = library.call(
            "move_forward",
            count,
            moving,
            ctypes.byref(_structure(structure)),
            ctypes.byref(_motion(motion)),
            ctypes.byref(MovedStruct(*(pointer(tensor) for tensor in (*moved, slopes)))),
            sums,
        )
        check_status(status, "move")
        ctx.save_for_backward(moved[3], slopes, *motion)
        ctx.library, ctx.moving = library, moving
        ctx.set_materialize_grads(False)
        means = (total / max(1, count * width) for total, width in zip(sums, MOTION_WIDTHS, strict=True))
        return *moved, torch.tensor(sum(means), dtype=torch.float32)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        opacities, slopes, *motion = ctx.saved_tensors
        count, moving = slopes.shape[0], ctx.moving
        shapes = ((count, 3), (count, 4), (count, 3), (count,))
        given = [
            torch.zeros(shape) if gradient is None else gradient.contiguous()
            for gradient, shape in zip(upstream[:4], shapes, strict=True)
        ]
        by_magnitude = 0.0 if upstream[4] is None else float(upstream[4])
        by_sums = (ctypes.c_float * 3)(*(by_magnitude / max(1, count * width) for width in MOTION_WIDTHS))
        raw = [torch.empty(shape) for shape in shapes[2:]]
        wanted = [part is not None and needed for part, needed in zip(motion, ctx.needs_input_grad[5:], strict=True)]
        gradients = [torch.empty(moving, w) if want else None for w, want in zip(MOTION_WIDTHS, wanted, strict=True)]
        ctx.library.call(
            "move_backward",
            count,
            moving,
            ctypes.byref(_motion(motion)),
            ctypes.byref(MovedStruct(None, None, None, pointer(opacities), pointer(slopes))),
            ctypes.byref(_structure(given)),
            by_sums,
            ctypes.byref(MotionGradientStruct(*(pointer(tensor) for tensor in (*gradients, *raw)))),
        )
        return None, given[0], given[1], *raw, *gradients


def _with_dense_rows(part: Tensor) -> Tensor:
    """Columns of a wider matrix are taken as they lie."""
    return part if part.stride(1) == 1 and part.stride(0) >= part.shape[1] else part.contiguous()


def _structure(tensors: Sequence[Tensor]) -> StructureStruct:
    return StructureStruct(*(pointer(tensor) for tensor in tensors))


def _motion(parts: Sequence[Tensor | None]) -> MotionStruct:
    return MotionStruct(*(RowsStruct(pointer(p), 0 if p is None else p.stride(0)) for p in parts))
