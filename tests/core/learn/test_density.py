"""Density control decides by gradient, size and opacity, never goes over its cap, and keeps optimiser rows in step."""

from __future__ import annotations

import torch

from core.avatar import FaceField, Gaussians
from core.learn.density import DensityStatistics, revise
from core.learn.optimise import FieldAdamW, GaussianAdam
from core.learn.profiles import BranchSchedule
from core.splat.reference import rotation_matrices

SCHEDULE = BranchSchedule(iterations=100, cap=100, gradient_threshold=1.0)


def cloud(sigma: list[float], opacity: float = 0.5) -> Gaussians:
    count = len(sigma)
    points = torch.arange(count, dtype=torch.float32)[:, None].repeat(1, 3) * 0.01
    return Gaussians.at(points, torch.rand(count, 3), torch.tensor(sigma), opacity)


def statistics(means: list[float]) -> DensityStatistics:
    return DensityStatistics(torch.tensor(means) * 2, torch.full((len(means),), 2.0))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_small_ones_are_cloned_and_large_ones_split_in_two() -> None:
    revision = revise(cloud([3e-4, 3e-3, 3e-3]), statistics([2.0, 2.0, 0.0]), SCHEDULE, generator())
    assert revision.keep.tolist() == [True, False, True]
    assert revision.added.count == 1 + 2
    assert torch.allclose(revision.added.sigma()[1:], torch.full((2, 3), 3e-3 / 1.6), rtol=1e-3)


def test_halves_lie_within_the_parent() -> None:
    parent = cloud([3e-3] * 40)
    revision = revise(parent, statistics([2.0] * 40), SCHEDULE, generator())
    distance = (revision.added.means - parent.means.repeat_interleave(2, 0)).norm(dim=1)
    assert distance.max() < 5 * 3e-3
    assert distance.min() > 0


def test_transparent_and_huge_ones_are_removed() -> None:
    assert revise(cloud([1e-3], opacity=0.01), statistics([0.0]), SCHEDULE, generator()).keep.tolist() == [False]
    assert revise(cloud([0.06]), statistics([0.0]), SCHEDULE, generator()).keep.tolist() == [False]


def test_the_cap_takes_the_strongest_first() -> None:
    tight = BranchSchedule(iterations=100, cap=4, gradient_threshold=1.0)
    revision = revise(cloud([3e-4, 3e-4, 3e-4]), statistics([2.0, 9.0, 3.0]), tight, generator())
    assert revision.keep.all() and revision.added.count == 1
    assert torch.allclose(revision.added.means[0], torch.full((3,), 0.01))


def test_at_the_cap_nothing_is_added() -> None:
    full = BranchSchedule(iterations=100, cap=3, gradient_threshold=1.0)
    assert revise(cloud([3e-4] * 3), statistics([9.0] * 3), full, generator()).added.count == 0


def test_moments_follow_their_rows() -> None:
    gaussians = cloud([3e-4, 3e-3, 1e-3])
    adam = GaussianAdam(gaussians)
    for value in gaussians.tensors().values():
        value.grad = torch.ones_like(value)
    adam.step(gaussians, {"means": 1e-3})
    adam.first["means"][2] = 7.0
    after = adam.apply(gaussians, revise(gaussians, statistics([0.0, 2.0, 0.0]), SCHEDULE, generator()))
    assert after.count == 4
    assert adam.first["means"].shape == after.means.shape
    assert adam.first["means"][1, 0] == 7.0
    assert adam.first["means"][2:].abs().sum() == 0
    assert all(value.requires_grad and value.is_leaf for value in after.tensors().values())


def test_adam_matches_torchs_own() -> None:
    ours = cloud([1e-3] * 4)
    theirs = ours.means.detach().clone().requires_grad_(True)
    adam, peer = GaussianAdam(ours), torch.optim.Adam([theirs], lr=1e-3, eps=1e-15)
    for step in range(5):
        gradient = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        ours.means.grad, theirs.grad = gradient.clone(), gradient.clone()
        adam.step(ours, {"means": 1e-3})
        peer.step()
    assert torch.allclose(ours.means, theirs, atol=1e-7)


def test_adamw_matches_torchs_own() -> None:
    ours, theirs = FaceField(), FaceField()
    theirs.load_state_dict(ours.state_dict())
    adam, mirrored = FieldAdamW(ours), FieldAdamW(theirs).groups
    groups = [{"params": g.parameters, "lr": g.rate, "weight_decay": g.decay} for g in mirrored]
    peer = torch.optim.AdamW(groups, betas=(0.9, 0.99), eps=1e-8)
    for step in range(4):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.randn(mine.shape, generator=torch.Generator().manual_seed(step))
            other.grad = mine.grad.clone()
        adam.step(1.0)
        peer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6)


def test_rotation_matrices_are_rotations() -> None:
    turn = rotation_matrices(torch.randn(10, 4, generator=generator()))
    assert torch.allclose(turn @ turn.transpose(1, 2), torch.eye(3).expand(10, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(turn), torch.ones(10), atol=1e-5)
