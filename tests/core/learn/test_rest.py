"""The resting mouth is the training moment at which the field shuts the lips furthest, and holds them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from core.avatar import FaceField, Motion
from core.learn.rest import closed_windows
from core.learn.training_set import TrainingSet


class Chewing(FaceField):
    """Test double: opens the lips by the mean of what it hears, in millimetres."""

    def conditions(self, windows: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        return windows.mean((1, 2, 3))[:, None].expand(-1, 32), expression

    def move(self, features: object, speech: Tensor, expression: Tensor) -> Motion:
        opening = speech[0] * 1e-3
        return Motion(torch.tensor([[0.0, 0.5, 0.0], [0.0, -0.5, 0.0]]).repeat(3, 1) * opening)


def hearing(data: TrainingSet, openings: list[float]) -> TrainingSet:
    return replace(data, windows=torch.tensor(openings).view(-1, 1, 1, 1).expand(-1, 8, 16, 64).contiguous())


def test_the_rest_is_where_the_lips_are_nearest(tiny: TrainingSet) -> None:
    rest = closed_windows(Chewing(), hearing(tiny, [3.0, 2.0, -1.0, -2.0, -1.0, 4.0]))
    assert rest.shape == (8, 16, 64)
    assert float(rest.mean()) == -2.0


def test_a_single_slip_is_no_rest(tiny: TrainingSet) -> None:
    rest = closed_windows(Chewing(), hearing(tiny, [9.0, -3.0, 9.0, 0.0, 0.0, 0.0]))
    assert float(rest.mean()) == 0.0
