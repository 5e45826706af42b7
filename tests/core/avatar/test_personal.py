"""Equation 5: one person's own motion on top of the universal one, and nothing at all where it is off."""

from __future__ import annotations

import torch

from core.avatar import FaceField, Motion, MouthField
from core.avatar.personal import PersonalFaceField, PersonalMouthField, deformation

POINTS = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 0.2 - 0.1
WINDOWS = torch.randn(8, 16, 64, generator=torch.Generator().manual_seed(1))
EXPRESSION = torch.rand(6, generator=torch.Generator().manual_seed(2))
HOOK = torch.tensor([0.4, -0.3, 0.7])


def parts(motion: Motion) -> list[torch.Tensor]:
    return [part for part in (motion.translation, motion.rotation, motion.scale) if part is not None]


def test_without_a_personal_field_the_deformation_is_the_universal_one() -> None:
    for motion in (FaceField()(POINTS, WINDOWS, EXPRESSION), MouthField()(POINTS, WINDOWS, HOOK)):
        assert deformation(motion, None) is motion


def test_a_fresh_personal_field_hardly_moves_anything() -> None:
    assert PersonalFaceField()(POINTS, WINDOWS, EXPRESSION).translation.abs().max() < 1e-5  # metres
    assert PersonalMouthField()(POINTS, WINDOWS, HOOK).translation.abs().max() < 2e-4  # speech passes no gate there


def test_the_mouths_deformation_is_the_sum_of_both_fields() -> None:
    one, other = MouthField()(POINTS, WINDOWS, HOOK), PersonalMouthField()(POINTS, WINDOWS, HOOK)
    total = deformation(one, other)
    assert torch.equal(total.translation, one.translation + other.translation)
    assert total.rotation is None and total.scale is None


def test_the_deformation_is_the_sum_of_both_fields() -> None:
    universal, personal = FaceField(), FaceField(32)
    one, other = universal(POINTS, WINDOWS, EXPRESSION), personal(POINTS, WINDOWS, EXPRESSION)
    for a, b, total in zip(parts(one), parts(other), parts(deformation(one, other)), strict=True):
        assert torch.equal(total, a + b)


def test_a_part_that_only_one_field_has_stays() -> None:
    face, mouth = FaceField()(POINTS, WINDOWS, EXPRESSION), MouthField()(POINTS, WINDOWS, HOOK)
    both = deformation(face, mouth)
    assert both.rotation is face.rotation and both.scale is face.scale
    assert torch.equal(both.translation, face.translation + mouth.translation)


def test_the_personal_field_is_smaller_than_the_universal_one() -> None:
    assert PersonalFaceField().layers[0].shape[0] == 32 < FaceField().layers[0].shape[0]
    assert PersonalMouthField().layers[0].shape[0] == 16 < MouthField().layers[0].shape[0]
