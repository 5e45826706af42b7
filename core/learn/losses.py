"""What a picture is compared by (facts sheet, section 3, "Loss"). Knows no branch."""

from __future__ import annotations

import torch
from torch import Tensor

from core.splat import photometric_loss

SSIM_WEIGHT = 0.2
ALPHA_WEIGHT = 1e-3
MOTION_WEIGHT = 1e-5


def reconstruction(image: Tensor, target: Tensor) -> Tensor:
    """L1 + 0.2 (1 - SSIM) of two [3, H, W] pictures."""
    return photometric_loss(image, target, SSIM_WEIGHT)


def coverage(alpha: Tensor, inside: Tensor, care: Tensor | None = None) -> Tensor:
    """Mean of transparency inside a mask and of opacity outside it.

    Args:
        alpha: [H, W].
        inside: [H, W] float, 1 where the branch belongs.
        care: [H, W] float, 0 where opacity outside the mask costs nothing.
    """
    cost = (1 - inside if care is None else (1 - inside) * care) - inside
    # One product and no mean: a mean's gradient is a whole picture of one number.
    return (torch.dot(alpha.reshape(-1), cost.reshape(-1)) + inside.sum()) / alpha.numel()
