"""The kernels in plain torch: the oracle of the tests (float64) and the fallback where no native library loads.

Written to be read and checked, not to be fast. Every function here has the contract of its native twin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from core.camera import Camera

BLUR = 0.3
NEAR_PLANE = 0.01
ALPHA_THRESHOLD = 1.0 / 255.0
ALPHA_MAX = 0.999
TRANSMITTANCE_THRESHOLD = 1e-4
TILE = 16
SSIM_RADIUS = 5
SSIM_SIGMA = 1.5
ALEXNET = ((4, 2, False), (1, 2, True), (1, 1, True), (1, 1, False), (1, 1, False))
"""Stride and padding of five convolutions, and whether a pooling stands before each."""
LPIPS_SHIFT = (-0.030, -0.088, -0.188)
LPIPS_SCALE = (0.458, 0.448, 0.450)
NEVER_ZERO = 1e-10
"""Under the root: where all channels are zero the gradient of a bare root is infinite."""
PLANE_AXES = ((0, 1), (1, 2), (0, 2))


@dataclass(frozen=True)
class ReferencePicture:
    """What `rasterize` below returns."""

    image: Tensor
    alpha: Tensor
    means: Tensor
    """[N, 2] projected means, part of the graph."""
    radii: Tensor


def rotation_matrices(quaternions: Tensor) -> Tensor:
    """Rotations [N, 3, 3] of wxyz quaternions [N, 4] of any length."""
    w, x, y, z = F.normalize(quaternions, dim=-1).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def project(
    means: Tensor, quaternions: Tensor, scales: Tensor, world_to_camera: Tensor, camera: Camera
) -> tuple[Tensor, Tensor, Tensor]:
    """Screen means [N, 2], screen covariances with blur [N, 2, 2] and depths [N]; EWA splatting, section 3.2."""
    rotation, translation = world_to_camera[:3, :3], world_to_camera[:3, 3]
    x, y, z = (means @ rotation.T + translation).unbind(-1)
    depth = z
    z = z.clamp(min=NEAR_PLANE)
    margin_x, margin_y = 0.15 * camera.width / camera.fx, 0.15 * camera.height / camera.fy
    slope_x = (x / z).clamp(-camera.cx / camera.fx - margin_x, (camera.width - camera.cx) / camera.fx + margin_x)
    slope_y = (y / z).clamp(-camera.cy / camera.fy - margin_y, (camera.height - camera.cy) / camera.fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [
            torch.stack([camera.fx / z, zero, -camera.fx * slope_x / z], -1),
            torch.stack([zero, camera.fy / z, -camera.fy * slope_y / z], -1),
        ],
        -2,
    )
    factor = jacobian @ rotation @ (rotation_matrices(quaternions) * scales[:, None, :])
    covariance = factor @ factor.transpose(-1, -2) + BLUR * torch.eye(2, dtype=means.dtype)
    return torch.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], -1), covariance, depth


def rasterize(
    means: Tensor,
    quaternions: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    world_to_camera: Tensor,
    camera: Camera,
    background: Tensor | None,
    geometry_channels: int,
) -> ReferencePicture:
    """The contract of `core.splat.rasterize`; float32 or float64.

    Raises:
        ValueError: NaN or infinity in an input.
    """
    for tensor in (means, quaternions, scales, opacities, colors, world_to_camera):
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError("rasterize: an input holds NaN or infinity")
    screen, covariance, depth = project(means, quaternions, scales, world_to_camera, camera)
    determinant = covariance[:, 0, 0] * covariance[:, 1, 1] - covariance[:, 0, 1] ** 2
    drawable = (depth > NEAR_PLANE) & (opacities >= ALPHA_THRESHOLD) & (determinant > 0) & (determinant < 1e30)
    drawable &= (screen.abs() < 1e7).all(-1)
    reach = torch.sqrt(2 * torch.log((255 * opacities.detach()).clamp(min=1.0)))
    extent = reach[:, None] * torch.diagonal(covariance.detach(), dim1=-2, dim2=-1).clamp(min=0).sqrt()
    low, high = screen.detach() - 0.5 - extent, screen.detach() - 0.5 + extent
    limits = torch.tensor([camera.width - 1, camera.height - 1], dtype=means.dtype)
    first, last = low.ceil().clamp(min=0), torch.minimum(high.floor(), limits)
    visible = drawable & (first <= last).all(-1)
    radii = torch.where(visible, extent.amax(-1), 0.0)

    order = torch.nonzero(visible).squeeze(-1)
    order = order[torch.argsort(depth.detach()[order], stable=True)]
    conic = torch.linalg.inv(covariance[order])
    parts = screen[order], conic, opacities[order], colors[order]
    rows = []
    for top in range(0, camera.height, TILE):
        tiles = []
        for left in range(0, camera.width, TILE):
            hit = (first[order] < torch.tensor([left + TILE, top + TILE])).all(-1)
            hit &= (last[order] >= torch.tensor([left, top])).all(-1)
            size = min(TILE, camera.height - top), min(TILE, camera.width - left)
            tiles.append(_tile([part[hit] for part in parts], left, top, size, background, geometry_channels))
        rows.append(torch.cat(tiles, -1))
    picture = torch.cat(rows, -2)
    return ReferencePicture(picture[:-1], picture[-1], screen, radii)


def _tile(
    parts: Sequence[Tensor],
    left: int,
    top: int,
    size: tuple[int, int],
    background: Tensor | None,
    geometry_channels: int,
) -> Tensor:
    """One tile [C + 1, h, w]: the channels, then alpha."""
    screen, conic, opacities, colors = parts
    y, x = torch.meshgrid(torch.arange(size[0]) + top + 0.5, torch.arange(size[1]) + left + 0.5, indexing="ij")
    pixels = torch.stack([x, y], -1).reshape(-1, 2).to(screen.dtype)
    offset = pixels[None] - screen[:, None]
    power = -0.5 * torch.einsum("npi,nij,npj->np", offset, conic, offset)
    alpha = (opacities[:, None] * torch.exp(power)).clamp(max=ALPHA_MAX)
    alpha = torch.where(alpha >= ALPHA_THRESHOLD, alpha, torch.zeros_like(alpha))
    after = torch.cumprod(1 - alpha, 0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]]) if len(after) else after
    weight = torch.where(after > TRANSMITTANCE_THRESHOLD, alpha * before, torch.zeros_like(alpha))
    final = 1 - weight.sum(0)
    image = colors[:, :geometry_channels].T @ weight
    if background is not None:
        image = image + background[:geometry_channels, None] * final
    detached = colors[:, geometry_channels:].T @ weight.detach()
    if background is not None:
        detached = detached + background[geometry_channels:, None] * final.detach()
    return torch.cat([image, detached, 1 - final[None]]).reshape(-1, *size)


def move(
    structure: tuple[Tensor, Tensor, Tensor, Tensor], motion: tuple[Tensor | None, Tensor | None, Tensor | None]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The contract of `core.splat.move`: means, quaternions, scales, opacities and the motion's magnitude."""
    means, quaternions, scales, opacities = structure
    added, sizes = [], [means.new_zeros(())]
    for raw, part in zip((means, quaternions, scales), motion, strict=True):
        if part is None:
            added.append(raw)
            continue
        added.append(raw + F.pad(part, (0, 0, 0, raw.shape[0] - part.shape[0])))
        sizes.append(part.abs().sum() / max(1, raw.numel()))
    return added[0], added[1], F.softplus(added[2]), torch.sigmoid(opacities), torch.stack(sizes).sum()


