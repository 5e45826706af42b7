"""`convolve`: a chain of convolutions along time with leaky ReLUs, differentiable, for short sequences."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from core.splat import reference
from core.splat.border import check_finite, check_tensor, kernel_dtype, pointer, pointers
from core.splat.library import Library, check_status, choose


def convolve(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    strides: Sequence[int],
    leak: float,
    *,
    backend: str | None = None,
) -> Tensor:
    """What a chain of `Conv1d` layers gives, each padded by half its side and followed by a leaky ReLU.

    Made for sequences of a dozen steps, where torch's own calls cost ten times their arithmetic.

    Args:
        x: [B, T, C] float32; time before channels.
        weights: one [out, in, side] float32 for each layer, side odd, as `torch.nn.Conv1d` keeps them.
        biases: one [out] for each layer.
        strides: one for each layer, 1 or more.
        leak: slope below zero, 0..1.
        backend: `native`, `torch`, or None for the best there is.

    Returns:
        [B, T', out] with (T - 1) // stride + 1 steps for each layer's T. Gradients flow to `x`, weights and biases.

    Raises:
        TypeError, ValueError: a wrong dtype, shapes that don't chain, no layers or steps, or NaN or infinity in `x`.
    """
    library = choose(backend)
    dtype = kernel_dtype(library is not None, x)
    check_tensor("x", x, (None, None, None), dtype)
    if not len(weights) == len(biases) == len(strides) > 0:
        raise ValueError(f"convolve needs as many weights, biases and strides, not {len(weights)}, {len(biases)}, ...")
    if not 0 <= leak <= 1:
        raise ValueError(f"leak must lie in 0..1, not {leak}")
    width = x.shape[2]
    for number, (weight, bias, stride) in enumerate(zip(weights, biases, strides, strict=True)):
        check_tensor(f"weights[{number}]", weight, (None, width, None), dtype)
        if weight.shape[2] % 2 == 0 or stride < 1:
            raise ValueError(f"layer {number}: its side must be odd and its stride 1 or more")
        width = weight.shape[0]
        check_tensor(f"biases[{number}]", bias, (width,), dtype)
    if min(*x.shape[1:], *(size for weight in weights for size in weight.shape)) < 1:
        raise ValueError("convolve needs at least one step and one channel everywhere")
    check_finite("convolve", x=x)
    if library is None:
        return reference.convolve(x, weights, biases, strides, leak)
    output: Tensor = _Native.apply(library, x, tuple(strides), leak, *weights, *biases)  # type: ignore[no-untyped-call]
    return output


class _Native(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, library: Library, x: Tensor, strides: tuple[int, ...], leak: float, *parameters: Tensor
    ) -> Tensor:
        x = x.detach().contiguous()
        count = len(strides)
        weights, biases = ([p.detach().contiguous() for p in part] for part in (parameters[:count], parameters[count:]))
        shapes = (ctypes.c_int32 * (4 * count))()
        outputs, steps = [], x.shape[1]
        for layer, (weight, stride) in enumerate(zip(weights, strides, strict=True)):
            out, channels, side = weight.shape
            shapes[4 * layer : 4 * layer + 4] = [channels, out, side, stride]
            steps = (steps - 1) // stride + 1
            outputs.append(torch.empty(x.shape[0], steps, out))
        ctx.call = (library, x.shape[0], x.shape[1], count, shapes, leak)
        status = library.call(
            "convolve_forward", *ctx.call[1:], pointer(x), pointers(weights), pointers(biases), pointers(outputs)
        )
        check_status(status, "convolve")
        ctx.save_for_backward(x, *weights, *outputs)
        return outputs[-1]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        library, *call = ctx.call
        count = call[2]
        x, *rest = ctx.saved_tensors
        weights, outputs = rest[:count], rest[count:]
        gradient = gradient.contiguous()
        wanted = ctx.needs_input_grad[4:]
        asked = list(zip(weights, wanted[:count], wanted[count:], strict=True))
        weight_gradients = [torch.empty_like(weight) if needed else None for weight, needed, _ in asked]
        bias_gradients = [weight.new_empty(len(weight)) if needed else None for weight, _, needed in asked]
        input_gradient = torch.empty_like(x) if ctx.needs_input_grad[1] else None
        status = library.call(
            "convolve_backward",
            *call,
            pointer(x),
            pointers(weights),
            pointers(outputs),
            pointer(gradient),
            pointers(weight_gradients),
            pointers(bias_gradients),
            pointer(input_gradient),
        )
        check_status(status, "convolve")
        return (None, input_gradient, None, None, *weight_gradients, *bias_gradients)
