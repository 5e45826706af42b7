"""From Gaussians and a motion to pictures, and from the two branches' pictures to one (facts sheet, section 2.7)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from core.avatar.gaussians import Gaussians
from core.avatar.motion import Motion
from core.camera import Camera
from core.splat import Moved, Rasterization, move, rasterize

DILATION = 13
"""Window of the max-pooling that keeps recorded lips from showing through at the mouth's edge, at 512 pixels."""


def moved(gaussians: Gaussians, motion: Motion | None) -> Moved:
    """One branch's Gaussians as they are drawn.

    Args:
        gaussians: the structure field.
        motion: of its first Gaussians, or of all; None leaves it at rest.
    """
    raw = gaussians.means, gaussians.quaternions, gaussians.scales, gaussians.opacities
    return move(*raw) if motion is None else move(*raw, motion.translation, motion.rotation, motion.scale)


def draw_moved(
    shape: Moved, colors: Tensor, world_to_camera: Tensor, camera: Camera, background: Tensor | None
) -> Rasterization:
    """Rasterise Gaussians where they are.

    Args:
        shape: what `moved` makes of them.
        colors: [N, 3].
        world_to_camera: [4, 4] head space -> camera space.
        camera: of the box to draw.
        background: [3], or None for black.
    """
    gaussians = shape.means, shape.quaternions, shape.scales, shape.opacities, colors
    return rasterize(*gaussians, world_to_camera, camera, background)


def draw(
    gaussians: Gaussians, motion: Motion | None, world_to_camera: Tensor, camera: Camera, background: Tensor | None
) -> Rasterization:
    """Rasterise one branch: `moved`, then `draw_moved`."""
    return draw_moved(moved(gaussians, motion), gaussians.colors, world_to_camera, camera, background)


def dilation_window(size: int) -> int:
    """`DILATION` for frames of this side: odd, at least 3 pixels."""
    return max(3, round(DILATION * size / 512) // 2 * 2 + 1)


def dilate(alpha: Tensor, size: int) -> Tensor:
    """[H, W] alpha of the mouth, max-pooled over `dilation_window` pixels.

    Only where the mouth is, rows before columns: over the whole head it would cost as much as all the rest of a step.
    """
    window = dilation_window(size)
    reach, (height, width) = window // 2, alpha.shape
    seen = alpha.detach() > 0
    rows, columns = (torch.nonzero(seen.any(dim))[:, 0].tolist() for dim in (1, 0))
    if not rows:
        return torch.zeros_like(alpha)
    top, bottom = max(0, rows[0] - reach), min(height, rows[-1] + 1 + reach)
    left, right = max(0, columns[0] - reach), min(width, columns[-1] + 1 + reach)
    within = alpha[None, None, top:bottom, left:right]
    down = F.max_pool2d(within, (window, 1), stride=1, padding=(reach, 0))
    pooled = F.max_pool2d(down, (1, window), stride=1, padding=(0, reach))[0, 0]
    return F.pad(pooled, (left, width - right, top, height - bottom))


def compose(face: Rasterization, mouth: Rasterization, backdrop: Tensor, size: int) -> Tensor:
    """I = C_f + (C_m + B (1 - dilate(a_m))) (1 - a_f), all premultiplied over black.

    Args:
        face: drawn over black.
        mouth: drawn over black, the same box.
        backdrop: [3, H, W] recorded torso over the background plate.
        size: side of the whole frame in pixels.

    Returns:
        [3, H, W].
    """
    behind = mouth.image + backdrop * (1 - dilate(mouth.alpha, size))
    return face.image + behind * (1 - face.alpha)


def world_to_camera(rotation: Tensor, translation: Tensor) -> Tensor:
    """[3, 3] and [3] -> [4, 4] float32."""
    matrix = torch.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = translation
    return matrix
