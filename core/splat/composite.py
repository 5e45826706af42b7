"""`bounds` and `composite`: which box to draw, and a finished frame from what was drawn and what was recorded."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from core.camera import Camera
from core.splat import reference
from core.splat.border import check_tensor, pointer
from core.splat.library import LayerStruct, check_status, choose


@dataclass(frozen=True)
class Layer:
    """One branch, drawn over black into a box of the frame."""

    image: Tensor
    """[3, H, W] premultiplied, 0..1."""
    alpha: Tensor
    """[H, W] 0..1."""
    left: int
    top: int
    """The box's corner in pixels of the frame."""

    def struct(self) -> LayerStruct:
        """The layer as the kernel reads it; borrows both tensors."""
        height, width = self.alpha.shape
        return LayerStruct(pointer(self.image), pointer(self.alpha), self.left, self.top, width, height)


@dataclass(frozen=True)
class Bounds:
    """The part of the picture that points fall on, pixels, and how near the nearest is, metres."""

    left: float
    top: float
    right: float
    bottom: float
    depth: float


@torch.no_grad()
def bounds(points: Tensor, world_to_camera: Tensor, camera: Camera, *, backend: str | None = None) -> Bounds:
    """Where points [N, 3] (metres, world, N > 0) fall, those nearer than 5 cm as if they were 5 cm away.

    Raises:
        TypeError, ValueError: a wrong dtype or shape, or no points.
    """
    check_tensor("points", points, (None, 3))
    check_tensor("world_to_camera", world_to_camera, (4, 4))
    if points.shape[0] == 0:
        raise ValueError("bounds needs at least one point")
    library = choose(backend)
    if library is None:
        return Bounds(*reference.bounds(points, world_to_camera, camera))
    points, view = points.contiguous(), world_to_camera.contiguous()
    out = (ctypes.c_float * 5)()
    library.call(
        "bounds", points.shape[0], pointer(points), pointer(view), camera.fx, camera.fy, camera.cx, camera.cy, out
    )
    return Bounds(*out)


def composite(
    face: Layer, mouth: Layer | None, dilation: int, backdrop: Tensor, *, backend: str | None = None
) -> Tensor:
    """C_f + (C_m + B (1 - dilate(a_m))) (1 - a_f) in the face's box, the backdrop B elsewhere.

    Args:
        face: float32.
        mouth: float32, its box inside the face's; None where none is to be seen.
        dilation: odd window of pixels over which the mouth's alpha is max-pooled before it hides the backdrop.
        backdrop: [S, S, 3] uint8 sRGB.
        backend: `native`, `torch`, or None for the best there is.

    Returns:
        [S, S, 3] uint8 sRGB.

    Raises:
        TypeError, ValueError: wrong dtypes or shapes, boxes outside the frame, an even window.
    """
    size = backdrop.shape[0]
    check_tensor("backdrop", backdrop, (size, size, 3), torch.uint8)
    _check_layer("face", face, (0, 0, size, size))
    box = (face.left, face.top, face.left + face.alpha.shape[1], face.top + face.alpha.shape[0])
    if mouth is not None:
        _check_layer("mouth", mouth, box)
    if dilation < 1 or dilation % 2 == 0:
        raise ValueError(f"dilation must be odd and positive, not {dilation}")
    library = choose(backend)
    if library is None:
        return _in_torch(face, mouth, dilation, backdrop)
    backdrop = backdrop.contiguous()
    layers = [face, mouth or Layer(face.image[:, :0, :0], face.alpha[:0, :0], face.left, face.top)]
    layers = [Layer(one.image.contiguous(), one.alpha.contiguous(), one.left, one.top) for one in layers]
    out = torch.empty_like(backdrop)
    structs = [ctypes.byref(layer.struct()) for layer in layers]
    check_status(
        library.call("composite", size, *structs, dilation, pointer(backdrop), pointer(out)),
        "composite",
    )
    return out


def _check_layer(name: str, layer: Layer, box: tuple[int, int, int, int]) -> None:
    check_tensor(f"{name}.alpha", layer.alpha, (None, None))
    height, width = layer.alpha.shape
    check_tensor(f"{name}.image", layer.image, (3, height, width))
    left, top, right, bottom = box
    if layer.left < left or layer.top < top or layer.left + width > right or layer.top + height > bottom:
        raise ValueError(f"{name}: its box leaves the one it must lie in")


def _in_torch(face: Layer, mouth: Layer | None, dilation: int, backdrop: Tensor) -> Tensor:
    out = backdrop.clone()
    height, width = face.alpha.shape
    box = out[face.top : face.top + height, face.left : face.left + width]
    behind = box.permute(2, 0, 1).to(torch.float32) / 255
    place = (0, 0) if mouth is None else (mouth.left - face.left, mouth.top - face.top)
    inside = None if mouth is None else (mouth.image, mouth.alpha)
    picture = reference.composite((face.image, face.alpha), inside, place, dilation, behind)
    box.copy_(picture.clamp(0, 1).mul(255).add(0.5).to(torch.uint8).permute(1, 2, 0))
    return out
