"""Which Gaussians of a head a motion field moves: those about the face.

The universal field saw the face's mesh alone; what it says of hair, ears and the back of the head is an accident of a
tenth of a millimetre or two. There a head stands still, in training and after it: nothing breathes with speech, and a
third of the field's work falls away. Knows no field and no pictures.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from core.clip.canonical import canonical_face

REACH = 0.015
"""Metres from the mesh's nearest vertex; the mesh's edges are a centimetre long."""


@torch.no_grad()
def near_first(points: Tensor) -> tuple[Tensor, int]:
    """The rows [N] of points [N, 3] (metres, head space) with those within `REACH` of the canonical mesh in front.

    Each part keeps its old order.

    Returns:
        The rows, and how many of them are near.
    """
    near = torch.cdist(points, _vertices()).amin(1) <= REACH
    return torch.cat([torch.nonzero(near)[:, 0], torch.nonzero(~near)[:, 0]]), int(near.sum())


@cache
def _vertices() -> Tensor:
    return torch.from_numpy(canonical_face().vertices).float()
