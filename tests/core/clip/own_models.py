"""Small TorchScript models with the interfaces of those that users bring; written by tests."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn


class TinySapiens(nn.Module):
    """Answers at half its input's size, as Sapiens does, with fixed combinations of the channels."""

    weights: Tensor

    def __init__(self, weights: list[list[float]], offset: list[float]) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, len(weights), 1)
        with torch.no_grad():
            self.mix.weight.copy_(torch.tensor(weights)[..., None, None])
            self.mix.bias.copy_(torch.tensor(offset))

    def forward(self, picture: Tensor) -> Tensor:
        if list(picture.shape) != [1, 3, 1024, 768]:
            raise RuntimeError("Sapiens takes 1024 x 768")
        return torch.nn.functional.avg_pool2d(self.mix(picture), 2)


def save(model: nn.Module, path: Path) -> Path:
    """Write `model` as TorchScript."""
    torch.jit.save(torch.jit.script(model.eval()), path)
    return path
