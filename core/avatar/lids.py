"""How eyelids close: a displacement for each place of the face per unit of blink, as a small map over head space.

Lids are shut in one frame of twenty: a motion field that learns from seconds, or for minutes, leaves them open. Where a
Gaussian lies in the face, seen from the front, says how far a full blink takes it. Knows no faces and no pictures.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EXTENT = (-0.06, -0.03, 0.06, 0.025)
"""Left, bottom, right, top of the map in head space, metres: the eyes with all that their lids pull along."""
ROWS, COLUMNS = 111, 241
"""Half a millimetre apart, the first at the bottom left corner."""


def empty_lids() -> Tensor:
    """[3, ROWS, COLUMNS] lids that don't move."""
    return torch.zeros(3, ROWS, COLUMNS)


@torch.no_grad()
def lid_displacement(lids: Tensor, points: Tensor) -> Tensor:
    """Metres by which a full blink moves points.

    Args:
        lids: [3, ROWS, COLUMNS] metres; bilinear between its places, nothing outside them.
        points: [N, 3] at rest, metres, head space.

    Returns:
        [N, 3], without gradients.
    """
    left, bottom, right, top = EXTENT
    x = 2 * (points[:, 0] - left) / (right - left) - 1
    y = 2 * (points[:, 1] - bottom) / (top - bottom) - 1
    where = torch.stack([x, y], dim=1)[None, None]
    return F.grid_sample(lids[None], where, align_corners=True)[0, :, 0].t().contiguous()
