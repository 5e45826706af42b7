"""The motion aligner: fits a universal motion field to one person's face (paper section 3.3, equations 8-9).

It says where on the universal face a Gaussian of this person lies (an offset of the query) and how strongly the motion
there acts (a gain of the answer). Facts sheet, section 2.5.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from core.avatar.encoding import FEATURES, Triplane, weight
from core.splat import mlp_split

METRES = 1e-2
GAIN_RANGE = 0.25


class MotionAligner(nn.Module):
    """[N, 3] points -> offset [N, 3] in metres and gain [N, 3] in (0.75, 1.25); about zero and one at the start."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.grid = Triplane(16, 38.4)
        self.layers = nn.ParameterList([weight(FEATURES, hidden), weight(hidden, 6)])

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Offset and gain; identity at the start because the grid's features start within 1e-4 of zero."""
        offset, gain = mlp_split(self.grid(points), list(self.layers), (3, 3))
        return METRES * offset, 1 + GAIN_RANGE * torch.tanh(gain / 5)
