"""Which Gaussians of a head a motion field moves: those about the face.

The universal field saw the face's mesh alone; what it says of hair, ears and the back of the head is an accident of a
tenth of a millimetre or two. There a head stands still, in training and after it: nothing breathes with speech, and a
third of the field's work falls away. Knows no field and no pictures.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from core.avatar import Gaussians
from core.clip.canonical import canonical_face

REACH = 0.015
"""Metres from the mesh's nearest vertex; the mesh's edges are a centimetre long."""


@torch.no_grad()
def near_face(points: Tensor) -> Tensor:
    """[M] rows, in order, of the points [N, 3] (metres, head space) that are within `REACH` of the canonical mesh."""
    return torch.nonzero(torch.cdist(points, _vertices()).amin(1) <= REACH)[:, 0]


def moving_first(gaussians: Gaussians, rows: Tensor | None) -> tuple[Gaussians, int]:
    """The Gaussians with those that move in front, each part in its old order, and how many move.

    Args:
        gaussians: N of them.
        rows: [M] those that move; None: all.
    """
    if rows is None:
        return gaussians, gaussians.count
    stands = torch.ones(gaussians.count, dtype=torch.bool)
    stands[rows] = False
    return gaussians.chosen(torch.cat([rows, torch.nonzero(stands)[:, 0]])), len(rows)


@cache
def _vertices() -> Tensor:
    return torch.from_numpy(canonical_face().vertices).float()
