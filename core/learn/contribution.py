"""How much of the pictures each Gaussian paints. Those that never show cost time in every frame and nothing else; those
that show only when the head turns further than it was seen to have learned no colour.

The weight of a Gaussian in a picture is the gradient of the picture's sum by its colour, so that the rasteriser's own
backward pass answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from core.avatar import Gaussians, Motion
from core.avatar.drawing import draw
from core.camera import Camera

LEAST_PIXELS = 1.5
"""At 512 pixels: what paints less than this in every picture is dropped."""
AS_RECORDED = (0.0,)
TURNED = (-8.0, 8.0)
"""Degrees about the head's vertical axis: heads turn further in use than in five seconds of training."""
NEIGHBOURS = 6
"""How many seen Gaussians an unseen one takes its colour from."""


def painted_pixels(
    gaussians: Gaussians,
    motions: Iterable[tuple[Motion, Tensor]],
    camera: Camera,
    degrees: tuple[float, ...] = AS_RECORDED,
) -> Tensor:
    """The largest number of pixels that each Gaussian paints in any of the pictures (its blending weights summed).

    Args:
        gaussians: one branch.
        motions: for each picture its motion and its pose, [4, 4] head space -> camera space.
        camera: of the whole frame.
        degrees: by how much the head is turned further in each.

    Returns:
        [N] pixels.
    """
    most = torch.zeros(gaussians.count)
    turns = [_turned(angle) for angle in degrees]
    for motion, pose in motions:
        for turn in turns:
            colors = torch.zeros_like(gaussians.colors).requires_grad_(True)
            with torch.enable_grad():
                drawn = draw(replace(gaussians, colors=colors), motion, pose @ turn, camera, None)
                drawn.image[0].sum().backward()  # type: ignore[no-untyped-call]
            if colors.grad is not None:
                most = torch.maximum(most, colors.grad[:, 0])
    return most


def shows(painted: Tensor, size: int) -> Tensor:
    """[N] bool: which Gaussians paint at least `LEAST_PIXELS`, scaled to frames of this side."""
    return painted >= LEAST_PIXELS * (size / 512) ** 2


@torch.no_grad()
def recoloured(gaussians: Gaussians, seen: Tensor) -> Gaussians:
    """The Gaussians, those that no picture shows in the median colour of the `NEIGHBOURS` nearest that one does.

    Gradients near zero are noise, and Adam makes steps of the usual size of them: what is hidden ends in any colour,
    and comes to light beside the jaw as specks.

    Args:
        gaussians: N of them.
        seen: [N] bool.
    """
    if bool(seen.all()) or int(seen.sum()) < NEIGHBOURS:
        return gaussians
    tree = cKDTree(gaussians.means[seen].numpy())
    _, nearest = tree.query(gaussians.means[~seen].numpy(), NEIGHBOURS)
    colors = gaussians.colors.clone()
    colors[~seen] = colors[seen][torch.from_numpy(nearest)].median(1).values
    return replace(gaussians, colors=colors)


def _turned(degrees: float) -> Tensor:
    angle = math.radians(degrees)
    turn = torch.eye(4)
    turn[0, 0] = turn[2, 2] = math.cos(angle)
    turn[0, 2], turn[2, 0] = math.sin(angle), -math.sin(angle)
    return turn
