"""`LpipsNetwork`: the perceptual distance of two pictures, with its gradient in the same call."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from core.splat import reference
from core.splat.border import check_finite, check_tensor, kernel_dtype, pointer, pointers
from core.splat.library import Library, choose

SHAPES = ((64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3))
"""Outputs, inputs and side of AlexNet's five convolutions."""
SMALLEST_SIDE = 31
"""Pixels; in smaller pictures AlexNet's second pooling leaves nothing to compare."""


class LpipsNetwork:
    """LPIPS (Zhang et al. 2018) with AlexNet, its weights laid out for the kernel when they are first used."""

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor], linear: Sequence[Tensor]) -> None:
        """
        Args:
            weights: five convolutions' [out, in, side, side] float32, shapes as in `SHAPES`.
            biases: five [out] float32.
            linear: five [out] float32, what each channel of a layer counts.

        Raises:
            TypeError, ValueError: a wrong number, dtype or shape, or NaN or infinity.
        """
        for name, tensors in (("weights", weights), ("biases", biases), ("linear", linear)):
            if len(tensors) != len(SHAPES):
                raise ValueError(f"{name} must be {len(SHAPES)} tensors, not {len(tensors)}")
            for number, (tensor, (out, into, side)) in enumerate(zip(tensors, SHAPES, strict=True)):
                label = f"{name}[{number}]"
                check_tensor(label, tensor, (out, into, side, side) if name == "weights" else (out,))
                check_finite("LpipsNetwork", **{label: tensor})
        self._weights, self._biases, self._linear = (
            [tensor.detach().contiguous() for tensor in tensors] for tensors in (weights, biases, linear)
        )
        self._packed: _Packed | None = None

    def distance(self, image: Tensor, target: Tensor, *, backend: str | None = None) -> Tensor:
        """The distance of two pictures.

        Args:
            image: [3, H, W] float32, 0..1, sides of at least `SMALLEST_SIDE`.
            target: the same.
            backend: `native`, `torch`, or None for the best there is.

        Returns:
            A scalar, 0 (up to rounding) for equal pictures. The gradient flows to `image` only.

        Raises:
            TypeError, ValueError: a wrong dtype or shape, too small a picture, or NaN or infinity.
        """
        library = choose(backend)
        dtype = kernel_dtype(library is not None, image)
        check_tensor("image", image, (3, None, None), dtype)
        check_tensor("target", target, tuple(image.shape), dtype)
        if min(image.shape[1:]) < SMALLEST_SIDE:
            raise ValueError(f"LPIPS compares pictures with sides of at least {SMALLEST_SIDE} pixels")
        if library is None:
            check_finite("LpipsNetwork.distance", image=image, target=target)
            return reference.lpips(image, target, self._weights, self._biases, self._linear)
        if self._packed is None or self._packed.library is not library:
            self._packed = _Packed(library, self._weights, self._biases, self._linear)
        value: Tensor = _Native.apply(image, target, self._packed)  # type: ignore[no-untyped-call]
        return value


class _Packed:
    """The weights as one library keeps them; freed with this object."""

    def __init__(self, library: Library, *parts: list[Tensor]) -> None:
        self.library = library
        self.handle = library.call("lpips_create", *(pointers(part) for part in parts))
        if not self.handle:
            raise MemoryError("LpipsNetwork: not enough memory")
        weakref.finalize(self, library.call, "lpips_destroy", self.handle)


class _Native(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor, packed: _Packed) -> Tensor:
        image, target = image.detach().contiguous(), target.detach().contiguous()
        gradient = torch.empty_like(image) if ctx.needs_input_grad[0] else None
        tensors = (pointer(tensor) for tensor in (image, target, gradient))
        value = packed.library.call("lpips", packed.handle, *image.shape[1:], *tensors)
        if math.isnan(value):
            check_finite("LpipsNetwork.distance", image=image, target=target)
            raise MemoryError("LpipsNetwork.distance: not enough memory")
        ctx.gradient = gradient
        return torch.tensor(value, dtype=image.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return (None if ctx.gradient is None else ctx.gradient * upstream, None, None)
