"""Which frames the face branch learns from."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from core.avatar import FaceField, Gaussians
from core.clip.layout import Label
from core.learn.branch import Branch
from core.learn.face import GUIDED_EVERY, FaceLoss
from core.learn.training_set import TrainingSet

SHUT_FRAME = 2
"""Not among the quarter with the widest mouths, which are the last of the tiny set."""


class Asked:
    """Speech windows that remember for which frames they were asked."""

    def __init__(self, windows: Tensor) -> None:
        self.windows, self.frames = windows, list[int]()

    def __getitem__(self, frame: int, /) -> Tensor:
        self.frames.append(frame)
        return self.windows[frame]


def drawn(data: TrainingSet, blink: Tensor) -> list[int]:
    """The frames of twenty iterations."""
    assert isinstance(data.windows, Tensor)
    asked = Asked(data.windows)
    expression = data.expression.clone()
    expression[:, -1] = blink
    points = torch.rand(40, 3, generator=torch.Generator().manual_seed(0)) * 0.1 - 0.05
    cloud = Gaussians.at(points, torch.rand(40, 3), torch.full((40,), 0.01), 0.3)
    branch = Branch.start(cloud, FaceField(), 0)
    loss = FaceLoss(dataclasses.replace(data, windows=asked, expression=expression))
    for branch.iteration in range(2 * GUIDED_EVERY):
        loss(branch)
    return asked.frames


def test_one_iteration_in_ten_shows_shut_lids_and_another_a_wide_mouth(tiny: TrainingSet) -> None:
    blink = torch.zeros(tiny.count)
    blink[SHUT_FRAME] = 0.9
    frames = drawn(tiny, blink)
    assert frames[GUIDED_EVERY // 2 - 1 :: GUIDED_EVERY] == [SHUT_FRAME] * 2
    assert frames[GUIDED_EVERY - 1 :: GUIDED_EVERY] == [tiny.count - 1] * 2


def test_without_a_blink_every_frame_comes_as_often_as_any_other(tiny: TrainingSet) -> None:
    frames = drawn(tiny, torch.zeros(tiny.count))
    unguided = [frame for number, frame in enumerate(frames) if number % GUIDED_EVERY != GUIDED_EVERY - 1]
    assert all(sorted(unguided[start : start + tiny.count]) == list(range(tiny.count)) for start in (0, tiny.count))


def test_the_mouths_inside_asks_for_nothing_of_a_branch_that_is_not_there(tiny: TrainingSet) -> None:
    labels = np.full_like(np.asarray(tiny.labels), Label.MOUTH)
    behind = Gaussians.at(torch.tensor([[0.0, 0.0, 50.0]]), torch.rand(1, 3), torch.full((1,), 1e-4), 0.3)
    losses = [
        FaceLoss(dataclasses.replace(tiny, labels=labels), mouth=paints)(Branch.start(behind, FaceField(), 0))[0].item()
        for paints in (False, True)
    ]
    assert losses[0] < 1e-4 < 0.1 < losses[1]
