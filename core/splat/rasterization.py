"""`rasterize`: 3D Gaussians to a picture, differentiable. Checks the input, chooses the backend, keeps its state."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from core.camera import Camera
from core.splat import reference
from core.splat.border import check_finite, check_tensor, kernel_dtype, pointer
from core.splat.device import drawing_device
from core.splat.library import Library, SceneGradientStruct, SceneStruct, check_status, choose

MAX_CHANNELS = 16
MAX_SIDE = 16384
_SPECIALISED_CHANNELS = (1, 3, 5, 7, 10, 16)
"""What raster.h's with_channels compiles; other counts are padded to the next."""


@dataclass
class ScreenStatistics:
    """What density control wants to know of each Gaussian in one picture."""

    means: Tensor
    """[N, 2] projected means in pixels; meaningless where not visible."""
    radii: Tensor
    """[N] largest half extent in pixels of the box in which alpha >= 1/255; 0 where not visible."""
    gradient: Tensor | None = field(default=None)
    """[N, 2] gradient of the loss by the projected means, per pixel; filled in by backward, zero where not visible."""

    @property
    def visible(self) -> Tensor:
        """[N] bool: in front of the near plane, opaque enough, and its box meets the picture."""
        return self.radii > 0


@dataclass(frozen=True)
class Rasterization:
    """One picture."""

    image: Tensor
    """[G, H, W] colours premultiplied by alpha, plus background * (1 - alpha): the channels that reach geometry."""
    maps: Tensor
    """[C - G, H, W] the other channels: attention maps."""
    alpha: Tensor
    """[H, W] 0..1."""
    screen: ScreenStatistics


def rasterize(
    means: Tensor,
    quaternions: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    world_to_camera: Tensor,
    camera: Camera,
    background: Tensor | None = None,
    *,
    geometry_channels: int | None = None,
    backend: str | None = None,
) -> Rasterization:
    """Splat 3D Gaussians into a picture (Kerbl et al. 2023), with gsplat's conventions.

    Pixel centres lie at +0.5; 0.3 px of blur are added to each covariance; a contribution below alpha 1/255 is
    skipped; alpha is cut at 0.999; a pixel ends where transmittance would fall to 1e-4 or below; Gaussians nearer than
    0.01 m are skipped; the projection's Jacobian is clamped to 1.3 times the field of view.

    Gradients flow to means, quaternions, scales, opacities and colours, not to camera or background. Any number of
    pictures may be alive before one backward; each keeps its own state. Under `torch.no_grad()`, or where no input
    requires a gradient, no state is kept.

    Args:
        means: [N, 3] float32, world, metres.
        quaternions: [N, 4] float32, wxyz, of any length above 0 (normalised inside).
        scales: [N, 3] float32, metres, standard deviations along the Gaussian's axes.
        opacities: [N] float32, 0..1.
        colors: [N, C] float32, C in 1..16: RGB, depth, normals, attention maps, ...
        world_to_camera: [4, 4] float32, OpenCV axes (x right, y down, z forward).
        camera: intrinsics and the picture's size.
        background: [C] float32, or None for black.
        geometry_channels: G; channels at and after this index are drawn as `maps` and send gradients to `colors` only.
            None: all reach geometry.
        backend: `native`, `torch` (also float64), `cuda` (gsplat), or None for what `core.splat.device` says.

    Raises:
        TypeError: a wrong dtype.
        ValueError: a wrong shape or size, or NaN or infinity in an input.
        UsageError: `cuda_unavailable`, where `cuda` was asked for.
    """
    on_cuda = backend == "cuda" or (backend is None and drawing_device() == "cuda")
    library = None if on_cuda else choose(backend)
    inputs = (means, quaternions, scales, opacities, colors)
    dtype = torch.float32 if on_cuda else kernel_dtype(library is not None, means)
    _check(inputs, world_to_camera, camera, background, dtype, anywhere=on_cuda)
    channels = colors.shape[1]
    reaching = channels if geometry_channels is None else geometry_channels
    if not 0 <= reaching <= channels:
        raise ValueError(f"geometry_channels must lie in 0..{channels}, not {geometry_channels}")
    if on_cuda:
        from core.splat import cuda

        named = zip(("means", "quaternions", "scales", "opacities", "colors"), inputs, strict=True)
        check_finite("rasterize", **dict(named), world_to_camera=world_to_camera)
        return cuda.rasterize(*inputs, world_to_camera, camera, background, reaching)
    if library is None:
        picture = reference.rasterize(*inputs, world_to_camera, camera, background, reaching)
        statistics = ScreenStatistics(picture.means.detach(), picture.radii)
        if picture.means.requires_grad:
            picture.means.register_hook(_keep_gradient(statistics))  # type: ignore[no-untyped-call]
        return Rasterization(picture.image[:reaching], picture.image[reaching:], picture.alpha, statistics)

    padded = next(count for count in _SPECIALISED_CHANNELS if count >= channels)
    if padded != channels:
        colors = torch.nn.functional.pad(colors, (0, padded - channels))
        background = None if background is None else torch.nn.functional.pad(background, (0, padded - channels))
    statistics = ScreenStatistics(means.new_empty(means.shape[0], 2), means.new_empty(means.shape[0]))
    call = _Call(library, camera, world_to_camera, background, reaching, channels - reaching, statistics)
    tensors = (means, quaternions, scales, opacities, colors)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        image, maps, alpha = _NativeRasterization.apply(*tensors, call)  # type: ignore[no-untyped-call]
    else:
        image, maps, alpha = call.forward(tensors, _Context(library), keep_state=False)
    return Rasterization(image, maps, alpha, statistics)


