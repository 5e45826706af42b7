"""Negative contrast: what two people's own fields both say belongs to the universal one (paper, equations 6-7)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MILLIMETRES = 1e3
"""Motions are contrasted in millimetres: in metres their products vanish beside any loss."""


def negative_contrast(own: Tensor, partners: Sequence[Tensor]) -> Tensor:
    """Sum over the partners of the mean over points of max(0, own . partner).

    The truncation at zero is the paper's: motions that are orthogonal, opposed or vanishing cost nothing, only what
    two people's fields have in common does.

    Args:
        own: [..., 3] translations that one person's own field adds, any unit.
        partners: each [..., 3], what other people's own fields would add at the same points under the same conditions;
            no gradient reaches them.

    Returns:
        A scalar in the unit's square, at least 0; 0 without partners.
    """
    total = own.new_zeros(())
    for partner in partners:
        total = total + torch.relu((own * partner.detach()).sum(-1)).mean()
    return total
