"""What the motion fields promise: identity-like starts, the hook's meaning, gradients where they belong."""

from __future__ import annotations

import torch

from core.avatar import Avatar, FaceField, Gaussians, Motion, MouthField, face_mouth_hook, hook_extremes, hook_rows
from core.avatar.encoding import SpeechEncoder


def points(count: int = 50) -> torch.Tensor:
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) - 0.5) * 0.2


def windows() -> torch.Tensor:
    return torch.randn(8, 16, 64, generator=torch.Generator().manual_seed(1))


def test_an_untrained_face_field_hardly_moves_anything() -> None:
    motion = FaceField()(points(), windows(), torch.rand(6))
    assert motion.translation.abs().max() < 2e-3  # metres: a fiftieth of the head's radius


def test_the_mouth_moves_mostly_up_and_down() -> None:
    field = MouthField()
    with torch.no_grad():
        field.layers[-1].copy_(torch.ones_like(field.layers[-1]))
    motion = field(points(), windows(), torch.ones(3))
    assert torch.allclose(motion.translation[:, 0] * 5, motion.translation[:, 1], rtol=1e-4, atol=1e-9)
    assert motion.rotation is None and motion.scale is None


def test_still_features_give_the_same_motion_as_the_direct_call() -> None:
    field, where, speech, expression = FaceField(), points(), windows(), torch.rand(6)
    direct = field(where, speech, expression)
    cached = field.move(field.features(where), *field.condition(speech, expression))
    assert torch.equal(direct.translation, cached.translation)


def test_one_frame_moves_as_it_does_among_many_gradients_included() -> None:
    field, where, expression = FaceField(aligned=True), points(), torch.rand(6)
    weights = torch.randn(50, 3, generator=torch.Generator().manual_seed(2))
    one = field(where, windows(), expression).translation
    many = field.translated(field.features(where), windows().expand(3, -1, -1, -1), expression.expand(3, -1))[50:100]
    parameters = list(field.parameters())
    alone, among = (
        torch.autograd.grad((moved * weights).sum(), parameters, allow_unused=True) for moved in (one, many)
    )
    torch.testing.assert_close(one, many, rtol=1e-4, atol=1e-10)
    for mine, other in zip(alone, among, strict=True):
        if mine is not None:
            torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-6 * float(other.abs().max()))


def test_the_hook_is_the_kth_extreme_so_an_outlier_does_not_move_it() -> None:
    vertical = torch.linspace(-0.01, 0.01, 101)
    calm = Motion(torch.stack([torch.zeros(101), vertical, torch.zeros(101)], 1))
    wild = Motion(calm.translation.clone())
    wild.translation[50, 1] = 5.0
    expected = 100 * torch.tensor([vertical[-10], vertical[9], vertical[-10] - vertical[9]])
    everything = torch.arange(101)
    assert torch.allclose(face_mouth_hook(*hook_extremes(calm, everything)), expected)
    moved = face_mouth_hook(*hook_extremes(wild, everything)) - expected
    assert moved.abs().max() < 0.05  # one rank, not metres


def test_lids_and_brows_do_not_reach_the_hook() -> None:
    where = torch.tensor([[0.0, 0.01, 0.0]] * 20 + [[0.0, -0.07, 0.0]] * 20)
    still = Motion(torch.zeros(40, 3))
    blink = Motion(torch.cat([torch.full((20, 3), -0.01), torch.zeros(20, 3)]))
    rows = hook_rows(where)
    assert torch.equal(face_mouth_hook(*hook_extremes(blink, rows)), face_mouth_hook(*hook_extremes(still, rows)))
    assert len(hook_rows(where[:20])) == 20  # no such points: all


def test_the_hook_sends_no_gradient_to_the_face() -> None:
    translation = torch.rand(30, 3, requires_grad=True)
    assert not face_mouth_hook(*hook_extremes(Motion(translation), torch.arange(30))).requires_grad


def test_an_avatar_survives_its_round_trip_through_tensors() -> None:
    where = points(20)
    cloud = Gaussians.at(where, torch.rand(20, 3), torch.full((20,), 0.003), 0.5)
    avatar = Avatar(cloud, FaceField(), cloud, MouthField())
    again = Avatar.from_tensors(avatar.to_tensors(), avatar.metadata())
    for name, value in avatar.to_tensors().items():
        assert torch.equal(value, again.to_tensors()[name]), name


def test_activations_are_those_of_the_start() -> None:
    cloud = Gaussians.at(points(5), torch.rand(5, 3), torch.full((5,), 0.004), 0.3)
    assert torch.allclose(cloud.sigma(), torch.full((5, 3), 0.004), rtol=1e-4)
    assert torch.allclose(cloud.opacity(), torch.full((5,), 0.3))


def test_an_untrained_speech_network_already_tells_frames_apart() -> None:
    speech = torch.randn(200, 8, 16, 64, generator=torch.Generator().manual_seed(2))
    for seed in range(3):
        torch.manual_seed(seed)
        codes = SpeechEncoder()(speech)
        assert codes.std(0).mean() > 0.1  # torch's own start: 0.002
        assert codes.std(0).mean() > 0.1 * codes.mean(0).abs().mean()  # torch's own start: 0.03
