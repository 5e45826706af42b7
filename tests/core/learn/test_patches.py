"""The patch is where it should be, of the size it should be, and weighs what it should."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from core.learn.patches import PATCH, PatchLoss
from core.perceptual import Lpips


class Looking(Lpips):
    """Test double of the network: remembers the patches, and answers their mean difference."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def loss(self, rendered: Tensor, recorded: Tensor) -> Tensor:
        self.seen.append(rendered)
        return (rendered - recorded).abs().mean()


@pytest.mark.parametrize(("size", "side"), [(512, PATCH), (256, PATCH // 2), (64, 31)])
def test_a_patch_scales_with_the_frame_and_lies_about_a_pixel_inside(size: int, side: int) -> None:
    network = Looking()
    rows, columns = torch.meshgrid(torch.arange(200.0), torch.arange(180.0), indexing="ij")
    picture = torch.stack([rows, columns, torch.zeros_like(rows)])
    inside = torch.zeros(200, 180, dtype=torch.bool)
    inside[150, 100] = True
    loss = PatchLoss(network, 0.5, size)(picture, picture + 1, inside, torch.Generator().manual_seed(0))
    [patch] = network.seen
    assert patch.shape == (3, side, side)
    assert float(loss) == 0.5
    assert int(patch[0, 0, 0]) == min(150 - side // 2, 200 - side)
    assert int(patch[1, 0, 0]) == min(max(0, 100 - side // 2), 180 - side)


def test_without_a_place_or_room_for_a_patch_nothing_is_compared() -> None:
    network, generator = Looking(), torch.Generator().manual_seed(0)
    picture = torch.rand(3, 40, 40)
    nowhere = torch.zeros(40, 40, dtype=torch.bool)
    assert float(PatchLoss(network, 1.0, 64)(picture, picture + 1, nowhere, generator)) == 0
    assert float(PatchLoss(network, 1.0, 512)(picture, picture + 1, ~nowhere, generator)) == 0
    assert network.seen == []
