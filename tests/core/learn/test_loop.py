"""A branch learns, and one that was cut off goes on exactly as if it had not been."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from core.avatar import FaceField, Gaussians, MouthField
from core.errors import CancelledError
from core.learn.branch import Branch
from core.learn.face import FaceLoss
from core.learn.loop import train_branch
from core.learn.mouth import MouthLoss
from core.learn.profiles import BranchSchedule
from core.learn.training_set import TrainingSet
from core.progress import StageContext

FRAMES = 6
"""Of the tiny training set."""
SCHEDULE = BranchSchedule(iterations=60, cap=260, gradient_threshold=1e-4, densify_from=10, densify_every=10)


def face_start() -> Branch[FaceField]:
    generator = torch.Generator().manual_seed(3)
    points = (torch.rand(200, 3, generator=generator) - 0.5) * 0.16
    cloud = Gaussians.at(points, torch.rand(200, 3, generator=generator), torch.full((200,), 0.008), 0.3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Branch.start(cloud, FaceField(), 5)


def stop_after(calls: int) -> Callable[[], bool]:
    left = iter(range(calls))
    return lambda: next(left, None) is None


def test_the_face_branch_learns_its_pictures(tiny: TrainingSet, tmp_path: Path) -> None:
    branch, loss = face_start(), FaceLoss(tiny)
    first = sum(loss(branch)[0].item() for _ in range(6))
    train_branch(branch, SCHEDULE, tiny.size, loss, tmp_path, "face", StageContext())
    last = sum(loss(branch)[0].item() for _ in range(6))
    assert last < 0.7 * first
    assert branch.gaussians.count <= SCHEDULE.cap


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tiny: TrainingSet, tmp_path: Path) -> None:
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    straight.mkdir()
    cut.mkdir()
    whole = face_start()
    train_branch(whole, SCHEDULE, tiny.size, FaceLoss(tiny), straight, "face", StageContext())
    with pytest.raises(CancelledError):
        context = StageContext(is_cancelled=stop_after(33))
        stopped = face_start()
        train_branch(stopped, SCHEDULE, tiny.size, FaceLoss(tiny), cut, "face", context)
    resumed = face_start()
    seen: list[float] = []
    context = StageContext(on_progress=lambda _, fraction: seen.append(fraction))
    train_branch(resumed, SCHEDULE, tiny.size, FaceLoss(tiny), cut, "face", context)
    assert seen[0] > 0.5  # it went on from iteration 33, not from zero
    for name, value in whole.gaussians.tensors().items():
        assert torch.equal(value, resumed.gaussians.tensors()[name]), name
    for name, value in whole.field.state_dict().items():
        assert torch.equal(value, resumed.field.state_dict()[name]), name


def test_the_mouth_branch_learns_behind_a_finished_face(tiny: TrainingSet, tmp_path: Path) -> None:
    finished = face_start()
    loss = MouthLoss(tiny, finished.gaussians.frozen(), finished.field)
    centre = torch.tensor([0.0, -0.05, 0.0])
    generator = torch.Generator().manual_seed(4)
    points = centre + (torch.rand(80, 3, generator=generator) - 0.5) * 0.05
    cloud = Gaussians.at(points, torch.rand(80, 3, generator=generator), torch.full((80,), 0.005), 0.1)
    branch = Branch.start(cloud, MouthField(), seed=5)
    first = sum(loss(branch)[0].item() for _ in range(6))
    train_branch(branch, SCHEDULE, tiny.size, loss, tmp_path, "mouth", StageContext())
    assert sum(loss(branch)[0].item() for _ in range(6)) < first


def test_a_clip_whose_mouth_never_opens_does_not_hang(tiny: TrainingSet, tmp_path: Path) -> None:
    tiny.mouth_area[:] = 0
    finished = face_start()
    loss = MouthLoss(tiny, finished.gaussians.frozen(), finished.field)
    branch = Branch.start(finished.gaussians, MouthField(), seed=5)
    assert all(torch.isfinite(loss(branch)[0]) for _ in range(5))
