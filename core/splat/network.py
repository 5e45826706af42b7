"""`mlp`, `mlp_split`: a small bias-free ReLU network, its layers fused, differentiable; `mlp_from`: for inference."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from core.splat import reference
from core.splat.border import check_finite, check_tensor, kernel_dtype, pointer, pointers
from core.splat.library import ColumnsStruct, Library, check_status, choose

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
    return _apply(x, weights, None, backend)[0]


def mlp_split(
    x: Tensor | Sequence[Tensor], weights: Sequence[Tensor], widths: Sequence[int], *, backend: str | None = None
) -> tuple[Tensor, ...]:
    """`mlp` with its answer in several tensors, [N, width] each: no slice's gradient is copied into the whole.

    Args:
        x: as `mlp`.
        weights: as `mlp`.
        widths: of the parts; their sum is O.
        backend: as `mlp`.

    Raises:
        TypeError, ValueError: as `mlp`; widths that don't add up to O.
    """
    if not widths or min(widths) < 1:
        raise ValueError(f"widths must be positive numbers, not {list(widths)}")
    return _apply(x, weights, widths, backend)


def _apply(
    x: Tensor | Sequence[Tensor], weights: Sequence[Tensor], widths: Sequence[int] | None, backend: str | None
) -> tuple[Tensor, ...]:
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
    answers = weights[-1].shape[0]
    split = [answers] if widths is None else list(widths)
    if sum(split) != answers:
        raise ValueError(f"widths {split} must add up to {answers}")
    numbers = zip(names, inputs, strict=True)
    check_finite("mlp", **dict(numbers), **{f"weights[{number}]": weight for number, weight in enumerate(weights)})
    if library is None or not _fusable(width, weights):
        return torch.split(reference.mlp(inputs, weights), split, dim=1)
    outputs: tuple[Tensor, ...] = _NativeMlp.apply(library, len(inputs), split, *inputs, *weights)  # type: ignore[no-untyped-call]
    return outputs


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
    def forward(ctx: Any, library: Library, parts: int, split: list[int], *tensors: Tensor) -> tuple[Tensor, ...]:
        kept = [tensor.detach().contiguous() for tensor in tensors]
        inputs, layers = kept[:parts], kept[parts:]
        rows = inputs[0].shape[0]
        hidden = [torch.empty(rows, layer.shape[0]) for layer in layers[:-1]]
        outputs = [torch.empty(rows, width) for width in split]
        status = library.call(
            "mlp_forward",
            *_shape(inputs, layers),
            _columns(inputs),
            pointers(layers),
            pointers(hidden),
            _columns(outputs),
        )
        check_status(status, "mlp")
        ctx.save_for_backward(*kept, *hidden)
        ctx.library, ctx.parts, ctx.layers, ctx.split = library, parts, len(layers), split
        ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        kept = ctx.saved_tensors[: ctx.parts + ctx.layers]
        inputs, layers, hidden = kept[: ctx.parts], kept[ctx.parts :], ctx.saved_tensors[len(kept) :]
        given = [None if gradient is None else gradient.contiguous() for gradient in upstream]
        wanted = ctx.needs_input_grad[3:]
        gradients = [torch.empty_like(tensor) if needed else None for tensor, needed in zip(kept, wanted, strict=True)]
        status = ctx.library.call(
            "mlp_backward",
            *_shape(inputs, layers),
            _columns(inputs),
            pointers(layers),
            pointers(hidden),
            _columns(given, ctx.split),
            pointers(gradients[ctx.parts :]),
            _columns(gradients[: ctx.parts], [part.shape[1] for part in inputs]),
        )
        check_status(status, "mlp")
        return (None, None, None, *gradients)


def _shape(inputs: Sequence[Tensor], layers: Sequence[Tensor]) -> tuple[object, ...]:
    """The numbers of rows and of layers, and the widths from the inputs to the answers."""
    widths = (layers[0].shape[1], *(layer.shape[0] for layer in layers))
    return inputs[0].shape[0], len(layers), (ctypes.c_int32 * len(widths))(*widths)


def _columns(parts: Sequence[Tensor | None], widths: Sequence[int] | None = None) -> ColumnsStruct:
    """Tensors side by side for the kernels; `widths` where some may be missing."""
    if widths is None:
        widths = [0 if part is None else part.shape[1] for part in parts]
    numbers, addresses = (ctypes.c_int32 * len(widths))(*widths), pointers(parts)
    struct = ColumnsStruct(len(parts), ctypes.addressof(numbers), ctypes.addressof(addresses))
    struct.kept = numbers, addresses  # as long as the struct lives
    return struct
