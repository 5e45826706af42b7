"""About the face a head moves; elsewhere it stands, in training as in a finished avatar."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.avatar import Avatar, FaceField, Gaussians, Motion, MouthField
from core.avatar.synthesiser import Synthesiser
from core.clip.canonical import canonical_face
from core.learn.branch import Branch
from core.learn.face import FaceLoss
from core.learn.motion_prior import awake
from core.learn.near import near_first
from core.learn.training_set import TrainingSet
from core.sample import Sample
from tests.core.learn.made_films import made_films


@pytest.fixture(scope="module")
def data(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    return made_films(sample, tmp_path_factory.mktemp("near"), {"a": slice(0, 20)})[0].data


@pytest.fixture(scope="module")
def head() -> Gaussians:
    """On every second row a vertex of the face, on the others a point centimetres before or behind it."""
    torch.manual_seed(0)
    vertices = torch.from_numpy(canonical_face().vertices).float()[::6]
    away = vertices * torch.tensor([1.0, 1.0, 0.0]) + torch.tensor([0.0, 0.0, 0.15])
    points = torch.stack([away, vertices], 1).reshape(-1, 3)
    return Gaussians.at(points, torch.rand(len(points), 3), torch.full((len(points),), 0.003), 0.5)


class Asked(FaceField):
    """A field that remembers how many points it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[int] = []

    def forward(self, points: torch.Tensor, windows: torch.Tensor, expression: torch.Tensor) -> Motion:
        self.points.append(points.shape[0])
        return super().forward(points, windows, expression)


def field() -> Asked:
    torch.manual_seed(1)
    return awake(Asked())


def test_the_face_goes_to_the_front_and_what_is_before_or_behind_it_to_the_end(head: Gaussians) -> None:
    order, moving = near_first(head.means)
    assert moving == head.count // 2
    assert order.tolist() == [*range(1, head.count, 2), *range(0, head.count, 2)]


def test_in_training_the_field_is_asked_for_what_is_near_alone(head: Gaussians, data: TrainingSet) -> None:
    order, moving = near_first(head.means)
    ordered = head.chosen(order).trainable()
    branches = [Branch.start(ordered, field(), 0, count) for count in (moving, None, 0)]
    pictures = []
    for branch in branches:
        loss, drawn = FaceLoss(data)(branch)
        loss.backward()
        pictures.append(drawn.image)
    assert [branch.field.points for branch in branches] == [[moving], [head.count], [0]]
    assert branches[0].field.grid.table.grad.any()
    assert not torch.equal(pictures[0], pictures[1]) and not torch.equal(pictures[0], pictures[2])


def avatar_of(gaussians: Gaussians, moving: int | None) -> Avatar:
    mouth = Gaussians.at(torch.zeros(3, 3), torch.rand(3, 3), torch.full((3,), 0.003), 0.5).frozen()
    fields = field().requires_grad_(False), MouthField().requires_grad_(False)
    return Avatar(gaussians.frozen(), fields[0], mouth, fields[1], moving=moving)


def test_a_finished_avatar_moves_its_first_and_no_other(head: Gaussians, data: TrainingSet) -> None:
    order, moving = near_first(head.means)
    avatar = avatar_of(head.chosen(order), moving)
    motion, _ = Synthesiser(avatar, data.camera).motions(data.windows[3], data.expression[3])
    everything, _ = Synthesiser(replace(avatar, moving=None), data.camera).motions(data.windows[3], data.expression[3])
    assert motion.translation.shape == (head.count, 3)
    assert motion.translation[:moving].any() and not motion.translation[moving:].any()
    assert torch.allclose(motion.translation[:moving], everything.translation[:moving], atol=1e-9)


def test_a_field_that_only_shifts_draws_what_one_that_turns_by_nothing_does(head: Gaussians, data: TrainingSet) -> None:
    avatar, pose = avatar_of(head, None), data.poses[0].numpy()
    backdrop = np.full((data.size, data.size, 3), 90, np.uint8)
    drawn = []
    for tiny in (0.0, 1e-30):  # a last layer with a trace of rotation takes the general way
        with torch.no_grad():
            avatar.face_field.layers[-1][3:] = tiny
        synthesiser = Synthesiser(avatar, data.camera)
        drawn.append(synthesiser.frame(data.windows[2], data.expression[2], pose[:3, :3], pose[:3, 3], backdrop))
    assert (drawn[0] != backdrop).any()
    assert np.abs(drawn[0].astype(int) - drawn[1]).max() <= 1
