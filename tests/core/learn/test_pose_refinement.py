"""Poses that tracking got wrong are found again from the pictures, and both ways to apply an offset agree."""

from __future__ import annotations

from dataclasses import replace

import torch
from scipy.spatial.transform import Rotation

from core.avatar import FaceField, Gaussians, Motion
from core.avatar.drawing import draw
from core.learn.pose_refinement import PoseRefinement, refined
from core.learn.training_set import TrainingSet


def cloud() -> Gaussians:
    generator = torch.Generator().manual_seed(2)
    points = (torch.rand(150, 3, generator=generator) - 0.5) * 0.14
    return Gaussians.at(points, torch.rand(150, 3, generator=generator), torch.full((150,), 0.008), 0.9)


def still(gaussians: Gaussians) -> Motion:
    return Motion(torch.zeros_like(gaussians.means))


def test_an_offset_in_the_motion_is_the_same_offset_in_the_pose(tiny: TrainingSet) -> None:
    poses, gaussians = PoseRefinement(tiny.count), cloud().frozen()
    poses.offsets[2] = torch.tensor([0.01, -0.02, 0.005, 1e-3, -2e-3, 3e-3])
    moved = poses.moved(2, gaussians.means, still(gaussians))
    by_motion = draw(gaussians, moved, tiny.poses[2], tiny.camera, None).image
    by_pose = draw(gaussians, None, refined(tiny.poses, poses.offsets)[2], tiny.camera, None).image
    assert float((by_motion - by_pose).detach().abs().max()) < 5e-3
    assert torch.equal(refined(tiny.poses, poses.offsets)[1], tiny.poses[1])


def test_refined_poses_are_rotations(tiny: TrainingSet) -> None:
    offsets = torch.full((tiny.count, 6), 0.02)
    expected = Rotation.from_rotvec([0.02] * 3).as_matrix()
    turned = (tiny.poses[0, :3, :3].T @ refined(tiny.poses, offsets)[0, :3, :3]).numpy()
    assert abs(turned - expected).max() < 1e-5


def test_frames_that_were_tracked_wrongly_are_put_right(tiny: TrainingSet) -> None:
    gaussians = cloud().frozen()
    truth = [draw(gaussians, None, pose, tiny.camera, None).image for pose in tiny.poses]
    wrong = torch.zeros(tiny.count, 6)
    wrong[:, 3] = torch.tensor([1.5e-3, -1.5e-3, 1e-3, -1e-3, 1e-3, -1e-3])
    data = replace(tiny, poses=refined(tiny.poses, wrong))
    poses = PoseRefinement(tiny.count)
    for iteration in range(360):
        frame = iteration % tiny.count
        moved = poses.moved(frame, gaussians.means, still(gaussians))
        drawn = draw(gaussians, moved, data.poses[frame], tiny.camera, None)
        (drawn.image - truth[frame]).abs().mean().backward()
        poses.step(iteration / 360)
    assert float((poses.offsets[:, 3] + wrong[:, 3]).abs().max()) < 2e-4
    assert float(poses.offsets.mean(0).abs().max()) < 2e-4


def test_a_frame_that_was_never_drawn_stays_where_it_was() -> None:
    poses = PoseRefinement(3)
    poses.step(0.5)
    gaussians = cloud()
    (poses.moved(1, gaussians.means, still(gaussians)).translation * torch.tensor([1.0, 0, 0])).sum().backward()
    poses.step(0.5)
    assert poses.visits.tolist() == [0, 1, 0]
    assert float(poses.offsets[1, 3]) < 0


def test_the_field_takes_no_notice(tiny: TrainingSet) -> None:
    field, gaussians = FaceField(), cloud()
    motion = field(gaussians.means, tiny.windows[0], tiny.expression[0])
    moved = PoseRefinement(tiny.count).moved(0, gaussians.means, motion)
    assert torch.allclose(moved.translation, motion.translation, atol=1e-7)
    assert moved.rotation is motion.rotation
    assert moved.scale is motion.scale
