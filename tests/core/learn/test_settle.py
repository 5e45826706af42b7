"""What is away from the face stands at its mean, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.avatar import Avatar, FaceField, Gaussians, MouthField
from core.avatar.synthesiser import Synthesiser
from core.clip.canonical import canonical_face
from core.learn.motion_prior import awake
from core.learn.settle import REACH, settled
from core.learn.training_set import TrainingSet
from core.sample import Sample
from tests.core.learn.made_films import made_films


@pytest.fixture(scope="module")
def data(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    return made_films(sample, tmp_path_factory.mktemp("settle"), {"a": slice(0, 20)})[0].data


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    """Gaussians on the face's vertices and, between them in order, 6 cm behind."""
    torch.manual_seed(0)
    vertices = torch.from_numpy(canonical_face().vertices).float()[::6]
    behind = vertices * torch.tensor([1.0, 1.0, 0.0]) + torch.tensor([0.0, 0.0, 0.1])
    points = torch.stack([behind, vertices], 1).reshape(-1, 3)
    face = Gaussians.at(points, torch.rand(len(points), 3), torch.full((len(points),), 0.003), 0.5).frozen()
    field = awake(FaceField()).requires_grad_(False)
    mouth = Gaussians.at(torch.zeros(3, 3), torch.rand(3, 3), torch.full((3,), 0.003), 0.5).frozen()
    return Avatar(face, field, mouth, MouthField().requires_grad_(False))


def test_what_is_near_moves_as_before_and_comes_first(avatar: Avatar, data: TrainingSet) -> None:
    vertices = torch.from_numpy(canonical_face().vertices).float()
    rest = settled(avatar, data)
    assert rest.moving == avatar.face.count // 2
    gaps = torch.cdist(rest.face.means, vertices).amin(1)
    assert (gaps[: rest.moving] < REACH).all() and (gaps[rest.moving :] > REACH).all()
    for name, value in rest.face.tensors().items():
        assert torch.equal(value[: rest.moving], getattr(avatar.face, name)[1::2])
    assert torch.equal(rest.face.colors[rest.moving :], avatar.face.colors[0::2])


def test_what_is_away_stands_where_it_stood_on_average(avatar: Avatar, data: TrainingSet) -> None:
    rest = settled(avatar, data)
    far = avatar.face.means[0::2]
    field = avatar.face_field
    moved = [far + field(far, data.windows[i], data.expression[i]).translation for i in range(data.count)]
    assert torch.allclose(rest.face.means[rest.moving :], torch.stack(moved).mean(0), atol=1e-6)
    turned = field(far, data.windows[0], data.expression[0]).rotation
    assert turned is not None
    assert not torch.equal(rest.face.quaternions[rest.moving :], avatar.face.quaternions[0::2])


def test_a_frame_shows_what_moves_moved_and_the_rest_at_rest(avatar: Avatar, data: TrainingSet) -> None:
    rest = settled(avatar, data)
    count = rest.face.count
    assert rest.moving is not None and rest.moving < count
    motion, _ = Synthesiser(rest, data.camera).motions(data.windows[3], data.expression[3])
    assert motion.translation.shape == (count, 3)
    assert motion.translation[: rest.moving].abs().amax() > 0 and not motion.translation[rest.moving :].any()
    everything, _ = Synthesiser(replace(rest, moving=None), data.camera).motions(data.windows[3], data.expression[3])
    assert torch.allclose(motion.translation[: rest.moving], everything.translation[: rest.moving], atol=1e-9)


def test_a_field_that_only_shifts_draws_what_one_that_turns_by_nothing_does(avatar: Avatar, data: TrainingSet) -> None:
    with torch.no_grad():
        avatar.face_field.layers[-1][3:] = 0
    pose = data.poses[0].numpy()
    backdrop = np.full((data.size, data.size, 3), 90, np.uint8)
    drawn = []
    for tiny in (0.0, 1e-30):  # a last layer with a trace of rotation takes the general way
        with torch.no_grad():
            avatar.face_field.layers[-1][3:] = tiny
        synthesiser = Synthesiser(avatar, data.camera)
        drawn.append(synthesiser.frame(data.windows[2], data.expression[2], pose[:3, :3], pose[:3, 3], backdrop))
    assert (drawn[0] != backdrop).any()
    assert np.abs(drawn[0].astype(int) - drawn[1]).max() <= 1
