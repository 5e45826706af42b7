"""`mlp`: a small bias-free ReLU network, its layers fused, differentiable; `mlp_from`: the same for inference."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from core.splat import reference
from core.splat.border import check_finite, check_tensor, kernel_dtype, pointer, pointers
from core.splat.library import Library, check_status, choose

HIDDEN_WIDTHS = (16, 32, 64)
MAX_WIDTH = 512


def mlp(x: Tensor | Sequence[Tensor], weights: Sequence[Tensor], *, backend: str | None = None) -> Tensor:
    """x W1^T, ReLU, ..., Wn^T without biases (InsTaG's motion fields; facts sheet, section 2.3).

    Two or three layers with hidden widths of 16, 32 or 64 and at most 512 inputs and outputs run fused on the native
    library; any other shape runs in torch.

    Args:
        x: [N, K] float32; or several [N, K1], [N, K2], ..., which are read side by side where they lie.
        weights: one [out, in] float32 for each layer, as `torch.nn.Linear` keeps them.
        backend: `native`, `torch`, or None for the best there is.

    Returns:
        [N, O]. Gradients flow to `x` and to every weight; a frozen weight's is not computed.

    Raises:
        TypeError, ValueError: a wrong dtype, shapes that don't chain, or NaN or infinity (which a ReLU would hide).
    """
    library = choose(backend)
    inputs = [x] if isinstance(x, Tensor) else list(x)
    names = ["x"] if isinstance(x, Tensor) else [f"x[{number}]" for number in range(len(inputs))]
    if not inputs:
        raise ValueError("mlp needs at least one input")
    dtype = kernel_dtype(library is not None, inputs[0])
    for name, part in zip(names, inputs, strict=True):
        check_tensor(name, part, (inputs[0].shape[0] if part is not inputs[0] else None, None), dtype)
    width = sum(part.shape[1] for part in inputs)
    _check_chain(width, weights, dtype)
    numbers = zip(names, inputs, strict=True)
    check_finite("mlp", **dict(numbers), **{f"weights[{number}]": weight for number, weight in enumerate(weights)})
    if library is None or not _fusable(width, weights):
        return reference.mlp(inputs, weights)
    output: Tensor = _NativeMlp.apply(library, len(inputs), *inputs, *weights)  # type: ignore[no-untyped-call]
    return output


@torch.no_grad()
def mlp_from(added: Tensor, x: Tensor, weights: Sequence[Tensor], *, backend: str | None = None) -> Tensor:
    """The network of `mlp` with a term added before its first ReLU: what some of its inputs always give, computed once.

    For inference: nothing is kept, no gradient flows.

    Args:
        added: [N, H] float32, H the first layer's width.
        x: [N, K] float32, the inputs that change.
        weights: one [out, in] float32 for each layer; the first has K inputs.
        backend: `native`, `torch`, or None for the best there is.

    Returns:
        [N, O].

    Raises:
        TypeError, ValueError: a wrong dtype, or shapes that don't chain.
    """
    library = choose(backend)
    dtype = kernel_dtype(library is not None, x)
    check_tensor("x", x, (None, None), dtype)
    _check_chain(x.shape[1], weights, dtype)
    check_tensor("added", added, (x.shape[0], weights[0].shape[0]), dtype)
    if library is None or not _fusable(x.shape[1], weights):
        return reference.mlp_from(added, x, weights)
    added, x = added.contiguous(), x.contiguous()
    layers = [weight.detach().contiguous() for weight in weights]
    output = torch.empty(x.shape[0], layers[-1].shape[0])
    widths = (ctypes.c_int32 * (len(layers) + 1))(x.shape[1], *(layer.shape[0] for layer in layers))
    check_status(
        library.call(
            "mlp_infer", x.shape[0], len(layers), widths, pointer(x), pointer(added), pointers(layers), pointer(output)
        ),
        "mlp_from",
    )
    return output


def _check_chain(width: int, weights: Sequence[Tensor], dtype: torch.dtype) -> None:
    if not weights:
        raise ValueError("mlp needs at least one weight matrix")
    for number, weight in enumerate(weights):
        check_tensor(f"weights[{number}]", weight, (None, width), dtype)
        width = weight.shape[0]


def _fusable(inputs: int, weights: Sequence[Tensor]) -> bool:
    outer = (inputs, weights[-1].shape[0])
    hidden_fits = all(weight.shape[0] in HIDDEN_WIDTHS for weight in weights[:-1])
    return len(weights) in (2, 3) and hidden_fits and all(1 <= width <= MAX_WIDTH for width in outer)


class _NativeMlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, library: Library, parts: int, *tensors: Tensor) -> Tensor:
        kept = [tensor.detach().contiguous() for tensor in tensors]
        inputs, layers = kept[:parts], kept[parts:]
        rows = inputs[0].shape[0]
        hidden = [torch.empty(rows, layer.shape[0]) for layer in layers[:-1]]
        output = torch.empty(rows, layers[-1].shape[0])
        shape = _shape(inputs, layers)
        status = library.call("mlp_forward", rows, *shape, pointers(layers), pointers(hidden), pointer(output))
        check_status(status, "mlp")
        ctx.save_for_backward(*kept, *hidden)
        ctx.library, ctx.parts, ctx.layers = library, parts, len(layers)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kept = ctx.saved_tensors[: ctx.parts + ctx.layers]
        inputs, layers, hidden = kept[: ctx.parts], kept[ctx.parts :], ctx.saved_tensors[len(kept) :]
        gradient = gradient.contiguous()
        wanted = ctx.needs_input_grad[2:]
        gradients = [torch.empty_like(tensor) if needed else None for tensor, needed in zip(kept, wanted, strict=True)]
        status = ctx.library.call(
            "mlp_backward",
            inputs[0].shape[0],
            *_shape(inputs, layers),
            pointers(layers),
            pointers(hidden),
            pointer(gradient),
            pointers(gradients[ctx.parts :]),
            pointers(gradients[: ctx.parts]),
        )
        check_status(status, "mlp")
        return (None, None, *gradients)


def _shape(inputs: Sequence[Tensor], layers: Sequence[Tensor]) -> tuple[object, ...]:
    """The inputs' number, widths and addresses and the layers' number and widths, as the kernels take them."""
    parts = (ctypes.c_int32 * len(inputs))(*(part.shape[1] for part in inputs))
    widths = (ctypes.c_int32 * (len(layers) + 1))(sum(parts), *(layer.shape[0] for layer in layers))
    return len(inputs), parts, pointers(inputs), len(layers), widths