def view_colors(coefficients: Tensor, means: Tensor, camera: Tensor) -> Tensor:
    """The contract of `core.splat.view_colors`, with the camera's position [3]."""
    offset = means - camera
    length = offset.norm(dim=-1, keepdim=True)
    x, y, z = torch.where(length > 1e-12, offset / length.clamp(min=1e-12), 0.0).unbind(-1)
    basis = [torch.full_like(x, 0.28209479177387814)]
    if coefficients.shape[1] > 1:
        first = 0.48860251190291992
        basis += [-first * y, first * z, -first * x]
    if coefficients.shape[1] > 4:
        second = 1.0925484305920792
        middle = 0.94617469575756008 * z * z - 0.31539156525252005
        basis += [second * x * y, -second * y * z, middle, -second * x * z, second / 2 * (x * x - y * y)]
    return (torch.stack(basis, -1)[..., None] * coefficients).sum(1).add(0.5).relu()


def encode_triplane(points: Tensor, table: Tensor, resolutions: Tensor, bound: float) -> Tensor:
    """The contract of `core.splat.encode_triplane`."""
    unit = (points / bound + 1) / 2
    unit = unit.clamp(0, 1)
    columns = []
    for plane, axes in enumerate(PLANE_AXES):
        for level, resolution in enumerate(resolutions.tolist()):
            position = unit[:, axes] * (resolution - 1) + 0.5
            corner = position.detach().floor()
            weight = position - corner
            index = (corner[:, 0] + corner[:, 1] * (resolution + 1)).long()
            values = table[plane, level]
            stride = resolution + 1
            low = torch.lerp(values[index], values[index + 1], weight[:, 0])
            high = torch.lerp(values[index + stride], values[index + stride + 1], weight[:, 0])
            columns.append(torch.lerp(low, high, weight[:, 1]))
    return torch.stack(columns, -1)


