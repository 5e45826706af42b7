"""Another compiled rasteriser as a peer to measure against: any shared library with the C functions named here.

They are those of the throw-away prototype that this project's kernels were measured against first. It is no part of the
project and can't be installed; its path is given by whoever has it. Inputs are not checked.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_float, c_int, c_void_p
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.splat.border import pointer
from core.splat.reference import NEAR_PLANE
from core.splat.scene import BenchmarkScene

_SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "rast_new": (c_void_p, []),
    "proj_fwd": (None, [c_int, *[c_void_p] * 4, *[c_float] * 5, *[c_void_p] * 4]),
    "rast_fwd": (None, [c_void_p, c_int, c_int, *[c_void_p] * 6, c_int, c_int, *[c_void_p] * 3]),
    "rast_bwd": (None, [c_void_p, c_int, *[c_void_p] * 11]),
    "proj_bwd": (None, [c_int, *[c_void_p] * 4, c_float, c_float, *[c_void_p] * 7]),
}


def load(path: Path) -> ctypes.CDLL:
    """The library at `path`.

    Raises:
        OSError: it can't be loaded.
        AttributeError: it lacks one of the functions.
    """
    library = ctypes.CDLL(str(path.resolve()))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def renderer(library: ctypes.CDLL, scene: BenchmarkScene) -> Callable[..., Tensor]:
    """A function of means, quaternions, scales, opacities, colours that draws an image [C, H, W], differentiable.

    One picture at a time: the library keeps the state of its last one.
    """
    context = library.rast_new()

    def draw(*leaves: Tensor) -> Tensor:
        image: Tensor = _Drawn.apply(library, context, scene, *leaves)  # type: ignore[no-untyped-call]
        return image

    return draw


class _Drawn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, library: Any, state: int, scene: BenchmarkScene, *leaves: Tensor) -> Tensor:
        means, quaternions, scales, opacities, colors = leaves
        camera, count = scene.camera, means.shape[0]
        screen, conic, depth = torch.empty(count, 2), torch.empty(count, 3), torch.empty(count)
        radii = torch.empty(count, 2, dtype=torch.int32)
        library.proj_fwd(
            count,
            *(pointer(tensor) for tensor in (means, quaternions, scales, scene.world_to_camera)),
            *(camera.fx, camera.fy, camera.cx, camera.cy, NEAR_PLANE),
            *(pointer(tensor) for tensor in (screen, conic, depth, radii)),
        )
        image = torch.empty(colors.shape[1], camera.height, camera.width)
        transmittance = torch.empty(camera.height, camera.width)
        library.rast_fwd(
            state,
            count,
            colors.shape[1],
            *(pointer(tensor) for tensor in (screen, conic, opacities, colors, depth, radii)),
            camera.width,
            camera.height,
            *(pointer(tensor) for tensor in (None, image, transmittance)),
        )
        ctx.save_for_backward(*leaves, screen, conic)
        ctx.library, ctx.state, ctx.scene = library, state, scene
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *leaves, screen, conic = ctx.saved_tensors
        means, quaternions, scales, opacities, colors = leaves
        gradients = [torch.empty_like(leaf) for leaf in leaves]
        screen_gradient, conic_gradient = torch.empty_like(screen), torch.empty_like(conic)
        inputs = (screen, conic, opacities, colors, None, gradient.contiguous(), None)
        outputs = (screen_gradient, conic_gradient, gradients[3], gradients[4])
        ctx.library.rast_bwd(ctx.state, colors.shape[1], *(pointer(tensor) for tensor in (*inputs, *outputs)))
        camera, view = ctx.scene.camera, ctx.scene.world_to_camera
        ctx.library.proj_bwd(
            means.shape[0],
            *(pointer(tensor) for tensor in (means, quaternions, scales, view)),
            camera.fx,
            camera.fy,
            *(pointer(tensor) for tensor in (conic, screen_gradient, conic_gradient, None, *gradients[:3])),
        )
        return (None, None, None, *gradients)
