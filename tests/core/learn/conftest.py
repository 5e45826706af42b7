"""A tiny training set made of noise: enough for the loops, which don't care whom they learn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from core.camera import Camera
from core.clip.layout import Label
from core.learn.training_set import TrainingSet
from core.splat.torch_threads import single_torch_thread

SIZE, COUNT = 64, 6


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """As the pipeline runs it."""
    with single_torch_thread():
        yield


@pytest.fixture
def tiny() -> TrainingSet:
    """Six frames of 64x64: a bright disc (skin) with lips and a mouth, half a metre away."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    labels = np.zeros((COUNT, SIZE, SIZE), np.uint8)
    labels[:, np.hypot(rows - 32, columns - 32) < 22] = Label.SKIN
    labels[:, 40:48, 24:40] = Label.LIPS
    for index in range(COUNT):
        labels[index, 44 - index // 2 : 45 + index // 2, 28:36] = Label.MOUTH
    frames = (labels[..., None] * [40, 30, 20] + random.integers(0, 20, (COUNT, SIZE, SIZE, 3))).astype(np.uint8)
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    pose[2, 3] = 0.5
    generator = torch.Generator().manual_seed(0)
    return TrainingSet(
        camera=Camera.centred(112.0, SIZE),
        frames=frames,
        labels=labels,
        poses=pose.repeat(COUNT, 1, 1),
        windows=torch.randn(COUNT, 8, 16, 64, generator=generator),
        expression=torch.rand(COUNT, 6, generator=generator),
        head_boxes=[(4, 4, 60, 60)] * COUNT,
        lip_boxes=[(16, 32, 48, 56)] * COUNT,
        opening=np.arange(COUNT, dtype=np.float64),
        mouth_area=(labels == Label.MOUTH).sum((1, 2)),
    )