def mlp(inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """The contract of `core.splat.mlp`, for any shape."""
    x = torch.cat(list(inputs), dim=1)
    for weight in weights[:-1]:
        x = torch.relu(x @ weight.T)
    return x @ weights[-1].T


def mlp_from(added: Tensor, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """The contract of `core.splat.mlp_from`."""
    x = x @ weights[0].T + added
    for weight in weights[1:]:
        x = torch.relu(x) @ weight.T
    return x


def convolve(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], strides: Sequence[int], leak: float
) -> Tensor:
    """[B, T, C] through convolutions and leaky ReLUs (see convolution.py)."""
    x = x.transpose(1, 2)
    for weight, bias, stride in zip(weights, biases, strides, strict=True):
        x = F.leaky_relu(F.conv1d(x, weight, bias, stride, weight.shape[2] // 2), leak)
    return x.transpose(1, 2)


@torch.no_grad()
def adam(
    value: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    step: float,
    keep: float,
    betas: tuple[float, float],
    bias2: float,
    epsilon: float,
) -> None:
    """One step of Adam on one tensor, in place (see adam.py)."""
    first.lerp_(gradient, 1 - betas[0])
    second.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
    value.mul_(keep).addcdiv_(first, (second / bias2).sqrt_().add_(epsilon), value=-step)


def bounds(points: Tensor, world_to_camera: Tensor, camera: Camera) -> list[float]:
    """The contract of `core.splat.bounds`: left, top, right, bottom, depth."""
    points = points @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    depth = points[:, 2].clamp(min=0.05)
    x = camera.fx * points[:, 0] / depth + camera.cx
    y = camera.fy * points[:, 1] / depth + camera.cy
    found: list[float] = torch.stack([x.amin(), y.amin(), x.amax(), y.amax(), depth.amin()]).tolist()
    return found


def composite(
    face: tuple[Tensor, Tensor],
    mouth: tuple[Tensor, Tensor] | None,
    place: tuple[int, int],
    window: int,
    behind: Tensor,
) -> Tensor:
    """The face's box of `core.splat.composite`: layers as (image, alpha), the mouth's left and top in that box.

    `behind` [3, H, W] is the backdrop in 0..1; so is what is returned.
    """
    behind = behind.clone()
    if mouth is not None:
        image, alpha = mouth
        hidden = F.max_pool2d(alpha[None, None], window, stride=1, padding=window // 2)[0, 0]
        left, top = place
        part = behind[:, top : top + alpha.shape[0], left : left + alpha.shape[1]]
        part.mul_(1 - hidden).add_(image)
    return behind * (1 - face[1]) + face[0]


def photometric(image: Tensor, target: Tensor, l1_weight: float, ssim_weight: float) -> Tensor:
    """What `core.splat.ssim` and `core.splat.photometric_loss` weigh: L1 and mean SSIM."""
    distance = (image - target.detach()).abs().mean()
    return l1_weight * distance + ssim_weight * ssim(image, target)


def ssim(image: Tensor, target: Tensor) -> Tensor:
    """The contract of `core.splat.ssim`."""
    taps = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=torch.float64)
    window = torch.exp(-(taps**2) / (2 * SSIM_SIGMA**2))
    window = (window / window.sum()).to(image.dtype)
    target = target.detach()

    def blur(maps: Tensor) -> Tensor:
        maps = F.conv2d(maps[:, None], window[None, None, None, :], padding=(0, SSIM_RADIUS))
        return F.conv2d(maps, window[None, None, :, None], padding=(SSIM_RADIUS, 0))[:, 0]

    mean_a, mean_b = blur(image), blur(target)
    variances = blur(image * image + target * target) - mean_a**2 - mean_b**2
    covariance = blur(image * target) - mean_a * mean_b
    numerator = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
    return (numerator / ((mean_a**2 + mean_b**2 + 1e-4) * (variances + 9e-4))).mean()


def lpips(
    image: Tensor, target: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], linear: Sequence[Tensor]
) -> Tensor:
    """The contract of `core.splat.LpipsNetwork.distance`; weights are cast to the pictures' dtype."""
    shift, scale = (torch.tensor(v, dtype=image.dtype).view(1, 3, 1, 1) for v in (LPIPS_SHIFT, LPIPS_SCALE))

    def layers(picture: Tensor) -> list[Tensor]:
        x = (picture[None] * 2 - 1 - shift) / scale
        units = []
        for weight, bias, (stride, padding, pooled) in zip(weights, biases, ALEXNET, strict=True):
            if pooled:
                x = F.max_pool2d(x, 3, 2)
            x = F.conv2d(x, weight.to(x), bias.to(x), stride, padding).relu()
            units.append(x / (x.square().sum(1, keepdim=True) + NEVER_ZERO).sqrt())
        return units

    with torch.no_grad():
        truth = layers(target)
    distance = image.new_zeros(())
    for unit, true, counts in zip(layers(image), truth, linear, strict=True):
        distance = distance + ((unit - true).square() * counts.to(unit).view(1, -1, 1, 1)).sum(1).mean()
    return distance


def growth_resolutions(base: int, finest: float, levels: int) -> list[int]:
    """Resolutions of a multi-resolution grid from `base` to `finest`, rounded up (facts sheet, section 2.2)."""
    growth = math.exp((math.log(finest) - math.log(base)) / max(1, levels - 1))
    return [math.ceil(base * growth**level - 1e-6) for level in range(levels)]
