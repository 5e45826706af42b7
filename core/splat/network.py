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


def mlp(x: Tensor, weights: Sequence[Tensor], *, backend: str | None = None) -> Tensor:
    """x W1^T, ReLU, ..., Wn^T without biases (InsTaG's motion fields; facts sheet, section 2.3).

    Two or three layers with hidden widths of 16, 32 or 64 and at most 512 inputs and outputs run fused on the native
    library; any other shape runs in torch.

    Args:
        x: [N, K] float32.
        weights: one [out, in] float32 for each layer, as `torch.nn.Linear` keeps them.
        backend: `native`, `torch`, or None for the best there is.

    Returns:
        [N, O]. Gradients flow to `x` and to every weight; a frozen weight's is not computed.

    Raises:
        TypeError, ValueError: a wrong dtype, shapes that don't chain, or NaN or infinity (which a ReLU would hide).
    """
    library = choose(backend)
    dtype = kernel_dtype(library is not None, x)
    _check_chain(x, weights, dtype)
    check_finite("mlp", x=x, **{f"weights[{number}]": weight for number, weight in enumerate(weights)})
    if library is None or not _fusable(x, weights):
        return reference.mlp(x, weights)
    output: Tensor = _NativeMlp.apply(library, x, *weights)  # type: ignore[no-untyped-call]
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
    _check_chain(x, weights, dtype)
    check_tensor("added", added, (x.shape[0], weights[0].shape[0]), dtype)
    if library is None or not _fusable(x, weights):
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


def _check_chain(x: Tensor, weights: Sequence[Tensor], dtype: torch.dtype) -> None:
    check_tensor("x", x, (None, None), dtype)
    if not weights:
        raise ValueError("mlp needs at least one weight matrix")
    width = x.shape[1]
    for number, weight in enumerate(weights):
        check_tensor(f"weights[{number}]", weight, (None, width), dtype)
        width = weight.shape[0]


def _fusable(x: Tensor, weights: Sequence[Tensor]) -> bool:
    outer = (x.shape[1], weights[-1].shape[0])
    hidden_fits = all(weight.shape[0] in HIDDEN_WIDTHS for weight in weights[:-1])
    return len(weights) in (2, 3) and hidden_fits and all(1 <= width <= MAX_WIDTH for width in outer)


class _NativeMlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, library: Library, x: Tensor, *weights: Tensor) -> Tensor:
        x = x.detach().contiguous()
        layers = [weight.detach().contiguous() for weight in weights]
        widths = (ctypes.c_int32 * (len(layers) + 1))(x.shape[1], *(layer.shape[0] for layer in layers))
        hidden = [torch.empty(x.shape[0], layer.shape[0]) for layer in layers[:-1]]
        output = torch.empty(x.shape[0], layers[-1].shape[0])
        status = library.call(
            "mlp_forward",
            x.shape[0],
            len(layers),
            widths,
            pointer(x),
            pointers(layers),
            pointers(hidden),
            pointer(output),
        )
        check_status(status, "mlp")
        ctx.save_for_backward(x, *layers, *hidden)
        ctx.library, ctx.widths = library, widths
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        count = len(ctx.widths) - 1
        x, *rest = ctx.saved_tensors
        layers, hidden = rest[:count], rest[count:]
        gradient = gradient.contiguous()
        wanted = ctx.needs_input_grad[2:]
        weight_gradients = [torch.empty_like(w) if needed else None for w, needed in zip(layers, wanted, strict=True)]
        input_gradient = torch.empty_like(x) if ctx.needs_input_grad[1] else None
        status = ctx.library.call(
            "mlp_backward",
            x.shape[0],
            count,
            ctx.widths,
            pointer(x),
            pointers(layers),
            pointers(hidden),
            pointer(gradient),
            pointers(weight_gradients),
            pointer(input_gradient),
        )
        check_status(status, "mlp")
        return (None, input_gradient, *weight_gradients)