def _check(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    world_to_camera: Tensor,
    camera: Camera,
    background: Tensor | None,
    dtype: torch.dtype,
    *,
    anywhere: bool,
) -> None:
    means, quaternions, scales, opacities, colors = inputs
    check_tensor("means", means, (None, 3), dtype, anywhere=anywhere)
    count = means.shape[0]
    check_tensor("quaternions", quaternions, (count, 4), dtype, anywhere=anywhere)
    check_tensor("scales", scales, (count, 3), dtype, anywhere=anywhere)
    check_tensor("opacities", opacities, (count,), dtype, anywhere=anywhere)
    check_tensor("colors", colors, (count, None), dtype, anywhere=anywhere)
    check_tensor("world_to_camera", world_to_camera, (4, 4), dtype, anywhere=anywhere)
    if not 1 <= colors.shape[1] <= MAX_CHANNELS:
        raise ValueError(f"colors must have 1..{MAX_CHANNELS} channels, not {colors.shape[1]}")
    if background is not None:
        check_tensor("background", background, (colors.shape[1],), dtype, anywhere=anywhere)
        check_finite("rasterize", background=background)
    if not (1 <= camera.width <= MAX_SIDE and 1 <= camera.height <= MAX_SIDE):
        raise ValueError(f"the picture must be 1..{MAX_SIDE} pixels a side, not {camera.width}x{camera.height}")
    if not (0 < camera.fx < float("inf") and 0 < camera.fy < float("inf")):
        raise ValueError(f"focal lengths must be positive, not {camera.fx} and {camera.fy}")
    if not (abs(camera.cx) < float("inf") and abs(camera.cy) < float("inf")):
        raise ValueError(f"the principal point must be finite, not {camera.cx}, {camera.cy}")


def _keep_gradient(statistics: ScreenStatistics) -> Any:
    def keep(gradient: Tensor) -> None:
        statistics.gradient = gradient.detach().clone()

    return keep


class _Context:
    """A native handle with its buffers, borrowed from a pool for as long as this object lives."""

    _free: dict[int, list[int]] = {}  # noqa: RUF012

    def __init__(self, library: Library) -> None:
        self._pool = self._free.setdefault(id(library), [])
        try:
            self.handle = self._pool.pop()
        except IndexError:
            handle = library.call("raster_create")
            if not handle:
                raise MemoryError("rasterize: not enough memory") from None
            self.handle = handle

    def __del__(self) -> None:
        handle = getattr(self, "handle", None)
        if handle is not None:
            self._pool.append(handle)


@dataclass(frozen=True)
class _Call:
    """What one picture is drawn with, beside its tensors."""

    library: Library
    camera: Camera
    world_to_camera: Tensor
    background: Tensor | None
    geometry_channels: int
    map_channels: int
    statistics: ScreenStatistics

    def scene(self, tensors: tuple[Tensor, ...]) -> tuple[SceneStruct, list[Tensor | None]]:
        """The C view of the scene, and the tensors that must outlive it."""
        kept = [
            None if tensor is None else tensor.detach().contiguous()
            for tensor in (*tensors, self.background, self.world_to_camera)
        ]
        camera = self.camera
        struct = SceneStruct(
            *(pointer(tensor) for tensor in kept),
            camera.fx,
            camera.fy,
            camera.cx,
            camera.cy,
            tensors[0].shape[0],
            tensors[4].shape[1],
            camera.width,
            camera.height,
        )
        return struct, kept

    def forward(
        self, tensors: tuple[Tensor, ...], context: _Context, keep_state: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Image, maps, alpha; the context then holds what `backward` needs, if `keep_state`."""
        scene, kept = self.scene(tensors)
        drawn = torch.empty(tensors[4].shape[1], self.camera.height, self.camera.width)
        alpha = torch.empty(self.camera.height, self.camera.width)
        status = self.library.call(
            "raster_forward",
            context.handle,
            ctypes.byref(scene),
            int(keep_state),
            *(pointer(tensor) for tensor in (drawn, alpha, self.statistics.means, self.statistics.radii)),
        )
        del kept
        check_status(status, "rasterize")
        past = self.geometry_channels + self.map_channels
        return drawn[: self.geometry_channels], drawn[self.geometry_channels : past], alpha

    def backward(
        self, tensors: tuple[Tensor, ...], context: _Context, upstream: tuple[Tensor | None, ...]
    ) -> list[Tensor]:
        """Gradients of means, quaternions, scales, opacities, colours from those of image, maps, alpha.

        Fills the statistics' gradient.
        """
        scene, kept = self.scene(tensors)
        gradients = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in tensors]
        screen = torch.empty(tensors[0].shape[0], 2)
        struct = SceneGradientStruct(*(pointer(tensor) for tensor in (*gradients, screen)))
        dense = [None if gradient is None else gradient.contiguous() for gradient in upstream]
        status = self.library.call(
            "raster_backward",
            context.handle,
            ctypes.byref(scene),
            self.geometry_channels,
            self.map_channels,
            *(pointer(gradient) for gradient in dense),
            ctypes.byref(struct),
        )
        del kept
        check_status(status, "rasterize")
        self.statistics.gradient = screen
        return gradients


class _NativeRasterization(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        *tensors, call = arguments
        context = _Context(call.library)
        drawn: tuple[Tensor, Tensor, Tensor] = call.forward(tuple(tensors), context, keep_state=True)
        ctx.save_for_backward(*tensors)
        ctx.call, ctx.context = call, context
        ctx.set_materialize_grads(False)
        return drawn

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(gradient is None for gradient in upstream):
            return (None,) * 6
        return (*ctx.call.backward(ctx.saved_tensors, ctx.context, upstream), None)
