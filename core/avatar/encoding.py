"""What the motion fields read: a position's tri-plane features and a frame's speech vector. No motion yet.

Facts sheet, sections 1.2 (speech network) and 2.2 (tri-plane; nothing ever hashes, so an ordinary dense grid serves).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from core.splat import convolve, encode_triplane

BOUND = 0.15
"""Half the side of the cube that the grid covers, metres."""
LEVELS = 12
SPEECH_DIM = 64
"""Numbers a speech step has after the fixed projection (core.clip.reduce_speech)."""
SPEECH_CODE = 32
LEAK = 0.02
"""Slope of the speech network's ReLUs below zero."""
FEATURES = 3 * LEVELS
"""Width of the tri-plane's output."""


class Triplane(nn.Module):
    """Three multi-resolution 2D grids (xy, yz, xz), 12 levels of one feature: [N, 3] metres -> [N, 36]."""

    resolutions: Tensor

    def __init__(self, coarsest: float, finest: float) -> None:
        super().__init__()
        growth = (finest / coarsest) ** (1 / (LEVELS - 1))
        levels = [math.ceil(coarsest * growth**level) for level in range(LEVELS)]
        self.register_buffer("resolutions", torch.tensor(levels, dtype=torch.int32), persistent=False)
        self.table = nn.Parameter((torch.rand(3, LEVELS, (max(levels) + 1) ** 2) * 2 - 1) * 1e-4)

    def forward(self, points: Tensor) -> Tensor:
        """[N, 3] metres in head space -> [N, 36]; gradients reach the table and the points."""
        return encode_triplane(points, self.table, self.resolutions, BOUND)


class SpeechEncoder(nn.Module):
    """Eight windows of 16 speech steps -> one 32-vector a frame: strided convolutions, then attention over windows."""

    def __init__(self) -> None:
        super().__init__()
        widths = (SPEECH_DIM, 64, 64, 64, 64)
        self.convolutions = nn.ModuleList(nn.Conv1d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.hidden = nn.Linear(64, 64)
        self.code = nn.Linear(64, SPEECH_CODE)
        steps = (SPEECH_CODE, 16, 8, 4, 2, 1)
        self.attention = nn.ModuleList(nn.Conv1d(a, b, 3, padding=1) for a, b in pairwise(steps))
        self.attention_out = nn.Linear(8, 8)
        for layer in (*self.convolutions, self.hidden, self.code):
            _keep_size(cast(nn.Conv1d | nn.Linear, layer))

    def forward(self, windows: Tensor) -> Tensor:
        """[B, 8, 16, 64] -> [B, 32]."""
        batch = windows.shape[0]
        x = _convolve(windows.reshape(batch * 8, 16, SPEECH_DIM), self.convolutions, self.hidden)
        codes = self.code(x[:, 0]).view(batch, 8, SPEECH_CODE)
        y = _convolve(codes, self.attention)
        weights = torch.softmax(self.attention_out(y.view(batch, 8)), dim=1)
        code: Tensor = (weights[:, None] @ codes)[:, 0]
        return code


@torch.no_grad()
def _keep_size(layer: nn.Conv1d | nn.Linear) -> None:
    """Start a layer so that what goes in comes out as large (He et al. 2015).

    From torch's own start six layers leave a five-hundredth of what differs between frames, beside a constant: whether
    a field ever hears speech then hangs on the draw.
    """
    nn.init.kaiming_normal_(layer.weight, a=LEAK)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _convolve(x: Tensor, convolutions: nn.ModuleList, linear: nn.Linear | None = None) -> Tensor:
    """[B, T, C] -> [B, T', O] through Conv1d layers and a linear one, with leaky ReLUs after all of them."""
    layers = [cast(nn.Conv1d, layer) for layer in convolutions]
    weights = [layer.weight for layer in layers]
    biases = [cast(Tensor, layer.bias) for layer in layers]
    strides = [layer.stride[0] for layer in layers]
    if linear is not None:
        weights, biases, strides = [*weights, linear.weight[:, :, None]], [*biases, linear.bias], [*strides, 1]
    return convolve(x, weights, biases, strides, LEAK)


def weight(inputs: int, outputs: int) -> nn.Parameter:
    """[outputs, inputs] weight of a bias-free layer, initialised as torch's own linear layers are."""
    values = torch.empty(outputs, inputs)
    nn.init.kaiming_uniform_(values, a=math.sqrt(5))
    return nn.Parameter(values)
