"""How much of the pictures each Gaussian paints. Those that never show cost time in every frame and nothing else.

The weight of a Gaussian in a picture is the gradient of the picture's sum by its colour, so that the rasteriser's own
backward pass answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from core.avatar import Gaussians, Motion
from core.avatar.drawing import draw
from core.camera import Camera

LEAST_PIXELS = 1.5
"""At 512 pixels: what paints less than this in every picture is dropped."""
TURNS = (-8.0, 0.0, 8.0)
"""Degrees about the head's vertical axis: heads turn further in use than in five seconds of training."""


def painted_pixels(gaussians: Gaussians, motions: Iterable[tuple[Motion, Tensor]], camera: Camera) -> Tensor:
    """The largest number of pixels that each Gaussian paints in any of the pictures (its blending weights summed).

    Args:
        gaussians: one branch.
        motions: for each picture its motion and its pose, [4, 4] head space -> camera space; drawn at each of `TURNS`.
        camera: of the whole frame.

    Returns:
        [N] pixels.
    """
    most = torch.zeros(gaussians.count)
    turns = [_turned(degrees) for degrees in TURNS]
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


def _turned(degrees: float) -> Tensor:
    angle = math.radians(degrees)
    turn = torch.eye(4)
    turn[0, 0] = turn[2, 2] = math.cos(angle)
    turn[0, 2], turn[2, 0] = math.sin(angle), -math.sin(angle)
    return turn
