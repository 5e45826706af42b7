"""The last stage tunes both branches together: shapes, colours and motion, as far as each is meant to learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.avatar import Avatar, FaceField, Gaussians, MouthField, Synthesiser
from core.learn.fuse import fuse
from core.learn.losses import reconstruction
from core.learn.motion_prior import awake
from core.learn.training_set import TrainingSet, as_picture
from core.learn.umf import learn_only
from core.progress import StageContext

STEPS = 30


@pytest.fixture
def avatar() -> Avatar:
    """A disc of a face before a small mouth; the last ten Gaussians of the face stand still."""
    generator = torch.Generator().manual_seed(0)

    def branch(count: int, width: float, depth: float) -> Gaussians:
        points = (torch.rand(count, 3, generator=generator) - 0.5) * torch.tensor([width, width, 0.01])
        points[:, 2] += depth
        return Gaussians.at(points, torch.rand(count, 3, generator=generator), torch.full((count,), 0.01), 0.4)

    torch.manual_seed(0)
    face = awake(FaceField(aligned=True))
    learn_only(face, aligner=True)
    return Avatar(branch(60, 0.15, 0.0), face, branch(20, 0.03, -0.01), awake(MouthField()), moving=50)


def fused(avatar: Avatar, data: TrainingSet, steps: int = STEPS, *, hooked: bool = True) -> Avatar:
    backdrops = np.zeros((data.count, data.size, data.size, 3), np.uint8)
    return fuse(avatar, data, backdrops, steps, None, 0, StageContext(), hooked=hooked)


def changed(before: torch.nn.Module, after: torch.nn.Module) -> set[str]:
    """Names of the parameters that differ."""
    there = dict(after.named_parameters())
    return {name for name, value in before.named_parameters() if not torch.equal(value, there[name])}


def test_shapes_colours_and_motion_learn_and_the_picture_comes_nearer(avatar: Avatar, tiny: TrainingSet) -> None:
    before, after = fused(avatar, tiny, 0), fused(avatar, tiny)
    for name, value in before.face.tensors().items():
        assert not torch.equal(value, after.face.tensors()[name]), name
    assert changed(before.mouth_field, after.mouth_field)
    assert _distance(after, tiny) < 0.98 * _distance(before, tiny)


def test_of_a_universal_field_only_the_aligner_learns(avatar: Avatar, tiny: TrainingSet) -> None:
    moved = changed(avatar.face_field, fused(avatar, tiny).face_field)
    assert moved
    assert all(name.startswith("aligner.") for name in moved)


def test_a_field_that_is_frozen_stays_as_it_is(avatar: Avatar, tiny: TrainingSet) -> None:
    avatar.face_field.requires_grad_(False)
    assert not changed(avatar.face_field, fused(avatar, tiny).face_field)


def test_a_mouth_without_a_hook_does_not_grow_one(avatar: Avatar, tiny: TrainingSet) -> None:
    avatar.mouth_field.unhook()
    deaf, hooked = (fused(avatar, tiny, hooked=wanted).mouth_field.layers[0][:, -3:] for wanted in (False, True))
    assert not deaf.any()
    assert hooked.any()


def test_what_was_given_is_left_as_it_was_and_the_result_wants_no_gradients(avatar: Avatar, tiny: TrainingSet) -> None:
    kept = {name: value.clone() for name, value in avatar.to_tensors().items()}
    after = fused(avatar, tiny)
    assert all(torch.equal(value, avatar.to_tensors()[name]) for name, value in kept.items())
    assert not any(p.requires_grad for field in (after.face_field, after.mouth_field) for p in field.parameters())


def test_an_avatar_without_a_mouth_branch_is_fused_too(avatar: Avatar, tiny: TrainingSet) -> None:
    after = fused(replace(avatar, mouth=avatar.mouth.chosen(slice(0))), tiny)
    assert after.mouth.count == 0
    assert not torch.equal(after.face.colors, avatar.face.chosen(slice(after.face.count)).colors)


def _distance(avatar: Avatar, data: TrainingSet) -> float:
    """Mean loss over the frames, drawn as a synthesiser would."""
    synthesiser = Synthesiser(avatar, data.camera)
    backdrop = np.zeros((data.size, data.size, 3), np.uint8)
    losses = []
    for index in range(data.count):
        pose = data.poses[index].numpy()
        drawn = synthesiser.frame(data.windows[index], data.expression[index], pose[:3, :3], pose[:3, 3], backdrop)
        losses.append(reconstruction(as_picture(drawn), as_picture(data.frames[index])))
    return float(torch.stack(losses).mean())
